"""The one thread on which models and the vector index work.

Models, FAISS and NumPy each spin up as many threads as there are cores; two of them at work at once on a small machine
are several times slower than one after the other. So all of that work queues here, questions before background work.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")

STANDS_BACK_S: Final = 2.0
"""How long a piece of background work lets questions go before: without an end it would never be done on a server that
never stops asking."""


class Priority(IntEnum):
    """Who goes first: a person waits for a question, nobody waits for a backlog."""

    QUESTION = 0
    NORMAL = 1
    BACKGROUND = 2


class ModelWorker(Executor):
    """A single-thread executor with priorities; within one priority first come, first served."""

    def __init__(self, name: str = "memory-worker") -> None:
        self._tasks: queue.PriorityQueue[tuple[int, int, Callable[[], None] | None, Future[Any] | None]] = (
            queue.PriorityQueue()
        )
        self._order = itertools.count()
        self._lock = threading.Lock()
        self._closed = False
        self._name = name
        self._running: Future[Any] | None = None
        self._questions = self._hurries = 0
        self._free = asyncio.Event()
        self._free.set()
        self._thread = self._new_thread()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a call at normal priority. Raises RuntimeError after `shutdown`."""
        return self.submit_at(Priority.NORMAL, fn, *args, **kwargs)

    def submit_at(self, priority: Priority, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a call. Raises RuntimeError after `shutdown`."""
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the caller
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            if self._closed:
                raise RuntimeError("the model worker is shut down")
            self._tasks.put((priority, next(self._order), call, future))
        return future

    async def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await a call made at question priority."""
        return await asyncio.wrap_future(self.submit_at(Priority.QUESTION, fn, *args, **kwargs))

    async def run_background(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await a call made at background priority, after it has stood back."""
        await self.stand_back()
        return await asyncio.wrap_future(self.submit_at(Priority.BACKGROUND, fn, *args, **kwargs))

    async def stand_back(self) -> None:
        """Wait until no question is under way, but not for ever; before work that nobody waits for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STANDS_BACK_S):
                await self._free.wait()

    @contextmanager
    def question(self) -> Iterator[None]:
        """Say that somebody waits for an answer until the end of the block.

        An answer is made on other threads as well, and background work would take the cores from them.
        """
        self._questions += 1
        self._decide()
        try:
            yield
        finally:
            self._questions -= 1
            self._decide()

    @contextmanager
    def hurry(self) -> Iterator[None]:
        """Say that somebody waits for background work: until the end of the block it stands back for nobody."""
        self._hurries += 1
        self._decide()
        try:
            yield
        finally:
            self._hurries -= 1
            self._decide()

    def _decide(self) -> None:
        """Let background work go on, or have it wait."""
        if self._questions and not self._hurries:
            self._free.clear()
        else:
            self._free.set()

    def abandon(self, future: Future[Any]) -> bool:
        """Go on with the next call on a new thread, if this one is running and takes too long, perhaps for ever.

        Its thread is left to it: should it end after all, its result counts, and the thread takes nothing further.
        Returns False if the call is not the running one.
        """
        with self._lock:
            if self._running is not future:
                return False
            self._running = None
            self._thread = self._new_thread()
        return True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; finish (or cancel) what waits."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._tasks.put((len(Priority), next(self._order), None, None))
        if cancel_futures:
            self._cancel_waiting()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()

    def _cancel_waiting(self) -> None:
        while True:
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                break
            if task[3] is not None:
                task[3].cancel()
        self._tasks.put((len(Priority), next(self._order), None, None))

    def _new_thread(self) -> threading.Thread:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        thread.start()
        return thread

    def _work(self) -> None:
        while True:
            _, _, call, future = self._tasks.get()
            if call is None:
                return
            with self._lock:
                self._running = future
            call()
            del call  # else the last task's arguments live until the next one comes
            with self._lock:
                if self._running is not future:
                    return  # abandoned: another thread has taken over
                self._running = None
            del future
