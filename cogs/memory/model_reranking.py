"""`ModelReranking`: scores of a reranker model, within a deadline, from a cache, or a sentence that says why not.

score ─┬─ all known ─────────────────────────────→ the cache's scores, at once
       ├─ no model, or too many wait ────────────→ no scores, and the reason
       └─ queue ─→ chunk ─→ worker ─→ chunk ─→ … → scores of as many as the deadline allows, best first

model_reranking      the public class
├── score_cache      what is known already
├── rerank_queue     whose turn it is
├── rerank_dispatch  queue → worker → scores, failures
├── rerank_chunk     what the worker does in one go
├── reranker_lifecycle, serving_model    load, exchange, unload
└── proof_of_life    self-test and statistics
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.exceptions import ModelError
from cogs.memory.proof_of_life import RerankStatistics
from cogs.memory.rerank_dispatch import RerankDispatcher
from cogs.memory.rerank_queue import NO_TIME, RerankCall
from cogs.memory.reranker_lifecycle import RETRY_AFTER_S, RerankerLifecycle, State
from cogs.memory.score_cache import ScoreCache

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from cogs.memory.model_cache import ModelCache
    from cogs.memory.rerankers import Pair
    from cogs.memory.serving_model import LoadReranker, ServingModel
    from cogs.memory.worker import ModelWorker
    from profiles import MemoryProfile

BUSY = "busy, not reranked"

_CLOSE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class ModelScores:
    """The outcome of one call."""

    log_odds: NDArray[np.float32]
    """(pairs,) in the order given; NaN where, and only where, nothing was scored."""
    scored: int
    from_cache: int
    """Of those scored."""
    total: int
    milliseconds: float
    model: str
    """The model's name; empty when there is none."""
    reason: str | None
    """Why not all are scored, to follow a colon; None when all are."""
    degraded: str | None = None
    """Why the order of these scores is not to be trusted; None when it is."""


