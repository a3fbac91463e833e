"""What the memory did in each minute of the last day, kept in this process for the owner's plot."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import TYPE_CHECKING

from .loop_lag import LoopLag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.memory_service import MemoryService

MINUTE_S = 60.0
DAY = 24 * 60
"""Minutes that are kept."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One minute."""

    at: datetime
    recalls: int
    recall_p50_ms: float | None
    """None where nothing was asked."""
    recall_p95_ms: float | None
    ingest_rate: float
    """Messages embedded per second."""
    waiting: int
    """Events not yet applied."""


class Samples:
    """Looks at a memory once a minute. ``start`` and ``close`` bracket its life.

    Args:
        memory: what is looked at.
        interval_s: seconds between two looks.
    """

    def __init__(self, memory: MemoryService, *, interval_s: float = MINUTE_S) -> None:
        self.lag = LoopLag()
        self._memory = memory
        self._interval_s = interval_s
        self._samples: deque[Sample] = deque(maxlen=DAY)
        self._last_seen: float | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self.lag.start()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop looking; may be called twice."""
        await self.lag.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def all(self) -> list[Sample]:
        """Return the minutes that are kept, oldest first."""
        return list(self._samples)

    def take(self) -> Sample:
        """Add what happened since the last look, and return it."""
        recall_ms = sorted(self._new_recalls())
        sample = Sample(
            at=datetime.now(UTC),
            recalls=len(recall_ms),
            recall_p50_ms=percentile(recall_ms, 50),
            recall_p95_ms=percentile(recall_ms, 95),
            ingest_rate=self._memory.queue.rate,
            waiting=self._memory.queue.waiting,
        )
        self._samples.append(sample)
        return sample

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            self.take()

    def _new_recalls(self) -> list[float]:
        """The recalls behind the one seen last. It is told by identity: two may well have taken equally long."""
        latest = reversed(list(self._memory.recall_ms))
        new = list(takewhile(lambda duration: duration is not self._last_seen, latest))
        if new:
            self._last_seen = new[0]
        return new


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return the nearest-rank percentile of sorted values; None of none."""
    return ordered[max(1, math.ceil(len(ordered) * percent / 100)) - 1] if ordered else None
