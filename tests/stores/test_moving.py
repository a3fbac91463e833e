"""A memory moves from one engine to the other and back, whole, also when it is killed on the way."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cogs.memory.exceptions import StoreError
from cogs.memory.records import ChannelInfo, QuotingReply
from cogs.memory.stores.moving import Move, rows
from cogs.memory.stores.moving_ends import PostgresEnd, opened_end
from cogs.memory.stores.postgres import PostgresStore
from cogs.memory.stores.routed import RoutedStore
from cogs.memory.stores.sqlite import SqliteStore
from tests.postgres_server import TEST_SCHEMA
from tests.stores.samples import (
    BOB,
    GARDEN,
    GUILD,
    LOBBY,
    OTHER_GUILD,
    SPACE,
    START,
    emptied,
    fill,
    found,
    ids,
    message,
    scope,
    vector,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cogs.memory.stores import MemoryStore
    from cogs.memory.stores.moving import MoveReport

COUNT = 700
ROOT = Path(__file__).parents[2]


async def furnish(store: MemoryStore) -> None:
    """A memory with something of everything."""
    await store.use_space(SPACE)
    everyone = [
        message(i, f"text {i} of \x00 many", channel_id=LOBBY + i % 2, reply_to=i - 1 or None) for i in range(1, COUNT)
    ]
    await fill(store, [*everyone, message(3000, "elsewhere", guild_id=OTHER_GUILD), message(3001, "his", **BOB)])
    await store.upsert([message(4000, "awaits its vector", edited_at=START)])
    quoted = [message(i, f"text {i} of \x00 many") for i in (5, 11, 13)]
    await store.put_reply(QuotingReply(GUILD, LOBBY, (5000, 5001)), quoted[1:])
    await store.put_reply(QuotingReply(GUILD, LOBBY, (5002,)), quoted[:2])  # of which one goes below
    await store.put_channels([ChannelInfo(LOBBY, GUILD, "lobby"), ChannelInfo(GARDEN, GUILD, "garden", LOBBY)])
    await store.delete(GUILD, [5, 7, 9999])
    await store.erase(GUILD, author_id=200)
    await store.put_setting(0, "of the bot", "1")
    await store.put_setting(GUILD, "of the guild", '{"a": 2}')


async def contents(store: MemoryStore) -> object:
    await store.use_space(SPACE)
    return [
        [(row.message, None if row.vector is None else row.vector.tobytes(), row.sketch) for row in batch]
        for guild in (GUILD, OTHER_GUILD)
        async for batch in rows(store, guild)
    ], [await store.channels(guild) for guild in (GUILD, OTHER_GUILD)]


def every_row(folder: Path) -> dict[str, list[str]]:
    """What stands in each table of an embedded database, but for the full-text index, which is made of the others."""
    with closing(sqlite3.connect(folder / "memory.db")) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: sorted(map(repr, database.execute(f"SELECT * FROM {name}")))
            for name in names
            if not name.startswith("message_search")
        }


async def server_tables(store: PostgresStore) -> dict[str, int]:
    """How many rows each table on the server has."""
    named = await store.connections.read(
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace"
        " AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
    )
    return {name: (await store.connections.read(f"SELECT count(*) FROM {name}"))[0][0] for (name,) in named}


async def move(source: MemoryStore, target: MemoryStore, folder: Path) -> MoveReport:
    async with opened_end(source, folder) as old, opened_end(target, folder) as new:
        return await Move(old, new).run()


@asynccontextmanager
async def opened(store: MemoryStore) -> AsyncIterator[MemoryStore]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def test_there_and_back_nothing_is_lost_or_changed(tmp_path: Path, postgres_dsn: str) -> None:
    server = PostgresStore(postgres_dsn, schema=TEST_SCHEMA)
    await (await emptied(server)).close()
    async with opened(SqliteStore(tmp_path / "here")) as store:
        await furnish(store)
        before = await contents(store)
    report = await move(SqliteStore(tmp_path / "here"), PostgresStore(postgres_dsn, schema=TEST_SCHEMA), tmp_path)
    assert (report.messages, report.vectors, report.tombstones, report.already) == (COUNT - 1, COUNT - 2, 4, 0)
    async with opened(PostgresStore(postgres_dsn, schema=TEST_SCHEMA)) as store:
        assert await contents(store) == before
        assert set((await store.upsert([message(5), message(3002, **BOB)])).refused) == {5, 3002}
        assert ids(await store.dense(scope(), vector(11), 1)) == [11]
        assert 11 in await found(store, "text 11")
        assert [m.id for m in await store.claim_unembedded(9)] == [4000]
        assert await store.get_setting(GUILD, "of the guild") == '{"a": 2}'
    await move(PostgresStore(postgres_dsn, schema=TEST_SCHEMA), SqliteStore(tmp_path / "back"), tmp_path)
    async with opened(SqliteStore(tmp_path / "back")) as store:
        assert await contents(store) == before
        assert set((await store.upsert([message(5), message(3002, **BOB)])).refused) == {5, 3002}
        assert await store.get_setting(0, "of the bot") == "1"


async def test_every_table_of_either_schema_is_carried(tmp_path: Path, postgres_dsn: str) -> None:
    """A table that is added to a schema and not to the move is empty here, or differs in the end."""
    server = PostgresStore(postgres_dsn, schema=TEST_SCHEMA)
    await (await emptied(server)).close()
    async with opened(SqliteStore(tmp_path / "here")) as store:
        await furnish(store)
    before = every_row(tmp_path / "here")
    assert not [name for name, rows_ in before.items() if not rows_], "something of everything"
    report = await move(SqliteStore(tmp_path / "here"), PostgresStore(postgres_dsn, schema=TEST_SCHEMA), tmp_path)
    assert report.replies == 2
    async with opened(PostgresStore(postgres_dsn, schema=TEST_SCHEMA)) as store:
        assert isinstance(store, PostgresStore)
        counts = await server_tables(store)
        assert not [name for name, count in counts.items() if not count]
        alike = before.keys() - {"settings", "spaces", "vectors"}  # a store's own, and rows that await their vector
        assert {name: counts[name] for name in alike} == {name: len(before[name]) for name in alike}
        assert [reply.id for reply in await store.stale_replies(9)] == [5002]
    await move(PostgresStore(postgres_dsn, schema=TEST_SCHEMA), SqliteStore(tmp_path / "back"), tmp_path)
    assert every_row(tmp_path / "back") == before


async def test_a_lost_reply_is_told(tmp_path: Path, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(SqliteStore(tmp_path)) as store:
        await fill_with_three(store)
        await store.put_reply(QuotingReply(GUILD, LOBBY, (9,)), [message(1)])
    await (await emptied(PostgresStore(postgres_dsn, schema=TEST_SCHEMA))).close()

    async def forgetful(*_: object) -> None:
        pass

    monkeypatch.setattr(PostgresEnd, "put_replies", forgetful)
    with pytest.raises(StoreError, match="differs"):
        await move(SqliteStore(tmp_path), PostgresStore(postgres_dsn, schema=TEST_SCHEMA), tmp_path)


async def test_one_that_was_killed_goes_on_where_it_was(tmp_path: Path, postgres_dsn: str) -> None:
    server = PostgresStore(postgres_dsn, schema=TEST_SCHEMA)
    await (await emptied(server)).close()
    async with opened(SqliteStore(tmp_path)) as store:
        await furnish(store)
        before = await contents(store)
    program = """
