"""A disk that is full: recall answers, nothing new is stored, and once there is room all of it is, by itself."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Final

from cogs.memory import ingest_lane
from cogs.memory.memory_service import MemoryService
from cogs.memory.records import Scope
from profiles import load_profile
from tests.conftest import CHANNEL, GUILD, said
from tests.faults.embedder import load
from tests.soak.figure import Figure
from tests.stores.sqlite_folder import file_size_limit

SCOPE: Final = Scope(GUILD, frozenset([CHANNEL]))
ROUNDS: Final = 10
ASKED: Final = "recall answers and says so, 0 lost afterwards"


def run(*, seed: int, scale: float) -> list[Figure]:
    """Fill the disk ten times at scale 1; files that may not grow stand for it."""
    ingest_lane.RETRY_S = 0.05
    rounds = max(1, round(ROUNDS * scale))
    with tempfile.TemporaryDirectory(prefix="discord-memory-") as folder:
        lost, unanswered, unsaid = asyncio.run(_run(Path(folder) / "memory", rounds))
    value = f"{lost} lost, {unanswered} recalls without an answer, {unsaid} that did not say so"
    return [Figure(f"full disk × {rounds}", value, not (lost or unanswered or unsaid), seed, ASKED)]


async def _run(folder: Path, rounds: int) -> tuple[int, int, int]:
    unanswered = unsaid = 0
    told = 1
    async with MemoryService.on_folder(load_profile("embedded"), folder, load=load) as memory:
        await memory.remember([said(1, "the key is under the mat")])
        await memory.queue.embedded()
        for _ in range(rounds):
            with file_size_limit(memory_limit(folder)):
                await memory.remember([said(told + i + 1, f"flower pot {told + i} " * 40) for i in range(30)])
                told += 30
                async with asyncio.timeout(20):
                    while memory.queue.problem is None:  # noqa: ASYNC110  # nothing tells of it
                        await asyncio.sleep(0.01)
                memory.forget_caches(GUILD)
                recall = await memory.recall("where is the key?", SCOPE)
                unanswered += not recall.results or recall.results[0].message.id != 1
                unsaid += not any("are waiting" in sentence for sentence in recall.trace.degraded)
            async with asyncio.timeout(60):
                await memory.queue.embedded()
        stats = await memory.stats(GUILD)
        lost = told - stats.messages + stats.awaiting
    return lost, unanswered, unsaid


def memory_limit(folder: Path) -> int:
    """Bytes that no file may pass: what the log has now."""
    return max(4096, (folder / "memory.db-wal").stat().st_size)
