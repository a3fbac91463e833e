"""How late the event loop is: whatever blocks it delays heartbeats, answers and everything else."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

INTERVAL_S: Final = 0.05
KEPT: Final = 600
"""Looks that are kept: half a minute, so that a trouble of some seconds is not drowned in quiet ones."""


class LoopLag:
    """Sleeps for a moment again and again, and notes how much later than asked for it woke."""

    def __init__(self) -> None:
        self._late_ms: deque[float] = deque(maxlen=KEPT)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="memory loop lag")

    async def close(self) -> None:
        """Stop looking; may be called twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def ordered_ms(self) -> list[float]:
        """Return the delays of the last half minute in milliseconds, smallest first."""
        return sorted(self._late_ms)

    async def _run(self) -> None:
        while True:
            asleep = time.monotonic()
            await asyncio.sleep(INTERVAL_S)
            self._late_ms.append(max(0.0, (time.monotonic() - asleep - INTERVAL_S) * 1000))
