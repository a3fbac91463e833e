"""What the worker thread does in one go: cut a chunk that fits the budget and the deadlines, and score it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from cogs.memory.exceptions import ModelError, NonFiniteScores, OutOfMemory
from cogs.memory.out_of_memory import raises_out_of_memory
from cogs.memory.proof_of_life import as_clause, checked_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from cogs.memory.rerank_queue import Offer, RerankCall
    from cogs.memory.rerankers import Reranker
    from cogs.memory.serving_model import ServingModel

CHUNK_MS = 400.0
"""What a chunk should take at most: questions to be embedded wait behind it on the same thread."""

_SAFETY = 0.85
"""Share of the time left that is planned with: a chunk that ends after the deadline helps nobody."""

_FIRST_SHARE = 0.25
"""Share of the time left for a call's first chunk, when its cost is known least."""

_COUNTED_CHARACTERS = 200_000
"""Text tokenised ahead of one chunk, so that a few huge documents do not eat the time of all."""

FailureKind = Literal["out_of_memory", "non_finite", "failed"]


@dataclass(frozen=True, slots=True)
class ChunkFailure:
    """Why a chunk has no scores; it keeps no exception, whose frames would keep tensors."""

    kind: FailureKind
    cause: str
    """Name of the exception's class, for the log."""
    reason: str
    """For the answer."""


@dataclass(slots=True)
class Chunk:
    """The outcome of one go."""

    taken: list[Offer] = field(default_factory=list)
    hopeless: list[RerankCall] = field(default_factory=list)
    """Calls whose next document would end after the deadline."""
    log_odds: NDArray[np.float32] | None = None
    """(len(taken),); None if nothing was scored."""
    failure: ChunkFailure | None = None
    milliseconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Tokens of the documents taken, at least 1."""
        return max(1, sum(offer.waiting.tokens for offer in self.taken))


def score_chunk(offers: Sequence[Offer], model: ServingModel, clock: Callable[[], float]) -> Chunk:
    """Count, cut and score. The deadlines are read here and not when the chunk was queued."""
    offers = [offer for offer in offers if not offer.call.is_over]
    chunk = Chunk()
    try:
        chunk.taken = uncounted = _next_uncounted(offers)
        _count_tokens(uncounted, model.reranker)
        chunk.taken, chunk.hopeless = cut(offers, model, clock())
        if chunk.taken:
            with model.lock, raises_out_of_memory():
                start = time.perf_counter()
                scores = model.reranker.score([offer.waiting.pair for offer in chunk.taken])
                chunk.milliseconds = (time.perf_counter() - start) * 1000
            chunk.log_odds = checked_scores(scores, len(chunk.taken))
    except Exception as error:  # noqa: BLE001 - a reranker may be anybody's class; the failure is counted and said
        chunk.failure = _failure(error)
    return chunk


def cut(offers: Sequence[Offer], model: ServingModel, now: float) -> tuple[list[Offer], list[RerankCall]]:
    """Choose a chunk, and the calls that have no time for even one document more.

    Each call gives a prefix of what it offers, at most its ``step`` but at least one document. The whole chunk is
    held to the model's budget, to `CHUNK_MS` (unless nobody waits behind it), and to the time that the most pressed
    call has left; the first document goes in whatever it costs.
    """
    calls = {id(offer.call): offer for offer in reversed(offers) if offer.waiting.tokens}  # with each call's first
    hopeless = [offer.call for offer in calls.values() if _is_hopeless(offer, model, now)]
    live = [offer.call for offer in calls.values() if offer.call not in hopeless]
    most = float("inf") if model.is_remote else CHUNK_MS
    milliseconds = min([most, *(_allowed_ms(call, now) for call in live)])
    limit = min(model.budget, milliseconds / model.speed.ms_per_token)
    full = {id(call) for call in hopeless}
    taken: list[Offer] = []
    used = 0
    used_by: dict[int, int] = {}
    for offer in offers:
        caller, tokens = id(offer.call), offer.waiting.tokens
        if caller in full:
            continue
        own = used_by.get(caller, 0)
        if not tokens or (taken and used + tokens > limit) or (own and own + tokens > _step(offer.call)):
            full.add(caller)
            continue
        taken.append(offer)
        used += tokens
        used_by[caller] = own + tokens
    return taken, hopeless


def _is_hopeless(first: Offer, model: ServingModel, now: float) -> bool:
    remaining = first.call.remaining_ms(now)
    if remaining <= 0:
        return True
    return first.waiting.tokens * model.speed.ms_per_token > remaining and not model.speed.is_stale(now)


def _allowed_ms(call: RerankCall, now: float) -> float:
    return call.remaining_ms(now) * (_SAFETY if call.chunks else _FIRST_SHARE)


def _step(call: RerankCall) -> float:
    return float("inf") if call.deadline is None else call.step


def _next_uncounted(offers: Sequence[Offer]) -> list[Offer]:
    """Return what to tokenise now: from the first offer on, until it is enough text."""
    chosen = []
    characters = 0
    for offer in offers:
        if characters > _COUNTED_CHARACTERS:
            break
        characters += len(offer.waiting.pair.document)
        if not offer.waiting.tokens:
            chosen.append(offer)
    return chosen


def _count_tokens(offers: Sequence[Offer], reranker: Reranker) -> None:
    if offers:
        counts = reranker.token_counts([offer.waiting.pair for offer in offers])
        for offer, count in zip(offers, counts, strict=True):
            offer.waiting.tokens = max(1, count)


def _failure(error: Exception) -> ChunkFailure:
    cause = type(error).__name__
    if isinstance(error, OutOfMemory):
        return ChunkFailure("out_of_memory", cause, "the reranker ran out of memory")
    if isinstance(error, ModelError):
        kind: FailureKind = "non_finite" if isinstance(error, NonFiniteScores) else "failed"
        return ChunkFailure(kind, cause, as_clause(error))
    return ChunkFailure("failed", cause, f"the reranker failed ({cause})")
