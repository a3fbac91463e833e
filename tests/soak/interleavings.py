"""Create, edit, delete, duplicate and replay of many messages at once, in any order: the last state wins."""

from __future__ import annotations

import asyncio
import random
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cogs.memory.ingest_lane import Delete, Upsert
from cogs.memory.ingest_queue import IngestQueue
from cogs.memory.records import MAX_ID
from cogs.memory.stores.sqlite import SqliteStore
from tests.faults.instant_embedding import instant_embedding
from tests.soak.figure import Figure
from tests.stores.samples import GUILD, START, message, scope, vector
from tests.stores.sqlite_folder import check_integrity, dense_ids

if TYPE_CHECKING:
    from cogs.memory.ingest_lane import Event

LIVES: Final = 10_000
AT_ONCE: Final = 100


def run(*, seed: int, scale: float) -> list[Figure]:
    """Live 10,000 lives of messages at scale 1, a hundred interleaved at a time."""
    with tempfile.TemporaryDirectory(prefix="discord-memory-") as folder:
        return asyncio.run(_run(Path(folder) / "memory", seed, max(AT_ONCE, round(LIVES * scale))))


async def _run(folder: Path, seed: int, lives: int) -> list[Figure]:
    rng = random.Random(seed)
    expected: dict[int, str] = {}
    store = SqliteStore(folder)
    await store.open()
    queue = IngestQueue(store, await instant_embedding(store))
    queue.start()
    try:
        for start in range(0, lives, AT_ONCE):
            # Ids from both ends: the smallest and the largest that there are.
            ids = [start + i + 1 if i % 2 else MAX_ID - start - i for i in range(AT_ONCE)]
            for event in _interleaved([_life(rng, i, expected) for i in ids], rng):
                await queue.put(event)
            if rng.random() < 0.5:
                await queue.stored()
        await queue.embedded()
        stored = {m.id: m.content async for m in store.iterate(GUILD)}
        found = await dense_ids(store)
        words = {hit.message_id for hit in await store.lexical(scope(), ["state"], 10**6)}
        nearest = {hit.message_id for hit in await store.dense(scope(), vector(3), 50)}
    finally:
        await queue.stop()
        await store.close()
    check_integrity(folder)
    ghosts = len((stored.keys() | found | words | nearest) - expected.keys())
    stale = sum(stored.get(i) != text for i, text in expected.items())
    lost = len(expected.keys() - found)
    value = f"{ghosts} ghosts, {stale} stale, {lost} missing, {queue.refused} refused"
    passed = not (ghosts or stale or lost or queue.refused)
    return [Figure(f"{lives:,} interleaved lives of messages", value, passed, seed, "0 ghosts, 0 stale, 0 missing")]


def _life(rng: random.Random, message_id: int, expected: dict[int, str]) -> list[Event]:
    """Events of one message in the order in which they are told; notes what must be left of it."""
    states = [f"state {version} of {message_id}" for version in range(rng.randint(1, 4))]
    born = START + timedelta(seconds=rng.randint(-(10**6), 10**6))  # clocks jump
    events: list[Event] = []
    for version, text in enumerate(states):
        edited = born + timedelta(hours=version) if version else None
        events.append(Upsert((replace(message(1, text, created_at=born, edited_at=edited), id=message_id),)))
    if rng.random() < 0.5:  # a reconnection tells again what is old
        events.insert(rng.randrange(1, len(events) + 1), events[0])
    if rng.random() < 0.4:  # also before the creation: then it never was
        events.insert(rng.randrange(len(events) + 1), Delete(GUILD, (message_id,)))
    else:
        expected[message_id] = states[-1]
    return events


def _interleaved(lives: list[list[Event]], rng: random.Random) -> list[Event]:
    """All events, those of each life in their order."""
    turns = [number for number, life in enumerate(lives) for _ in life]
    rng.shuffle(turns)
    ways = [iter(life) for life in lives]
    return [next(ways[turn]) for turn in turns]
