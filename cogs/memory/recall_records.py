"""What a recall returns: the messages, their scores, and what was done to find them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cogs.memory.records import StoredMessage


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a recall: what it gave and how long it took."""

    name: str
    milliseconds: float
    count: int


@dataclass(frozen=True, slots=True)
class RecallTrace:
    """What a recall did; every answer can say it."""

    stages: tuple[Stage, ...]
    candidates: int
    reranked: int
    """Candidates scored by the reranker named in ``reranker``."""
    rerank_of: int
    """Candidates it was meant to score."""
    reranker: str
    """The last ranking stage that had a say: "structure", "late_interaction", a model's name, or "none"."""
    total_ms: float
    cached: bool = False
    degraded: tuple[str, ...] = ()
    """Sentences that say what did not work as it should; empty when all did."""
    reaches_back_to: datetime | None = None
    """The oldest message that could have been found."""
    index_ready: float = 1.0
    """Share of the stored vectors that the vector index holds, 0–1."""
    unembedded: int = 0
    """Of the best candidates, those that wait for their vectors and are found by their words alone."""


@dataclass(frozen=True, slots=True)
class RecalledMessage:
    """A message that was found, with the scores of every stage that saw it."""

    message: StoredMessage
    rank: int
    """1 is best."""
    score: float
    """What the order rests on; only differences within one recall mean something."""
    relevance: float
    """How well the message covers the question, 0–1: comparable between questions, for display and thresholds."""
    vector_score: float | None = None
    keyword_score: float | None = None
    late_interaction_score: float | None = None
    rerank_score: float | None = None
    """P(yes) of the reranker model, 0–1; None when no model scored it."""
    rerank_log_odds: float | None = None
    before: tuple[StoredMessage, ...] = ()
    """What was said just before, oldest first."""
    after: tuple[StoredMessage, ...] = ()
    replies: tuple[StoredMessage, ...] = ()
    """The message that it replies to, and the first reply to it, in the same channel."""
    duplicates: int = 0
    """Further messages with the same words that were left out."""


@dataclass(frozen=True, slots=True)
class Recall:
    """The answer to one question."""

    query: str
    results: tuple[RecalledMessage, ...]
    trace: RecallTrace


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """A candidate after ranking."""

    message_id: int
    score: float
    late_interaction_score: float | None = None
    rerank_score: float | None = None
    rerank_log_odds: float | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """The order of a pool's candidates, best first, and how it came about."""

    candidates: Sequence[RankedCandidate]
    stages: Sequence[Stage]
    reranker: str
    reranked: int = 0
    rerank_of: int = 0
    degraded: Sequence[str] = field(default_factory=tuple)
