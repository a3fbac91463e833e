"""kill -9 at random moments of ingest: what was acknowledged is there, nothing is left over, ready at once."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from cogs.memory.stores.sqlite import SqliteStore
from tests.soak.figure import Figure
from tests.stores.samples import GUILD, SPACE, embed_all, message, scope, vector
from tests.stores.sqlite_folder import check_integrity, dense_ids, ingest_until_killed

KILLS: Final = 200
MESSAGES: Final = 10_000
READY_S: Final = 2.0
AT_ONCE: Final = 2
"""Folders with a life each, side by side."""
TIMED: Final = True


def run(*, seed: int, scale: float) -> list[Figure]:
    """Kill 200 times at scale 1, in two folders that hold 10,000 messages each from the beginning."""
    kills = max(1, round(KILLS * scale / AT_ONCE))
    with tempfile.TemporaryDirectory(prefix="discord-memory-") as folder:
        lives = asyncio.run(_live(Path(folder), seed, kills))
    lost, orphans = sum(life.lost for life in lives), sum(life.orphans for life in lives)
    slowest = max(life.slowest_s for life in lives)
    value = f"{lost} acknowledged lost, {orphans} orphans, ready in {slowest:.2f} s at most with {MESSAGES:,} messages"
    passed = not lost and not orphans and slowest <= READY_S
    asked = f"0 lost, 0 orphans, ready within {READY_S:g} s"
    return [Figure(f"kill -9 × {kills * AT_ONCE} during ingest", value, passed, seed, asked)]


class Life(NamedTuple):
    """What became of one folder."""

    lost: int
    orphans: int
    slowest_s: float


async def _live(folder: Path, seed: int, kills: int) -> list[Life]:
    return await asyncio.gather(*(_kill(folder / str(i), random.Random(f"{seed} {i}"), kills) for i in range(AT_ONCE)))


async def _kill(folder: Path, rng: random.Random, kills: int) -> Life:
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
    return Life(lost, orphans, slowest)


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
        indexed = await dense_ids(store)
        orphans = len(indexed - present) + len(indexed & waiting)
    finally:
        await store.close()
    await asyncio.to_thread(check_integrity, folder)
    lost = len(kept - gone - doubtful - present) + len((gone - doubtful) & present)
    return lost, orphans, ready_s


async def _opened(folder: Path) -> SqliteStore:
    store = SqliteStore(folder)
    await store.open()
    await store.use_space(SPACE)
    return store
