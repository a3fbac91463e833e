"""The time in which this process could run: what a busy machine takes from it does not count.

A bot has three seconds for an acknowledgement. A machine that stands still for four has not made it any slower; a bot
that sleeps or computes for four has.
"""

from __future__ import annotations

import asyncio
import threading
from functools import cache
from time import monotonic, process_time, sleep
from typing import Final

TICK_S: Final = 0.05
PATIENCE_S: Final = 120.0
"""Seconds to wait for what has to come; no test should come near it."""


class AwakeClock:
    """Ticks on a thread of its own. Between two ticks at most twice their distance passes, or what was computed."""

    def __init__(self) -> None:
        self._last = (0.0, monotonic(), process_time())
        """Seconds counted; when, and how much the process had computed."""
        threading.Thread(target=self._tick, name="awake-clock", daemon=True).start()

    def __call__(self) -> float:
        """Seconds since the clock was made."""
        counted, at, computed = self._last
        passed = monotonic() - at
        return counted + min(passed, max(2 * TICK_S, process_time() - computed))

    def _tick(self) -> None:
        while True:
            sleep(TICK_S)
            self._last = (self(), monotonic(), process_time())


@cache
def _clock() -> AwakeClock:
    return AwakeClock()


async def doze(seconds: float) -> None:
    """Sleep so many seconds of the time that this process is awake."""
    end = awake() + seconds
    while (left := end - awake()) > 0:  # noqa: ASYNC110 # a clock signals nothing
        await asyncio.sleep(left)


def awake() -> float:
    """Seconds that this process was awake, since somebody first asked."""
    return _clock()()
