"""Is the reranker alive? Proven when it is loaded, and watched while it serves.

A reranker that is broken or that nobody calls fails silently: the answers are merely worse. So a model has to put
known texts in order before it is trusted, and afterwards it is counted how often it changes what stands first.
"""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

from cogs.memory.exceptions import NonFiniteScores, ScoringFailed
from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.proof import TRIPLETS, prove_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cogs.memory.rerankers import Reranker

_WINDOW = 500
"""Calls and rankings that the running figures look back on: what broke yesterday must show today."""

_INSTRUCTION = "Given a question, find the chat message that answers it."


class Proof(NamedTuple):
    """The outcome of a self-test; ``detail`` is a sentence fit to be shown."""

    ok: bool
    detail: str


class _Outcome(Protocol):
    @property
    def ok(self) -> bool: ...

    @property
    def detail(self) -> str: ...


@runtime_checkable
class ProvesItself(Protocol):
    """A reranker with a test of its own, such as published scores of official weights."""

    def self_test(self) -> _Outcome:
        """Score known texts. Raises `ScoringFailed`."""
        ...


def prove(reranker: Reranker) -> Proof:
    """Have a reranker order known texts: by its own test if it has one, else by clear-cut examples.

    Raises:
        ScoringFailed: it gave no usable scores at all.
    """
    if isinstance(reranker, ProvesItself):
        outcome: _Outcome = reranker.self_test()
    else:
        outcome = prove_order(lambda pairs: checked_scores(reranker.score(pairs), len(pairs)), _INSTRUCTION)
    return Proof(outcome.ok, outcome.detail)


def time_tokens(reranker: Reranker) -> float:
    """Return the milliseconds that a token of a short batch takes: a first estimate, rather too high."""
    pairs = [Pair(TRIPLETS[0].query, triplet.answer, _INSTRUCTION) for triplet in TRIPLETS]
    tokens = sum(max(1, count) for count in reranker.token_counts(pairs))
    start = time.perf_counter()
    reranker.score(pairs)
    return (time.perf_counter() - start) * 1000 / tokens


def checked_scores(scores: object, count: int) -> NDArray[np.float32]:
    """Return ``scores`` as (count,) float32. Raises ScoringFailed if they are fewer, more, or not finite."""
    found = np.asarray(scores, dtype=np.float32)
    if found.shape != (count,):
        raise ScoringFailed(f"The reranker gave scores of shape {found.shape} for {count} documents.")
    if not np.isfinite(found).all():
        raise NonFiniteScores("The reranker gave scores that are no numbers.")
    return found


def as_clause(sentence: object) -> str:
    """Return a sentence in the form that can follow a colon."""
    text = str(sentence).rstrip(".")
    return text[0].lower() + text[1:] if text.startswith(("The ", "A ")) else text


class RerankStatistics:
    """Counts since the start; scores since the model in service was loaded; rankings and durations of late."""

    def __init__(self) -> None:
        self.loads = 0
        self.load_failures = 0
        self.reloads = 0
        self.moves_to_cpu = 0
        self.calls = 0
        self.pairs_scored = 0
        self.chunks = 0
        self.timeouts = 0
        self.busy = 0
        self.failures = 0
        self.non_finite = 0
        self.out_of_memory = 0
        self._call_ms: deque[float] = deque(maxlen=_WINDOW)
        self._top1_changed: deque[bool] = deque(maxlen=_WINDOW)
        self._rank_moves: deque[float] = deque(maxlen=_WINDOW)
        self.forget_scores()

    def forget_scores(self) -> None:
        """Begin anew with what belongs to one model: another one has another scale and speed."""
        self._scored = 0
        self._score_sum = 0.0
        self._score_min = math.inf
        self._score_max = -math.inf
        self._scoring_ms = 0.0

    def note_call(self, milliseconds: float) -> None:
        """Count a call that a model was there for."""
        self.calls += 1
        self._call_ms.append(milliseconds)

    def note_chunk(self, log_odds: NDArray[np.float32], milliseconds: float) -> None:
        """Count what the model scored in one go."""
        p_yes = 0.5 * (1.0 + np.tanh(0.5 * log_odds.astype(np.float64)))  # the sigmoid, without overflow
        self.chunks += 1
        self.pairs_scored += len(log_odds)
        self._scored += len(log_odds)
        self._score_sum += float(p_yes.sum())
        self._score_min = min(self._score_min, float(p_yes.min()))
        self._score_max = max(self._score_max, float(p_yes.max()))
        self._scoring_ms += milliseconds

    def note_ranking(self, before: Sequence[int], after: Sequence[int]) -> None:
        """Compare two orders of the same ids, best first."""
        if not before or not after:
            return
        place = {item: rank for rank, item in enumerate(before)}
        moves = [abs(rank - place[item]) for rank, item in enumerate(after) if item in place]
        self._top1_changed.append(before[0] != after[0])
        self._rank_moves.append(_mean(moves) or 0.0)

    def as_dict(self) -> dict[str, float | int | str | None]:
        """All figures, the ones that matter most first; None where nothing was measured yet."""
        durations = sorted(self._call_ms)
        return {
            "rankings": len(self._top1_changed),
            "top1_changed_share": _mean(self._top1_changed),
            "mean_rank_move": _mean(self._rank_moves),
            "score_min": self._score_min if self._scored else None,
            "score_max": self._score_max if self._scored else None,
            "score_mean": self._score_sum / self._scored if self._scored else None,
            "ms_per_document": self._scoring_ms / self._scored if self._scored else None,
            "timeouts": self.timeouts,
            "busy": self.busy,
            "failures": self.failures,
            "non_finite": self.non_finite,
            "out_of_memory": self.out_of_memory,
            "call_ms_p50": _quantile(durations, 0.50),
            "call_ms_p95": _quantile(durations, 0.95),
            "loads": self.loads,
            "load_failures": self.load_failures,
            "reloads": self.reloads,
            "moves_to_cpu": self.moves_to_cpu,
            "calls": self.calls,
            "pairs_scored": self.pairs_scored,
            "chunks": self.chunks,
        }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """Return the nearest-rank quantile of sorted values."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
