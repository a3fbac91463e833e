"""Which reranker serves: loaded in the background, exchanged without a gap, moved to the CPU when memory runs out."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Literal

from cogs.memory.exceptions import ModelError, ModelNotAllowed, ModelUnavailable
from cogs.memory.proof_of_life import as_clause
from cogs.memory.serving_model import ModelLoader, ServingModel, on_cpu
from cogs.memory.worker import ModelWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

    from cogs.memory.model_cache import Lease, ModelCache
    from cogs.memory.proof_of_life import RerankStatistics
    from cogs.memory.serving_model import LeasedModel, LoadReranker, ProvenModel
    from profiles import MemoryProfile

log = logging.getLogger(__name__)

State = Literal["absent", "loading", "ready", "degraded", "failed"]
"""What the model can do; ``degraded``: it scores, but did not order the test questions."""

RETRY_AFTER_S = 60.0
"""Seconds after which a load that failed is tried again, where no model serves; each further time twice as long."""

_RETRY_AT_MOST_S = 3600.0
_STILL_LOADING = "the reranker is still loading"
_CLOSE_TIMEOUT_S = 2.0


class RerankerLifecycle:
    """The model that new calls get, and its exchange. For the event loop's thread only.

    Args:
        profile: the model that is wanted.
        models: where loaded models live; the one in service stays leased, so it neither expires nor is evicted.
        load: makes a reranker for a profile; it runs on a thread of its own.
        statistics: counts.
        clock: seconds, monotonic.
        on_change: called when another model is in service.
        retry_after_s: see `RETRY_AFTER_S`.

    Attributes:
        model: what new calls get; None when there is none.
        state: see `State`.
        reason: why the state is what it is, to follow a colon.
    """

    def __init__(
        self,
        profile: MemoryProfile,
        models: ModelCache,
        *,
        load: LoadReranker,
        statistics: RerankStatistics,
        clock: Callable[[], float],
        on_change: Callable[[], None],
        retry_after_s: float = RETRY_AFTER_S,
    ) -> None:
        self.model: ServingModel | None = None
        self.state: State = "absent"
        self.reason = "the reranker has not been started"
        self._profile = profile
        self._loader = ModelLoader(models, load)
        self._thread: ModelWorker | None = None
        self._statistics = statistics
        self._clock = clock
        self._on_change = on_change
        self._error: ModelError | None = None
        self._changes: set[asyncio.Task[str]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._is_closed = False
        self._retry_after_s = retry_after_s
        self._failures = 0
        self._retry: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to load the model; does nothing when that has begun already."""
        if self.state == "absent" and not self._is_closed:
            self._set_state("loading", _STILL_LOADING)
            self._begin(self._load(self._profile))

    async def ready(self) -> None:
        """Wait until a model is there. Raises ModelError if none comes."""
        while self.model is None and self._changes:
            await asyncio.wait(self._changes, return_when=asyncio.FIRST_COMPLETED)
        if self.model is None:
            raise self._error or ModelUnavailable(f"No reranker: {self.reason}.")

    @property
    def retry_in_s(self) -> float | None:
        """Seconds until a load that failed is tried again; None if that is not planned."""
        if self._retry is None:
            return None
        return max(0.0, self._retry.when() - asyncio.get_running_loop().time())

    async def reload(self, profile: MemoryProfile | None) -> str:
        """Load a model beside the one that serves, and exchange them. Raises ModelError; the old one then stays."""
        if self._is_closed:
            raise ModelUnavailable("The reranker has been shut down.")
        if self.model is None:
            self._set_state("loading", _STILL_LOADING)
        return await asyncio.shield(self._begin(self._reload(profile or self._profile)))

    def move_to_cpu(self, model: ServingModel) -> None:
        """Begin to replace the model in service, which has no memory left on its device."""
        log.warning("The reranker ran out of memory on %s and moves to the CPU", model.profile.device)
        self._statistics.moves_to_cpu += 1
        self.model = None
        self._retire(model, successor=None)
        self._set_state("loading", f"the reranker ran out of memory on {model.profile.device} and moves to the CPU")
        self._begin(self._load(on_cpu(model.profile)))

    def stop(self) -> None:
        """Give the model back to the model cache, where the next who asks finds it; what runs with it goes on."""
        self._is_closed = True
        self._set_state("absent", "the reranker has been shut down")
        self._end_retry()
        for change in self._changes:
            change.cancel()
        if self.model is not None:
            model, self.model = self.model, None
            model.in_service = False
            model.release()

    async def close(self) -> None:
        """`stop`, and wait a moment for what is being unloaded."""
        self.stop()
        if self._thread is not None:
            unloaded = asyncio.wrap_future(self._thread.submit(_nothing))  # its turn comes after what waits there
            self._thread.shutdown(wait=False)
            self._thread = None
            await asyncio.wait([unloaded], timeout=_CLOSE_TIMEOUT_S)

    # --- changes, each a task of its own

    def _begin(self, change: Coroutine[object, object, str]) -> asyncio.Task[str]:
        """Run a change that goes on when its caller is cancelled."""
        task = asyncio.create_task(change, name="reranker-change")
        self._changes.add(task)
        task.add_done_callback(self._end_change)
        return task

    def _end_change(self, task: asyncio.Task[str]) -> None:
        self._changes.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ModelError):  # those have been noted
            log.error("A change of the reranker failed", exc_info=error)
            self._note_failure(self._profile, ModelUnavailable(f"The reranker failed ({type(error).__name__})."))

    async def _load(self, profile: MemoryProfile) -> str:
        """Bring a first model, or one for the CPU in place of one that had to go."""
        async with self._one_at_a_time:
            if self.model is not None:  # a reload was faster
                return ""
            model = await self._take(profile, partial(self._loader.lease, profile))
            return self._put_in_service(model)

    async def _reload(self, profile: MemoryProfile) -> str:
        async with self._one_at_a_time:
            start = self._clock()
            must_pass = self.model is not None and self.model.proof.ok
            model = await self._take(profile, partial(self._loader.lease_fresh, profile, must_pass=must_pass))
            self._statistics.reloads += 1
            self._profile = profile
            said = self._put_in_service(model)
            return f"{model.name} was loaded in {self._clock() - start:.1f} s. {said}"

    async def _take(self, profile: MemoryProfile, lease: Callable[[], LeasedModel]) -> ServingModel:
        """Load on the loader's thread. Raises ModelError, after noting it."""
        if self._thread is None:
            self._thread = ModelWorker("reranker-loader")
        thread = self._thread
        future = thread.submit(lease)
        try:
            leased = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.add_done_callback(_release)  # a load cannot be stopped, but what it brings can be let go
            raise
        except ModelError as error:
            self._note_failure(profile, error)
            raise
        self._statistics.loads += 1
        self._statistics.moves_to_cpu += leased.profile.device != profile.device
        return ServingModel(leased, end_lease=partial(_end_lease, thread), now=self._clock())

    def _note_failure(self, profile: MemoryProfile, error: ModelError) -> None:
        self._statistics.load_failures += 1
        log.warning("The reranker %s could not be loaded: %s", profile.reranker_model, error)
        if self.model is None and not self._is_closed:
            self._error = error
            self._set_state("failed", as_clause(error))
            self._end_retry()
            if not isinstance(error, ModelNotAllowed):  # waiting changes no list
                self._plan_retry(profile)

    def _plan_retry(self, profile: MemoryProfile) -> None:
        """Try again later: the hub or the disk may be back by then."""
        wait = min(_RETRY_AT_MOST_S, self._retry_after_s * 2**self._failures)
        self._failures += 1
        self._retry = asyncio.get_running_loop().call_later(wait, self._try_again, profile)

    def _try_again(self, profile: MemoryProfile) -> None:
        self._retry = None
        if self.state == "failed":
            log.info("Loading the reranker %s again", profile.reranker_model)
            self._set_state("loading", _STILL_LOADING)
            self._begin(self._load(profile))

    def _end_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _put_in_service(self, model: ServingModel) -> str:
        """Let new calls have the model; those under way keep theirs."""
        old, self.model, self._error = self.model, model, None
        self._failures = 0
        self._end_retry()
        if old is not None:
            self._retire(old, successor=model)
        detail = as_clause(model.proof.detail)
        self._set_state("ready" if model.proof.ok else "degraded", model.distrust or detail)
        log.info("The reranker %s is in service: %s", model.key, self.state)
        self._on_change()
        return model.proof.detail

    def _retire(self, model: ServingModel, *, successor: ServingModel | None) -> None:
        """Unload a model as soon as no call uses it."""
        if self._thread is not None and (successor is None or successor.cache_key != model.cache_key):
            self._thread.submit(self._loader.discard, model.cache_key)
        model.in_service = False
        model.release()

    def _set_state(self, state: State, reason: str) -> None:
        self.state = state
        self.reason = reason


def _end_lease(thread: ModelWorker, lease: Lease[ProvenModel]) -> None:
    """Unload on the loader's thread: freeing gigabytes takes too long for the event loop."""
    try:
        thread.submit(lease.release)
    except RuntimeError:  # it is shut down: the last call ended after `close`
        lease.release()


def _release(future: Future[LeasedModel]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().lease.release()


def _nothing() -> None:
    """Do nothing."""
