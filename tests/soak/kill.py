"""kill -9 at random moments of ingest: what was acknowledged is there, nothing is left over, ready at once."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import Final

from cogs.memory.stores.sqlite import SqliteStore
from tests.soak.figure import Figure
from tests.stores.samples import GUILD, SPACE, embed_all, message, scope, vector
from tests.stores.sqlite_folder import check_integrity, dense_ids, ingest_until_killed

KILLS: Final = 200
MESSAGES: Final = 10_000
READY_S: Final = 2.0


def run(*, seed: int, scale: float) -> list[Figure]:
    """Kill 200 times at scale 1, in one folder that holds 10,000 messages from the beginning."""
    with tempfile.TemporaryDirectory(prefix="discord-memory-") as folder:
        return asyncio.run(_run(Path(folder) / "memory", seed, max(2, round(KILLS * scale))))


async def _run(folder: Path, seed: int, kills: int) -> list[Figure]:
    rng = random.Random(seed)
    first = 10**9
    store = await _opened(folder)
    for start in range(0, MESSAGES, 1000):
        await store.upsert([message(first + start + i, f"old message {start + i}") for i in range(1000)])
    await embed_all(store)
    await store.close()
    lost = orphans = 0
    slowest = 0.0
    for attempt in range(kills):
        lines = await ingest_until_killed(folder, 1 + attempt * 1000, rng.randrange(1, 40))
        lost_now, orphans_now, ready_s = await _look(folder, lines, attempt * 1000)
        lost, orphans, slowest = lost + lost_now, orphans + orphans_now, max(slowest, ready_s)
    value = f"{lost} acknowledged lost, {orphans} orphans, ready in {slowest:.2f} s at most with {MESSAGES:,} messages"
    return [Figure(f"kill -9 × {kills} during ingest", value, not lost and not orphans and slowest <= READY_S, seed)]


async def _look(folder: Path, lines: list[tuple[str, int]], before: int) -> tuple[int, int, float]:
    """What of one run's acknowledged work is missing, how many vectors have no message, and how long opening took."""
    kept = {block + i for kind, block in lines if kind == "stored" for i in range(10)}
    gone = {number for kind, number in lines if kind == "deleted"}
    last = max((block for kind, block in lines if kind == "stored"), default=before + 1)
    doubtful = {last + 3, last + 5, *range(last + 10, last + 20)}
    started = time.perf_counter()
    store = await _opened(folder)
    await store.lexical(scope(), ["message"], 5)
    await store.dense(scope(), vector(1), 5)
    ready_s = time.perf_counter() - started
    try:
        present = {m.id async for m in store.iterate(GUILD)}
        waiting = {m.id for m in await store.claim_unembedded(10**6)}
        orphans = len(await dense_ids(store) - present) + len(await dense_ids(store) & waiting)
    finally:
        await store.close()
    check_integrity(folder)
    lost = len(kept - gone - doubtful - present) + len((gone - doubtful) & present)
    return lost, orphans, ready_s


async def _opened(folder: Path) -> SqliteStore:
    store = SqliteStore(folder)
    await store.open()
    await store.use_space(SPACE)
    return store
