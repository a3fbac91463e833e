"""What only the PostgreSQL engine must do: serve several processes, survive its server, keep guilds apart."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cogs.memory.exceptions import StoreError, StoreTimeout, StoreTooNew, StoreUnreachable
from cogs.memory.records import Embedding
from cogs.memory.stores import postgres_dense, postgres_vectors
from cogs.memory.stores.postgres import PostgresStore
from cogs.memory.stores.postgres_connections import drop_schema, server_name
from cogs.memory.stores.postgres_migrations import migrations
from cogs.memory.stores.sqlite import SqliteStore
from tests.postgres_server import TEST_SCHEMA
from tests.stores.samples import (
    BOB,
    GUILD,
    OTHER_SPACE,
    SPACE,
    check_counts,
    embed_all,
    emptied,
    fill,
    found,
    ids,
    message,
    scope,
    vector,
)
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def store(postgres_dsn: str) -> AsyncIterator[PostgresStore]:
    opened = await emptied(PostgresStore(postgres_dsn, schema=TEST_SCHEMA))
    await opened.use_space(SPACE)
    yield opened
    await opened.close()


async def another(postgres_dsn: str) -> PostgresStore:
    """A store of another process."""
    store = PostgresStore(postgres_dsn, schema=TEST_SCHEMA)
    await store.open()
    await store.use_space(SPACE)
    return store


class TestProcesses:
    async def test_two_never_claim_the_same(self, store: PostgresStore, postgres_dsn: str) -> None:
        second = await another(postgres_dsn)
        await store.upsert([message(i, guild_id=1 + i % 3) for i in range(1, 61)])
        parts = await asyncio.gather(*(s.claim_unembedded(7) for s in (store, second) * 4))
        of_each = [{m.id for part in parts[i::2] for m in part} for i in (0, 1)]
        assert of_each[0]
        assert of_each[1]
        assert not of_each[0] & of_each[1]
        await second.close()

    async def test_what_a_closed_one_had_claimed_is_free_at_once(self, store: PostgresStore, postgres_dsn: str) -> None:
        second = await another(postgres_dsn)
        await store.upsert([message(1), message(2)])
        assert len(await second.claim_unembedded(9)) == 2
        assert await store.claim_unembedded(9) == []
        await second.close()
        assert len(await store.claim_unembedded(9)) == 2

    async def test_what_a_killed_one_had_claimed_is_free_when_its_lease_ends(
        self, store: PostgresStore, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        second = await another(postgres_dsn)
        await store.upsert([message(1)])
        monkeypatch.setattr(postgres_vectors, "LEASE_S", 0.05)
        assert len(await second.claim_unembedded(9)) == 1
        await asyncio.sleep(0.1)
        assert [m.id for m in await store.claim_unembedded(9)] == [1]
        await second.close()

    async def test_one_with_an_older_embedder_embeds_nothing(self, store: PostgresStore, postgres_dsn: str) -> None:
        second = await another(postgres_dsn)
        await store.upsert([message(1)])
        await second.use_space(OTHER_SPACE)
        assert await store.claim_unembedded(9) == []
        assert [m.id for m in await second.claim_unembedded(9)] == [1]
        await second.close()

    async def test_neighbours_written_at_once_know_each_other(self, store: PostgresStore, postgres_dsn: str) -> None:
        """What is said before stands in an entry: two that store a question and its answer must not miss it."""
        second = await another(postgres_dsn)
        for i in range(1, 21, 2):
            await asyncio.gather(store.upsert([message(i, f"word{i}")]), second.upsert([message(i + 1, "answer")]))
            assert await found(store, f"word{i}") == {i, i + 1}
        await check_counts(store)
        await second.close()

    async def test_several_at_once_lose_and_double_nothing(self, store: PostgresStore, postgres_dsn: str) -> None:
        program = """
import asyncio, json, random, sys
from cogs.memory.stores.postgres import PostgresStore
from tests.stores.samples import SPACE, embedding, message, scope, vector

async def run(dsn, schema, seed):
    store = PostgresStore(dsn, schema=schema)
    await store.open()
    await store.use_space(SPACE)
    rng = random.Random(seed)
    acknowledged, embedded = [], 0
    for start in range(1, 241, 24):
        batch = [message(i, f"text {i}", guild_id=1 + i % 2) for i in range(start, start + 24) if (i + seed) % 3]
        rng.shuffle(batch)
        result = await store.upsert(batch)
        acknowledged += [*result.inserted, *result.unchanged]
        embedded += await store.put_embeddings([embedding(m) for m in await store.claim_unembedded(10)])
        await store.lexical(scope(), ["text"], 5)
        await store.dense(scope(), vector(seed), 5)
        await store.delete(2, [start])
    await store.close()
    print(json.dumps([acknowledged, embedded]))

asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""
        running = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", program, postgres_dsn, TEST_SCHEMA, str(seed)),
                stdout=asyncio.subprocess.PIPE,
                cwd=ROOT,
            )
            for seed in (1, 2)
        ]
        results = [json.loads((await process.communicate())[0]) for process in running]
        dead = set(range(1, 241, 24))
        acknowledged = {i for done, _ in results for i in done}
        stored = [m.id for guild in (1, 2) async for m in store.iterate(guild)]
        assert len(stored) == len(set(stored))
        assert acknowledged - dead <= set(stored)
        await check_counts(store)
        await embed_all(store)
        assert (await store.stats()).awaiting == 0


class TestServer:
    async def test_one_that_is_away_is_told_without_the_password(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        store = PostgresStore("postgresql://me:s3cret@127.0.0.1:9/memory")
        with pytest.raises(StoreUnreachable, match=r"127\.0\.0\.1:9/memory cannot be reached") as caught:
            await store.open()
        assert caught.value.may_pass
        assert "s3cret" not in f"{caught.value}{caplog.text}{server_name('postgresql://me:s3cret@h/d')}"

    async def test_lost_connections_are_told_and_heal(self, store: PostgresStore, postgres_dsn: str) -> None:
        second = await another(postgres_dsn)
        await store.upsert([message(1, "apple")])
        [[own]] = await second.connections.read("SELECT pg_backend_pid()")
        await second.connections.read(
            "SELECT pg_terminate_backend(a.pid, 60000) FROM pg_stat_activity a"  # and waits until it is gone
            " WHERE a.application_name = 'discord-memory' AND a.pid <> $1",
            own,
        )
        assert await eventually(store) == {1}
        assert (await store.upsert([message(2)])).inserted == (2,)
        await second.close()

    async def test_a_slow_statement_is_given_up(self, store: PostgresStore) -> None:
        with pytest.raises(StoreTimeout, match="too long"):
            await store.connections.read("SELECT pg_sleep(60)", deadline_s=0.05)
        await store.upsert([message(1, "apple")])
        assert await found(store, "apple") == {1}

    async def test_a_slow_keyword_search_is_given_up_and_works_again(self, store: PostgresStore) -> None:
        await store.upsert([message(1, "apple")])
        assert await found(store, "apple") == {1}
        async with store.connections.transaction() as connection:
            await connection.execute("LOCK TABLE search IN ACCESS EXCLUSIVE MODE")
            store._deadline_s = 0.1
            with pytest.raises(StoreTimeout, match="took too long"):
                await found(store, "apple")
        store._deadline_s = 60.0
        assert await found(store, "apple") == {1}

    async def test_a_newer_schema_is_refused(self, store: PostgresStore, postgres_dsn: str) -> None:
        async with store.connections.transaction() as connection:
            await connection.execute("UPDATE schema_version SET version = 99")
        try:
            with pytest.raises(StoreTooNew, match="update the program"):
                await PostgresStore(postgres_dsn, schema=TEST_SCHEMA).open()
        finally:
            async with store.connections.transaction() as connection:
                await connection.execute("UPDATE schema_version SET version = $1", migrations()[-1][0])

    async def test_another_programs_schema_is_refused(self, store: PostgresStore, postgres_dsn: str) -> None:
        async with store.connections.transaction() as connection:
            await connection.execute("CREATE SCHEMA strange; CREATE TABLE strange.things (id int)")
        with pytest.raises(StoreError, match="another program"):
            await PostgresStore(postgres_dsn, schema="strange").open()
        await drop_schema(postgres_dsn, "strange")

    async def test_what_was_acknowledged_survives_kill_9_of_a_process(
        self, store: PostgresStore, postgres_dsn: str
    ) -> None:
        program = """
import asyncio, sys
from cogs.memory.stores.postgres import PostgresStore
from tests.stores.samples import message

async def run(dsn, schema):
    store = PostgresStore(dsn, schema=schema)
    await store.open()
    for i in range(1, 10_000, 5):
        await store.upsert([message(j, f"text {j}") for j in range(i, i + 5)])
        print(i + 4, flush=True)

asyncio.run(run(*sys.argv[1:]))
"""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, postgres_dsn, TEST_SCHEMA), stdout=asyncio.subprocess.PIPE, cwd=ROOT
        )
        assert process.stdout is not None
        for _ in range(4):
            last = int(await process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        rest = (await process.communicate())[0].split()
        last = max([last, *(int(line) for line in rest)])
        await settled(store)
        stored = {m.id async for m in store.iterate(GUILD)}
        assert set(range(1, last + 1)) <= stored
        assert len(stored) % 5 == 0, "a batch is stored whole or not at all"
        await check_counts(store)


async def settled(store: PostgresStore) -> None:
    """Wait until the server has ended what processes that are gone had begun; they may still commit."""
    busy = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'discord-memory' AND state <> 'idle' AND pid <> pg_backend_pid()"
    )
    async with asyncio.timeout(PATIENCE_S):
        while (await store.connections.read(busy))[0][0]:  # noqa: ASYNC110 # a server signals nothing
            await asyncio.sleep(0.01)


