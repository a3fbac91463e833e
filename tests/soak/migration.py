"""``bot.py migrate`` killed in the middle, there and back: it goes on where it was, and both sides are the same."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg

from cogs.memory.records import ChannelInfo, Embedding, QuotingReply, Space
from cogs.memory.stores.postgres_migrations import SCHEMA
from cogs.memory.stores.sqlite import SqliteStore
from tests.benchmarks.bench_store import DIM, GUILD, batches, messages
from tests.postgres_server import start
from tests.soak.figure import Figure
from tests.stores.samples import vector

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MESSAGES: Final = 100_000
ROOT: Final = Path(__file__).parents[2]


@dataclass
class Moved:
    """How one move went."""

    killed_at: int
    again_s: float
    said: str

    @property
    def verified(self) -> bool:
        """Whether the command found both ends the same."""
        return "both were read back and are the same" in self.said


def run(*, seed: int, scale: float) -> list[Figure]:
    """Move 100,000 messages at scale 1."""
    count = max(2000, round(MESSAGES * scale))
    with tempfile.TemporaryDirectory(prefix="memory-moves-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        server = start(folder / "server")
        try:
            return asyncio.run(_run(folder, str(server.get_uri()), count, seed))
        finally:
            server.cleanup()


async def _run(folder: Path, dsn: str, count: int, seed: int) -> list[Figure]:
    rng = random.Random(seed)
    here, back = folder / "here", folder / "back"
    await _fill(here, count)

    async def on_server() -> int:
        return await _rows_on_server(dsn)

    async def in_folder() -> int:
        return _rows_in(back / "memory.db")

    there = await _move(dsn, {"MEMORY_DATA": str(here)}, on_server, rng.randrange(count // 5, count))
    home = await _move(
        str(back), {"MEMORY_DATA": str(here), "MEMORY_DATABASE": dsn}, in_folder, rng.randrange(count // 5, count)
    )
    same = _contents(here / "memory.db") == _contents(back / "memory.db")
    figures = []
    for name, moved in (("to PostgreSQL", there), ("back", home)):
        value = (
            f"killed at {moved.killed_at:,}; the rest and the comparison took {moved.again_s:.0f} s; "
            f"{'counts and checksums agree' if moved.verified else moved.said}"
        )
        asked = "it goes on, counts and checksums agree"
        figures.append(Figure(f"migrate of {count:,} messages {name}, kill -9", value, moved.verified, seed, asked))
    value = "0 rows differ" if same else "rows differ"
    figures.append(Figure(f"{count:,} messages moved there and back", value, same, seed, "0 rows differ"))
    return figures


async def _fill(folder: Path, count: int) -> None:
    """A memory with vectors, deleted messages, channels, settings and replies."""
    store = SqliteStore(folder)
    await store.open()
    await store.use_space(Space("soak", "1", DIM, "float16", sketch_dim=DIM))
    for batch in batches(messages(count)):
        await store.upsert(batch)
        await store.put_embeddings(
            [Embedding(m.id, m.content_hash, vector(m.id >> 22, DIM).astype("float16"), b"\x00" * 48) for m in batch]
        )
        await store.put_reply(QuotingReply(GUILD, 1, (batch[0].id + 1,)), batch[:3])
        await store.delete(GUILD, [batch[1].id, batch[1].id + 2])
    await store.put_channels([ChannelInfo(i, GUILD, f"channel {i}") for i in range(1, 301)])
    await store.put_setting(GUILD, "something", "set")
    await store.close()


async def _move(to: str, environment: dict[str, str], arrived: Callable[[], Awaitable[int]], goal: int) -> Moved:
    """Move, kill the move when ``goal`` messages have arrived, and move again."""
    process = await _started(to, environment)
    while process.returncode is None and await arrived() < goal:  # noqa: ASYNC110  # another process counts
        await asyncio.sleep(0.1)
    if process.returncode is None:
        process.kill()
    said = (await process.communicate())[0].decode()
    if process.returncode == 0:
        return Moved(0, 0.0, f"it ended before it could be killed: {said}")
    killed_at, begun = await arrived(), time.perf_counter()
    process = await _started(to, environment)
    said = " ".join((await process.communicate())[0].decode().split())
    return Moved(killed_at, time.perf_counter() - begun, said)


async def _started(to: str, environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "bot.py", "migrate", "--to", to),
        cwd=ROOT,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def _rows_on_server(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{SCHEMA}.messages"):
            return 0
        return int(await connection.fetchval(f"SELECT count(*) FROM {SCHEMA}.messages"))
    finally:
        await connection.close()


def _rows_in(database: Path) -> int:
    if not database.exists():
        return 0
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'messages'").fetchone()[0]:
            return 0
        return int(connection.execute("SELECT count(*) FROM messages").fetchone()[0])


def _contents(database: Path) -> dict[str, int]:
    """A checksum of each table, but for the full-text index."""
    with closing(sqlite3.connect(database)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: hash(frozenset(connection.execute(f"SELECT * FROM {name}")))
            for name in names
            if not name.startswith("message_search")
        }