import asyncio, sys
from pathlib import Path
from cogs.memory.stores.moving import Move
from cogs.memory.stores.moving_ends import opened_end
from cogs.memory.stores.postgres import PostgresStore
from cogs.memory.stores.sqlite import SqliteStore

def tell(stage, done, total):
    print(done, flush=True)
    sys.stdin.readline()

async def run(folder, dsn, schema):
    source, target = SqliteStore(Path(folder)), PostgresStore(dsn, schema=schema)
    async with opened_end(source, Path(folder)) as old, opened_end(target, Path(folder)) as new:
        await Move(old, new, progress=tell).run()

asyncio.run(run(*sys.argv[1:]))
"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(tmp_path), postgres_dsn, TEST_SCHEMA),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"500\n"
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    report = await move(SqliteStore(tmp_path), PostgresStore(postgres_dsn, schema=TEST_SCHEMA), tmp_path)
    assert (report.already, report.messages) == (500, COUNT - 1)
    async with opened(PostgresStore(postgres_dsn, schema=TEST_SCHEMA)) as store:
        assert await contents(store) == before


async def test_a_memory_is_not_moved_onto_another(tmp_path: Path, postgres_dsn: str) -> None:
    async with opened(SqliteStore(tmp_path)) as store:
        await store.upsert([message(1)])
    server = await emptied(PostgresStore(postgres_dsn, schema=TEST_SCHEMA))
    await server.upsert([message(2)])
    await server.close()
    with pytest.raises(StoreError, match="holds a memory already"):
        await move(SqliteStore(tmp_path), PostgresStore(postgres_dsn, schema=TEST_SCHEMA), tmp_path)


async def test_a_difference_in_the_end_is_told(
    tmp_path: Path, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(SqliteStore(tmp_path)) as store:
        await fill_with_three(store)
    await (await emptied(PostgresStore(postgres_dsn, schema=TEST_SCHEMA))).close()
    target = PostgresStore(postgres_dsn, schema=TEST_SCHEMA)
    upsert = target.upsert

    async def lossy(messages):  # type: ignore[no-untyped-def]
        return await upsert([replace(m, content="changed") if m.id == 2 else m for m in messages])

    monkeypatch.setattr(target, "upsert", lossy)
    with pytest.raises(StoreError, match="differs"):
        await move(SqliteStore(tmp_path), target, tmp_path)


async def fill_with_three(store: MemoryStore) -> None:
    await store.use_space(SPACE)
    await fill(store, [message(i) for i in (1, 2, 3)])


async def test_to_several_stores_each_guild_goes_where_it_is_looked_for(tmp_path: Path) -> None:
    """With embedded stores in place of servers: the routing is the same."""
    away = 1 << 22
    async with opened(SqliteStore(tmp_path / "one")) as store:
        await store.use_space(SPACE)
        await fill(store, [message(1), message(2, guild_id=away), message(3, guild_id=2 * away)])
        await store.delete(away, [9])
    parts = [tmp_path / "a", tmp_path / "b"]
    await move(SqliteStore(tmp_path / "one"), RoutedStore([SqliteStore(part) for part in parts]), tmp_path)
    held = []
    for part in parts:
        async with opened(SqliteStore(part)) as store:
            held.append({m.id for guild in (GUILD, away, 2 * away) async for m in store.iterate(guild)})
    assert held == [{1, 3}, {2}]
