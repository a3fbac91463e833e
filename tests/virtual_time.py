"""Time that passes only where somebody waits: deadlines to the millisecond, on a machine of any speed."""

from __future__ import annotations

import asyncio
import functools
import selectors
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from cogs.memory.worker import ModelWorker, Priority

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")


class VirtualTime(selectors.DefaultSelector):
    """A clock in seconds, and the selector that moves it: it skips what an event loop would wait for its next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Stand in for `time.sleep`."""
        self.now += seconds

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for other threads only where there is no timer to go on with."""
        ready = super().select(timeout if timeout is None else 0)
        if timeout and not ready:
            self.now += timeout
        return ready


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Have a test that asks for `clock` run on an event loop that goes by it."""

    @functools.wraps(test)
    def run(*arguments: P.args, **fixtures: P.kwargs) -> None:
        clock = fixtures["clock"]
        assert isinstance(clock, VirtualTime)

        def make_loop() -> asyncio.AbstractEventLoop:
            loop = asyncio.SelectorEventLoop(clock)
            loop.time = clock  # type: ignore[method-assign]
            return loop

        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(test(*arguments, **fixtures))

    return run


class VirtualWorker(ModelWorker):
    """A `ModelWorker` whose calls are made on the event loop at once, and are over after as long as they slept."""

    def __init__(self, clock: VirtualTime) -> None:
        super().__init__("test-worker")
        self._clock = clock
        self._calls: list[tuple[Priority, Callable[[], object], Future[Any]]] = []
        self._is_busy = False

    def submit_at(self, priority: Priority, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        self._calls.append((priority, functools.partial(fn, *args, **kwargs), future))
        asyncio.get_running_loop().call_soon(self._begin_next)
        return future

    def _begin_next(self) -> None:
        while self._calls and not self._is_busy:
            first = min(self._calls, key=lambda call: call[0])
            self._calls.remove(first)
            _, call, future = first
            if future.set_running_or_notify_cancel():
                self._is_busy = True
                began = self._clock.now
                result = call()
                took, self._clock.now = self._clock.now - began, began
                asyncio.get_running_loop().call_later(took, self._end, future, result)

    def _end(self, future: Future[Any], result: object) -> None:
        self._is_busy = False
        future.set_result(result)
        self._begin_next()
