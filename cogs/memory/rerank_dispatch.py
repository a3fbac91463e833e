"""Takes the waiting calls to the worker thread, one chunk at a time, and the scores back to the calls."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from cogs.memory.rerank_chunk import CHUNK_MS, Chunk, score_chunk
from cogs.memory.rerank_queue import NO_TIME, RerankQueue
from cogs.memory.worker import ModelWorker, Priority

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    import numpy as np
    from numpy.typing import NDArray

    from cogs.memory.proof_of_life import RerankStatistics
    from cogs.memory.rerank_chunk import ChunkFailure
    from cogs.memory.rerank_queue import Offer, RerankCall
    from cogs.memory.score_cache import ScoreCache
    from cogs.memory.serving_model import ServingModel

log = logging.getLogger(__name__)

_MAX_FAILED_CHUNKS = 2
"""One poisoned document costs one chunk; a model that fails again is broken."""

HANG_S = 10.0
"""Seconds after which a chunk counts as one that never ends: all but the longest document take a fraction of one."""
OVERDUE_S = CHUNK_MS / 1000
"""Seconds after its calls' deadlines at which a chunk must share its thread's place with other work."""
LOOK_S = 0.25
"""How long a call waits behind such a chunk before it ends without scores."""
HANGS = "the reranker hangs"

_LARGE_DOCUMENT = 512
"""Tokens: a longer document that does not fit is left out; if a shorter one does not, the device is of no use."""


class RerankDispatcher:
    """Runs while calls wait. For the event loop's thread only.

    Args:
        worker: the thread that models work on; it gets one chunk at a time, so that other work comes between. A model
            that waits for another machine has a thread of its own, so that it holds up nobody here.
        cache: keeps every score, also those of callers that did not wait for them.
        statistics: counts.
        clock: of the calls' deadlines.
        on_exhausted: told once of a model for which even a small chunk was too large, on another device than the CPU.
    """

    def __init__(
        self,
        worker: ModelWorker,
        cache: ScoreCache,
        statistics: RerankStatistics,
        *,
        clock: Callable[[], float],
        on_exhausted: Callable[[ServingModel], None],
    ) -> None:
        self._worker = worker
        self._requests: ModelWorker | None = None
        self._cache = cache
        self._statistics = statistics
        self._clock = clock
        self._on_exhausted = on_exhausted
        self._queue = RerankQueue()
        self._task: asyncio.Task[None] | None = None
        self._said: set[tuple[str, str]] = set()

    @property
    def waiting(self) -> int:
        """Calls that have not ended."""
        return len(self._queue)

    def admit(self, call: RerankCall) -> bool:
        """Let a call wait for its scores. Returns False if too many wait already."""
        if not self._queue.has_room_for(call):
            return False
        self._queue.add(call)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="rerank-dispatcher")
            self._task.add_done_callback(self._pass_on_failure)
        return True

    def withdraw(self, call: RerankCall, reason: str) -> None:
        """Drop a call whose caller no longer waits, if it has not ended; what runs now still reaches the cache."""
        if not call.is_over:
            self._end(call, reason)

    async def close(self, reason: str, timeout_s: float) -> None:
        """End all calls with ``reason`` and wait for the chunk that runs, but not for ever."""
        for call in list(self._queue):
            self._end(call, reason)
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=timeout_s)
            self._task.cancel()
        if self._requests is not None:
            self._requests.shutdown(wait=False)

    async def _run(self) -> None:
        while offers := self._queue.take_turn():
            model = offers[0].call.model
            model.retain()
            job = await self._run_chunk(offers, model)  # if this is cancelled, the worker may go on: no release
            try:
                if job is not None:
                    self._settle(job.result(), model)
            finally:
                model.release()

    async def _run_chunk(self, offers: list[Offer], model: ServingModel) -> asyncio.Future[Chunk] | None:
        """Return what the worker is done with, or None when it takes no more work and all calls have been ended."""
        worker = self._worker_for(model)
        try:
            future = worker.submit_at(Priority.QUESTION, score_chunk, offers, model, self._clock)
        except RuntimeError:  # shut down
            job = None
        else:
            job = asyncio.wrap_future(future)
            await self._sit_out(job, worker, future, self._patience_s(offers))
        if job is None or job.cancelled():
            for call in list(self._queue):
                self._end(call, "the bot is shutting down")
            return None
        return job

    def _patience_s(self, offers: Sequence[Offer]) -> float:
        """Seconds after which nobody who has a deadline waits for a chunk any more."""
        deadlines = [offer.call.deadline for offer in offers if offer.call.deadline is not None]
        return min(HANG_S, max(0.0, max(deadlines) - self._clock()) + OVERDUE_S) if deadlines else HANG_S

    async def _sit_out(
        self, job: asyncio.Future[Chunk], worker: ModelWorker, future: Future[Chunk], patience_s: float
    ) -> None:
        """Wait for a chunk without letting it hold up what else the thread is for, nor calls that would wait for ever.

        One that is late is slow or hangs, and nothing tells which: other work goes on beside it, and the model gets no
        further chunk until it has come back. What it then brings reaches the cache. Only one that does not come back
        for `HANG_S` counts as hanging.
        """
        start, is_aside, hangs = self._clock(), False, False
        await asyncio.wait([job], timeout=patience_s)  # unlike await job, tells whose cancellation it was
        while not job.done():
            # requests to a server have a thread and a limit of their own
            is_aside = is_aside or (worker is self._worker and worker.abandon(future))
            if is_aside and not hangs and self._clock() - start >= HANG_S:
                log.error("The reranker has not come back for %.0f s; everything else goes on without it", HANG_S)
                hangs = True
            if hangs:
                for call in list(self._queue):
                    self._end(call, HANGS)
            await asyncio.wait([job], timeout=LOOK_S)

    def _worker_for(self, model: ServingModel) -> ModelWorker:
        if not model.is_remote:
            return self._worker
        if self._requests is None:
            self._requests = ModelWorker("rerank-requests")
        return self._requests

    def _settle(self, chunk: Chunk, model: ServingModel) -> None:
        for call in chunk.hopeless:
            self._end(call, NO_TIME)
        if chunk.failure is not None:
            self._settle_failure(chunk, chunk.failure, model)
        elif chunk.log_odds is not None:
            self._settle_scores(chunk, chunk.log_odds, model)

    def _settle_scores(self, chunk: Chunk, scores: NDArray[np.float32], model: ServingModel) -> None:
        model.speed.note(chunk.tokens, chunk.milliseconds, self._clock())
        if model.in_service:
            self._statistics.note_chunk(scores, chunk.milliseconds)
        for (call, waiting), log_odds in zip(chunk.taken, scores.tolist(), strict=True):
            if model.in_service:
                self._cache.put(waiting.digest, log_odds)
            if not call.is_over:
                call.accept(waiting, log_odds)
        for call, tokens in _tokens_by_call(chunk).items():
            call.chunks += 1
            call.step = max(call.step, 2 * tokens)
            if not call.waiting:
                self._end(call)

    def _settle_failure(self, chunk: Chunk, failure: ChunkFailure, model: ServingModel) -> None:
        self._say_once(failure, model)
        if failure.kind == "out_of_memory" and self._makes_room(chunk, failure, model):
            return
        self._statistics.failures += 1
        self._statistics.non_finite += failure.kind == "non_finite"
        calls = list(_tokens_by_call(chunk))
        if len(calls) > 1:
            for call in calls:
                call.alone = True  # and again, so that nobody suffers from another's document
            return
        for call, waiting in chunk.taken:
            if not call.is_over:
                call.give_up(waiting)
        for call in calls:
            call.failed_chunks += 1
            if failure.reason not in call.reasons:
                call.reasons.append(failure.reason)
            if not call.waiting or call.failed_chunks >= _MAX_FAILED_CHUNKS:
                self._end(call)

    def _makes_room(self, chunk: Chunk, failure: ChunkFailure, model: ServingModel) -> bool:
        """Go on with smaller chunks, or without this device. Returns False if neither helps."""
        self._statistics.out_of_memory += 1
        if len(chunk.taken) > 1 and model.shrink(chunk.tokens):
            return True
        if model.profile.device == "cpu" or chunk.tokens > _LARGE_DOCUMENT:
            return False
        for call in [call for call in self._queue if call.model is model]:
            call.must_move = True
            self._end(call, failure.reason)
        if model.in_service:
            self._on_exhausted(model)
        return True

    def _end(self, call: RerankCall, reason: str | None = None) -> None:
        self._queue.remove(call)
        call.finish(reason)

    def _say_once(self, failure: ChunkFailure, model: ServingModel) -> None:
        if (model.key, failure.cause) not in self._said:
            self._said.add((model.key, failure.cause))
            log.warning("The reranker failed (%s); further failures of this kind are only counted", failure.cause)

    def _pass_on_failure(self, task: asyncio.Task[None]) -> None:
        """Let no caller wait for a dispatcher that has died."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        for call in list(self._queue):
            self._queue.remove(call)
            if not call.is_over:
                call.finished.set_exception(error)


def _tokens_by_call(chunk: Chunk) -> dict[RerankCall, int]:
    tokens: dict[RerankCall, int] = {}
    for call, waiting in chunk.taken:
        tokens[call] = tokens.get(call, 0) + waiting.tokens
    return tokens