class ModelReranking:
    """Scores pairs with the profile's reranker model. For the event loop's thread only.

    Args:
        profile: which model, on which device, with which budgets.
        worker: the thread that models work on.
        models: where loaded models live.
        load: makes a reranker for a profile, on a thread of its own; called again for another profile by `reload`, and
            with ``device="cpu"`` when the device runs out of memory.
        clock: seconds, monotonic.
        retry_after_s: seconds after which a first load that failed is tried again; each further time twice as long.
    """

    def __init__(
        self,
        profile: MemoryProfile,
        worker: ModelWorker,
        models: ModelCache,
        *,
        load: LoadReranker,
        clock: Callable[[], float] = time.monotonic,
        retry_after_s: float = RETRY_AFTER_S,
    ) -> None:
        self._clock = clock
        self._cache = ScoreCache(profile.score_cache_size)
        self._statistics = RerankStatistics()
        self._lifecycle = RerankerLifecycle(
            profile,
            models,
            load=load,
            statistics=self._statistics,
            clock=clock,
            on_change=self._begin_anew,
            retry_after_s=retry_after_s,
        )
        self._dispatcher = RerankDispatcher(
            worker, self._cache, self._statistics, clock=clock, on_exhausted=self._lifecycle.move_to_cpu
        )

    @property
    def state(self) -> State:
        """Whether there is a model, and whether its order can be trusted."""
        return self._lifecycle.state

    @property
    def reason(self) -> str:
        """Why the state is what it is."""
        return self._lifecycle.reason

    async def start(self) -> None:
        """Begin to load the model, without waiting for it; does nothing when that has begun already."""
        self._lifecycle.start()

    async def ready(self) -> None:
        """Wait until a model is there.

        Raises:
            ModelError: it could not be loaded, or `start` was not called.
        """
        await self._lifecycle.ready()

    async def score(self, pairs: Sequence[Pair], *, deadline_ms: int | None, guild_id: int = 0) -> ModelScores:
        """Score as many pairs as the deadline allows, first come first; never raises for want of a model.

        Returns at the deadline whatever runs then. Without one it takes as long as it takes, except that it does not
        wait for a model that is still loading: see `ready`.

        Args:
            pairs: in retrieval order.
            deadline_ms: from now on; None for none.
            guild_id: whose question it is; guilds take turns.
        """
        start = self._clock()
        scores = await self._score_once(pairs, start, deadline_ms, guild_id)
        while scores is None:  # the model ran out of memory, and the caller has the time to wait for another
            with contextlib.suppress(ModelError):  # it becomes the reason that the next line gives
                await self.ready()
            scores = await self._score_once(pairs, start, deadline_ms, guild_id)
        return scores

    async def reload(self, profile: MemoryProfile | None = None) -> str:
        """Load a model beside the one that serves, test it, and let new calls have it.

        Calls under way end with the model they began with; it is unloaded after the last of them. A caller that is
        cancelled does not stop the reload.

        Args:
            profile: None for the present one: the same model read anew.

        Returns:
            A sentence about the new model.

        Raises:
            ModelError: it cannot be loaded, or does not pass the test that the present one passed; that one stays.
        """
        return await self._lifecycle.reload(profile)

    def note_ranking(self, before: Sequence[int], after: Sequence[int]) -> None:
        """Count what reranking changed: ids in the order before and after, best first."""
        self._statistics.note_ranking(before, after)

    def get_statistics(self) -> dict[str, float | int | str | None]:
        """Proof of life, for display; None where nothing was measured yet.

        ``state``, ``reason``; ``retry_in_s``: until a load that failed is tried again; ``model``, ``model_key``,
        ``device``, ``dtype``, ``path``: the model in service.
        ``ms_per_token``, ``token_budget``: what its next chunk is cut by.
        ``score_min``, ``_max``, ``_mean``: P(yes), 0–1, and ``ms_per_document``, since it was loaded.
        ``top1_changed_share``, ``mean_rank_move``, ``call_ms_p50``, ``_p95``: of the last 500.
        ``waiting_calls``, ``score_cache_size``: now. The others are counts since the start.
        """
        cache = self._cache.get_statistics()
        return {
            "state": self.state,
            "reason": self.reason,
            "retry_in_s": self._lifecycle.retry_in_s,
            **_described(self._lifecycle.model),
            **self._statistics.as_dict(),
            "waiting_calls": self._dispatcher.waiting,
            **{f"score_cache_{name}": figure for name, figure in cache.items()},
        }

    async def close(self) -> None:
        """End all calls with the scores they have, and give the model back to the model cache; may be called twice."""
        self._lifecycle.stop()
        await self._dispatcher.close(self.reason, _CLOSE_TIMEOUT_S)
        await self._lifecycle.close()

    def _begin_anew(self) -> None:
        self._cache.clear()
        self._statistics.forget_scores()

    async def _score_once(
        self, pairs: Sequence[Pair], start: float, deadline_ms: int | None, guild_id: int
    ) -> ModelScores | None:
        """Return the outcome, or None if the call should be made again when another model is there."""
        model = self._lifecycle.model
        if model is None or not pairs:
            nothing = np.full(len(pairs), np.nan, dtype=np.float32)
            reason = self.reason if pairs else None
            return ModelScores(nothing, 0, 0, len(pairs), self._ms_since(start), "", reason)
        deadline = None if deadline_ms is None else start + deadline_ms / 1000
        call = RerankCall(model, pairs, self._cache, guild_id=guild_id, deadline=deadline)
        if call.waiting and not self._dispatcher.admit(call):
            self._statistics.busy += 1
            known = f"busy, only {call.scored} of {call.total} were known from before"
            return self._outcome(call, start, known if call.scored else BUSY)
        if call.waiting:
            await self._wait_for(call)
            if call.must_move and deadline_ms is None:
                return None
        self._statistics.timeouts += NO_TIME in call.reasons
        self._statistics.note_call(self._ms_since(start))
        return self._outcome(call, start, _why_incomplete(call, deadline_ms))

    async def _wait_for(self, call: RerankCall) -> None:
        """Wait until a call has its scores, or the deadline comes."""
        call.model.retain()
        try:
            timeout = None if call.deadline is None else max(0.0, call.deadline - self._clock())
            await asyncio.wait([call.finished], timeout=timeout)
        finally:
            self._dispatcher.withdraw(call, NO_TIME)
            call.model.release()
        call.finished.result()  # raises what the dispatcher died of

    def _outcome(self, call: RerankCall, start: float, reason: str | None) -> ModelScores:
        return ModelScores(
            log_odds=call.log_odds,
            scored=call.scored,
            from_cache=call.from_cache,
            total=call.total,
            milliseconds=self._ms_since(start),
            model=call.model.name,
            reason=reason,
            degraded=call.model.distrust,
        )

    def _ms_since(self, start: float) -> float:
        return (self._clock() - start) * 1000


def _why_incomplete(call: RerankCall, deadline_ms: int | None) -> str | None:
    """Say why scores are missing; None if none are."""
    if call.scored == call.total:
        return None
    reasons = [reason for reason in call.reasons if reason != NO_TIME]
    if call.failed_pairs and call.scored:
        reasons = [f"{call.failed_pairs} of {call.total} could not be scored", *reasons]
    if deadline_ms is not None and NO_TIME in call.reasons:
        when = f"came after {call.scored} of" if call.scored else "left no time for any of"
        deadline = f"the deadline of {deadline_ms / 1000:g} s" if deadline_ms > 1 else "the deadline"  # 1: it was over
        reasons.append(f"{deadline} {when} {call.total}")
    return "; ".join(reasons)


def _described(model: ServingModel | None) -> dict[str, float | int | str | None]:
    if model is None:
        return dict.fromkeys(("model", "model_key", "device", "dtype", "path", "ms_per_token", "token_budget"))
    return {
        "model": model.name,
        "model_key": model.key,
        "device": model.profile.device,
        "dtype": model.profile.dtype,
        "path": model.path,
        "ms_per_token": model.speed.ms_per_token,
        "token_budget": model.budget,
    }