async def eventually(store: PostgresStore) -> set[int]:
    """What a search finds as soon as the connections have healed; they may fail once each before."""
    for _ in range(20):
        try:
            return await found(store, "apple")
        except StoreUnreachable:
            await asyncio.sleep(0.05)
    raise AssertionError("the store does not heal")


class TestErasure:
    async def test_no_word_of_a_forgotten_author_stays_in_any_table(self, store: PostgresStore) -> None:
        await fill(store, [message(1, "apple"), message(2, "zqcanary zqother", **BOB), message(3, "pear")])
        await store.erase(GUILD, author_id=200)
        tables = await store.connections.read(
            "SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'"
        )
        for (table,) in tables:
            rows = await store.connections.read(f"SELECT t::text FROM {table} t")
            assert not [row for row in rows if "zq" in row[0] or "Bob" in row[0]], table
        await check_counts(store)


class TestCongruence:
    """The same messages and questions in both engines, in crowds of a size that the index is walked for."""

    async def test_both_engines_find_the_same(self, both: tuple[SqliteStore, PostgresStore]) -> None:
        embedded, server = both
        for share in (1.0, 0.5, 0.3, 0.1, 0.02):
            where = scope(*range(1, 1 + round(CHANNELS * share)))
            common = wanted = 0
            for seed in range(20):
                query = crowd_vector(10_000 + seed)
                expected = set(ids(await embedded.dense(where, query, 50)))
                common += len(expected & set(ids(await server.dense(where, query, 50))))
                wanted += len(expected)
            assert common / wanted >= 0.97, f"at {share:.0%} of the channels"
            for terms in (["word1"], ["word2", "word30"], ["word3 word4"], ["word5", "word6", "word7"]):
                ours, theirs = [await each.lexical(where, terms, 50) for each in both]
                assert ids(ours) == ids(theirs)
                assert [h.score for h in ours] == pytest.approx([h.score for h in theirs], rel=1e-4)

    async def test_what_was_wide_a_moment_ago_is_found_whole_when_it_has_become_narrow(
        self, both: tuple[SqliteStore, PostgresStore]
    ) -> None:
        _, server = both
        everywhere = scope(*range(1, 1 + CHANNELS))
        assert len(await server.dense(everywhere, crowd_vector(1), 50)) == 50
        await server.delete(GUILD, range(40, CROWD))
        assert set(ids(await server.dense(everywhere, crowd_vector(1), 50))) == set(range(1, 40))


CHANNELS, CROWD = 50, 1500


def crowd_vector(number: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """A direction near one of thirty, as texts about thirty subjects have."""
    made = vector(number % 30) + 0.5 * vector(1000 + number)
    return np.asarray(made / np.linalg.norm(made), dtype=np.float32)


@pytest.fixture
async def both(
    tmp_path: Path, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[SqliteStore, PostgresStore]]:
    monkeypatch.setattr(postgres_dense, "EXACT_LIMIT", 60)
    embedded = SqliteStore(tmp_path)
    await embedded.open()
    await embedded.use_space(SPACE)
    crowd = [
        message(i, f"word{i % 7} word{i % 31} and {i}", channel_id=1 + (i * 7) % CHANNELS) for i in range(1, CROWD)
    ]
    made = [Embedding(m.id, m.content_hash, crowd_vector(m.id).astype(np.float16), b"", m.guild_id) for m in crowd]
    for each in (embedded, store):
        await each.upsert(crowd)
        await each.put_embeddings(made)
    yield embedded, store
    await embedded.close()
