"""The embedded engine: its folder, its lock, damage, erasure, crashes, faults and the index it rebuilds."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import resource
import shutil
import sqlite3
import stat
import sys
import tempfile
import textwrap
import threading
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.memory.exceptions import StoreDamaged, StoreError, StoreLocked, StoreReadOnly, StoreTooNew
from cogs.memory.stores import migrations, sqlite_search, sqlite_vectors
from cogs.memory.stores.sqlite import SqliteStore
from cogs.memory.stores.sqlite_connections import Connections, QueryInterrupted
from cogs.memory.stores.sqlite_search import parse_terms
from cogs.memory.stores.term_budget import affordable
from cogs.memory.stores.unspaced_scripts import segments, split_term
from tests.stores.samples import (
    BOB,
    GUILD,
    LOBBY,
    OTHER_GUILD,
    SPACE,
    START,
    embed_all,
    embedding,
    fill,
    message,
    scope,
    vector,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

CANARY = b"zqcanary"
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(folder)
    await store.open()
    try:
        await store.use_space(SPACE)
        yield store
    finally:
        await store.close()


async def dense_ids(store: SqliteStore) -> set[int]:
    async with asyncio.timeout(20):
        while (await store.stats()).index_ready < 1:  # noqa: ASYNC110  # the protocol has nothing to wait for
            await asyncio.sleep(0.01)
    return {hit.message_id for hit in await store.dense(scope(), vector(0), 10**6)}


def connection_threads() -> int:
    return sum("connection" in thread.name for thread in threading.enumerate())


def check_integrity(folder: Path) -> None:
    """The file is sound, the full-text index is what the messages say, and no vector is an orphan."""
    database = sqlite3.connect(folder / "memory.db")
    database.execute("INSERT INTO message_search (message_search, rank) VALUES ('integrity-check', 1)")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    embedded = "SELECT id FROM messages WHERE vector_space <> 0"
    for table in ("vectors", "sketches"):
        assert database.execute(f"SELECT message_id FROM {table} ORDER BY 1").fetchall() == (
            database.execute(f"{embedded} ORDER BY 1").fetchall()
        )
    database.close()


def canaries(folder: Path) -> dict[str, int]:
    counts = {file.name: file.read_bytes().lower().count(CANARY) for file in folder.iterdir()}
    return {name: count for name, count in counts.items() if count}


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root writes anywhere; so be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Writes beyond ``size`` bytes of any file fail, as they do on a disk with a quota."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that is not below one of pytest's, which only their owner may enter."""
    folder = Path(tempfile.mkdtemp(prefix="discord-memory-"))
    try:
        yield folder
    finally:
        set_modes(folder, 0o755, 0o644)
        shutil.rmtree(folder)


def set_modes(folder: Path, of_folder: int, of_files: int) -> None:
    for file in folder.iterdir():
        file.chmod(of_files)
    folder.chmod(of_folder)


class TestFolder:
    async def test_only_the_owner_may_read_it(self, tmp_path: Path) -> None:
        folder = tmp_path / "a" / "memory"
        before = os.umask(0)
        try:
            async with opened(folder) as store:
                await fill(store, [message(1)])
                files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
                await store.erase(GUILD, author_id=5)
                files |= {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
        finally:
            os.umask(before)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {"memory.db", "memory.db-wal", "memory.db-shm", "memory.lock"} <= set(files)
        assert set(files.values()) == {0o600}

    async def test_a_database_others_could_read_is_closed_to_them(self, tmp_path: Path) -> None:
        async with opened(tmp_path):
            pass
        (tmp_path / "memory.db").chmod(0o644)
        async with opened(tmp_path):
            assert stat.S_IMODE((tmp_path / "memory.db").stat().st_mode) == 0o600

    async def test_a_second_store_is_kept_out_until_the_first_closes(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as store:
            second = SqliteStore(tmp_path)
            with pytest.raises(StoreLocked, match=f"in use by process {os.getpid()}"):
                await second.open()
            await second.close()
            with pytest.raises(StoreLocked, match="open already"):
                await store.open()
            assert (await store.stats()).messages == 0
            program = (
                "import asyncio, sys; from pathlib import Path; from cogs.memory.stores.sqlite import SqliteStore;"
                "asyncio.run(SqliteStore(Path(sys.argv[1])).open())"
            )
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, str(tmp_path), cwd=ROOT, stderr=asyncio.subprocess.PIPE
            )
            try:
                _, errors = await asyncio.wait_for(child.communicate(), 30)
            finally:
                if child.returncode is None:
                    child.kill()
            assert f"in use by process {os.getpid()}" in errors.decode()
        async with opened(tmp_path):
            pass

    async def test_a_folder_that_refuses_writes(self) -> None:
        with reachable_folder() as folder:
            async with opened(folder) as store:
                await store.upsert([message(1)])
            set_modes(folder, 0o555, 0o444)
            with without_privileges(), pytest.raises(StoreReadOnly, match="cannot be written to: check its owner"):
                await SqliteStore(folder).open()
            with without_privileges(), pytest.raises(StoreReadOnly):
                await SqliteStore(folder / "deeper").open()

    async def test_a_file_in_the_way_of_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "memory").write_text("notes")
        with pytest.raises(StoreError, match="in the way"):
            await SqliteStore(tmp_path / "memory").open()
        with pytest.raises(StoreError, match="in the way"):
            await SqliteStore(tmp_path / "memory" / "deeper").open()


class TestDamage:
    @pytest.mark.parametrize("kind", ["garbage", "truncated", "short", "header", "emptied"])
    async def test_it_is_told_and_the_file_left_alone(self, tmp_path: Path, kind: str) -> None:
        async with opened(tmp_path) as store:
            await fill(store, [message(i, "some words " * 20) for i in range(1, 300)])
        database = tmp_path / "memory.db"
        whole = database.read_bytes()
        damaged = {
            "garbage": random.Random(0).randbytes(30_000),
            "truncated": whole[: len(whole) // 2],
            "short": whole[:1000],
            "header": b"x" * 16 + whole[16:],
            "emptied": b"",
        }[kind]
        database.write_bytes(damaged)
        if kind == "emptied":
            (tmp_path / "memory.db-wal").write_bytes(b"a log")
        threads = connection_threads()
        with pytest.raises(StoreDamaged, match="backup"):
            await SqliteStore(tmp_path).open()
        assert database.read_bytes() == damaged
        for _ in range(100):  # a thread ends a moment after its connection
            if connection_threads() <= threads:
                break
            await asyncio.sleep(0.02)
        assert connection_threads() <= threads, "a connection left open would hang the exit"
        database.write_bytes(whole)
        (tmp_path / "memory.db-wal").unlink(missing_ok=True)
        async with opened(tmp_path) as store:
            assert (await store.stats()).messages == 299

    async def test_damage_deep_in_the_file_is_told_when_it_is_read(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as store:
            await fill(store, [message(i, "some words " * 20) for i in range(1, 500)])
        database = tmp_path / "memory.db"
        pages = bytearray(database.read_bytes())
        half = len(pages) // 2
        pages[half:] = b"\xff" * (len(pages) - half)
        database.write_bytes(pages)
        store = SqliteStore(tmp_path)
        await store.open()
        with pytest.raises(StoreDamaged):
            await store.load(scope(), range(1, 500))
        await store.close()

    async def test_a_newer_database_is_refused(self, tmp_path: Path) -> None:
        async with opened(tmp_path):
            pass
        database = sqlite3.connect(tmp_path / "memory.db")
        database.execute("PRAGMA user_version = 999")
        database.close()
        with pytest.raises(StoreTooNew, match="newer version"):
            await SqliteStore(tmp_path).open()

    async def test_another_programs_database_is_refused(self, tmp_path: Path) -> None:
        database = sqlite3.connect(tmp_path / "memory.db")
        database.execute("CREATE TABLE recipes (name TEXT)")
        database.close()
        with pytest.raises(StoreDamaged, match="another program"):
            await SqliteStore(tmp_path).open()


class TestMigrations:
    def test_they_count_from_one_without_a_gap(self) -> None:
        assert [number for number, _ in migrations.migrations()] == list(range(1, len(migrations.migrations()) + 1))

    async def test_one_that_fails_leaves_the_database_as_it_was(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with opened(tmp_path) as store:
            await store.upsert([message(1)])
        steps = migrations.migrations()
        bad = (len(steps) + 1, "CREATE TABLE half_done (a);\nINSERT INTO nowhere VALUES (1);")
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "migrations", lambda: [*steps, bad])
            with pytest.raises(sqlite3.OperationalError, match="nowhere"):
                await SqliteStore(tmp_path).open()
        database = sqlite3.connect(tmp_path / "memory.db")
        assert database.execute("PRAGMA user_version").fetchone() == (len(steps),)
        assert database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half_done'").fetchone() == (0,)
        database.close()
        async with opened(tmp_path) as store:
            assert (await store.stats()).messages == 1


class TestErasure:
    @pytest.mark.parametrize("seed", range(4))
    async def test_no_byte_of_a_forgotten_author_stays(self, tmp_path: Path, seed: int) -> None:
        rng = random.Random(seed)
        secret = {"author_id": 7, "author_name": "ZqCanaryName", "author_handle": "zqcanary", "extra": "zqcanary.png"}

        def text() -> str:
            return " ".join(rng.choices(["plum", "pear", "fig", "zqcanary猫zqcanary"], k=rng.choice([2, 9, 300])))

        async with opened(tmp_path) as store:
            messages = {i: message(i, text().replace("zqcanary", "x")) for i in range(1, 400)}
            hidden = rng.sample(range(1, 400), 150)
            messages |= {i: message(i, text(), attachments=("zqcanary.png",), **secret) for i in hidden}
            order = rng.sample(range(1, 400), 399)
            for start in range(0, 399, 21):
                await fill(store, [messages[i] for i in order[start : start + 21]])
                again = messages[order[start]]
                if again.author_id == 7:
                    await store.upsert([message(again.id, text(), edited_at=START, **secret)])
                if rng.random() < 0.5:
                    await store.delete(GUILD, [order[start + 1]])
            assert canaries(tmp_path)
            before = {m.id async for m in store.iterate(GUILD, author_id=7)}
            assert await store.erase(GUILD, author_id=7) == len(before)
            assert canaries(tmp_path) == {}
            others = {m.id async for m in store.iterate(GUILD)}
            assert others.isdisjoint(before)
            assert await dense_ids(store) == others
            await store.upsert([message(1000, "still at work")])
        assert canaries(tmp_path) == {}
        check_integrity(tmp_path)

    async def test_one_that_was_cut_off_is_finished_at_the_next_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(self: Connections) -> None:
            raise StoreReadOnly("The disk is full.")

        async with opened(tmp_path) as store:
            await fill(store, [message(1), message(2, "zqcanary " * 500, **BOB)])
            with monkeypatch.context() as patch:
                patch.setattr(Connections, "rewrite", fail)
                with pytest.raises(StoreError, match=r"are removed .* tried again .* next start\. The disk is full"):
                    await store.erase(GUILD, author_id=200)
            assert await store.load(scope(), [2]) == {}
            assert await dense_ids(store) == {1}
        (tmp_path / "memory.new").write_bytes(b"half a copy of zqcanary")
        async with opened(tmp_path):
            assert canaries(tmp_path) == {}
        assert canaries(tmp_path) == {}

    async def test_reads_go_on_meanwhile(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as store:
            await fill(store, [message(i) for i in range(1, 300)])
            erasing = asyncio.create_task(store.erase(GUILD, author_id=5))
            answers = 0
            while not erasing.done():
                assert len(await store.load(scope(), [1, 2, 3])) == 3
                answers += 1
            assert await erasing == 0
            assert answers > 3


def stop_after(calls: int) -> Callable[[], int]:
    """A progress handler that stops the statement at its n-th call."""
    remaining = itertools.count(calls - 1, -1)
    return lambda: next(remaining) <= 0


class TestFaults:
    async def test_a_write_stopped_anywhere_changes_nothing(self, tmp_path: Path) -> None:
        """The writer is interrupted after n steps of its virtual machine, for growing n, until all goes through."""
        async with opened(tmp_path) as store:
            await fill(store, [message(i, f"word{i} 猫の手") for i in range(1, 60)])
            writer = store._connections._open_writer()
            before = [m async for m in store.iterate(GUILD)]
            changes = [message(i, f"edited{i}", edited_at=START) for i in range(1, 60, 3)] + [message(200), message(61)]
            operations: dict[str, Callable[[], Awaitable[object]]] = {
                "upsert": lambda: store.upsert(changes),
                "delete": lambda: store.delete(GUILD, range(1, 60, 2)),
            }
            for name, operation in operations.items():
                stopped = 0
                for n in range(1, 10_000):
                    await writer.set_progress_handler(stop_after(n * n), 40)
                    try:
                        await operation()
                    except QueryInterrupted:
                        stopped += 1
                        assert [m async for m in store.iterate(GUILD)] == before
                        assert await dense_ids(store) == {m.id for m in before}
                    else:
                        break
                await writer.set_progress_handler(stop_after(10**9), 1_000_000)
                assert stopped > 3, name
                await embed_all(store)
                before = [m async for m in store.iterate(GUILD)]
            assert len(before) == 31
        check_integrity(tmp_path)

    async def test_a_full_disk_loses_nothing_and_heals(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as store:
            await fill(store, [message(i) for i in range(1, 100)])
            writer = store._connections._open_writer()
            [[pages]] = await writer.execute_fetchall("PRAGMA page_count")
            await writer.execute(f"PRAGMA max_page_count = {pages}")
            big = [message(i, "many words " * 300) for i in range(100, 160)]
            with pytest.raises(StoreReadOnly, match="disk is full"):
                await store.upsert(big)
            assert (await store.stats()).messages == 99
            assert len(await store.lexical(scope(), ["hello"], 10)) == 10
            await writer.execute("PRAGMA max_page_count = 1000000")
            assert len((await store.upsert(big)).inserted) == 60

    async def test_a_disk_that_refuses_writes_loses_nothing_and_heals(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as store:
            await fill(store, [message(i) for i in range(1, 100)])
            big = [message(i, "many words " * 300) for i in range(100, 400)]
            with file_size_limit(400_000), pytest.raises(StoreReadOnly):
                await store.upsert(big)
            assert (await store.stats()).messages == 99
            assert len((await store.upsert(big)).inserted) == 300
        check_integrity(tmp_path)

    async def test_an_erasure_on_such_a_disk_says_how_far_it_came(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as store:
            await fill(store, [message(i, "zqcanary " * 30) for i in range(1, 200)])
            await store.upsert([message(i, "x" * 3000, **BOB) for i in range(200, 1200)])
        async with opened(tmp_path) as store:
            with file_size_limit(50_000), pytest.raises(StoreReadOnly):
                await store.erase(GUILD, author_id=100)
            assert (await store.stats()).messages == 1199
            with file_size_limit(1_500_000), pytest.raises(StoreError, match="are removed"):
                await store.erase(GUILD, author_id=100)
            assert (await store.stats()).messages == 1000
        async with opened(tmp_path):
            assert canaries(tmp_path) == {}
        assert set(os.listdir(tmp_path)) == {"memory.db", "memory.lock"}  # noqa: PTH208
        check_integrity(tmp_path)

    async def test_a_query_past_its_deadline_is_stopped(self, tmp_path: Path) -> None:
        endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        async with opened(tmp_path) as store:
            with pytest.raises(QueryInterrupted):
                await asyncio.wait_for(store._connections.read(endless, deadline_s=0.05), 5)
            for deadline in (None, 60.0):
                reading = asyncio.create_task(store._connections.read(endless, deadline_s=deadline))
                await asyncio.sleep(0.02)
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading
            rows = [store._connections.read("SELECT 1", deadline_s=5) for _ in range(4)]
            assert await asyncio.wait_for(asyncio.gather(*rows), 5) == [[(1,)]] * 4

    async def test_a_keyword_search_past_its_deadline_finds_nothing_and_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(
            sqlite_search,
            "_FREQUENCY",
            "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n)",
        )
        store = SqliteStore(tmp_path, query_deadline_s=0.05)
        await store.open()
        assert await store.lexical(scope(), ["secretword"], 5) == []
        await store.close()
        assert f"guild {GUILD} passed its deadline" in caplog.text
        assert "secretword" not in caplog.text


INGEST = """
    import asyncio, sys
    from pathlib import Path
    from cogs.memory.stores.sqlite import SqliteStore
    from tests.stores.samples import GARDEN, GUILD, LOBBY, SPACE, embed_all, message

    async def main():
        store = SqliteStore(Path(sys.argv[1]))
        await store.open()
        await store.use_space(SPACE)
        start = int(sys.argv[2])
        for block in range(start, start + 100_000, 10):
            channels = {block + 5: GARDEN}
            await store.upsert([
                message(i, f"word{i} some text", channel_id=channels.get(i, LOBBY)) for i in range(block, block + 10)
            ])
            print("stored", block, flush=True)
            await embed_all(store)
            await store.delete(GUILD, [block + 3])
            print("deleted", block + 3, flush=True)
            await store.erase(GUILD, channel_id=GARDEN)
            print("deleted", block + 5, flush=True)

    asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    rng = random.Random(0)
    kept: set[int] = set()
    doubtful: set[int] = set()  # what the killed process was just doing, done or not
    for attempt in range(4):
        lines = await ingest_until_killed(tmp_path, 1 + attempt * 100_000, rng.randrange(5, 70))
        kept |= {block + i for kind, block in lines if kind == "stored" for i in range(10)}
        kept -= {i for kind, i in lines if kind == "deleted"}
        last = max(block for kind, block in lines if kind == "stored")
        doubtful |= {last + 3, last + 5, *range(last + 10, last + 20)}
        async with opened(tmp_path) as store:
            present = {m.id async for m in store.iterate(GUILD)}
            assert present - doubtful == kept - doubtful
            assert await dense_ids(store) == present - {m.id for m in await store.claim_unembedded(10**6)}
        check_integrity(tmp_path)


async def ingest_until_killed(folder: Path, first: int, lines: int) -> list[tuple[str, int]]:
    """Run `INGEST` until it has printed so many lines, kill it, and return all that it printed."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(INGEST),
        str(folder),
        str(first),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        output = b"".join([await asyncio.wait_for(child.stdout.readline(), 30) for _ in range(lines)])
    finally:
        child.kill()
    output += await child.stdout.read()
    await child.wait()
    pairs = [line.split() for line in output.decode().splitlines()]
    return [(kind, int(number)) for kind, number in pairs]


class TestIndexRebuild:
    async def test_changes_meanwhile_leave_neither_ghosts_nor_gaps(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = Connections.read

        async def read_slowly(self: Connections, sql: str, *arguments: Any, **options: Any) -> list[tuple[Any, ...]]:
            rows = await read(self, sql, *arguments, **options)
            if sql == sqlite_vectors._NEXT_BLOCK:
                await asyncio.sleep(0.003)  # time for others to change what was read
            return rows

        monkeypatch.setattr(sqlite_vectors, "_BLOCK", 25)
        monkeypatch.setattr(Connections, "read", read_slowly)
        rng = random.Random(0)
        async with opened(tmp_path) as store:
            await fill(store, [message(i, channel_id=rng.choice((LOBBY, 11, 12))) for i in range(1, 1500)])
        async with opened(tmp_path) as store:
            assert (await store.stats()).index_ready < 1
            assert len(await store.dense(scope(), vector(1), 5)) <= 5
            work: list[Coroutine[Any, Any, object]] = []
            for i in rng.sample(range(1, 1500), 300):
                if i % 3 == 0:
                    work.append(store.delete(GUILD, [i]))
                elif i % 3 == 1:
                    work.append(store.upsert([message(i, "edited", edited_at=START)]))
                else:
                    fresh = message(10_000 + i)
                    await store.upsert([fresh])
                    work.append(store.put_embeddings([embedding(fresh)]))
            await asyncio.gather(*work)
            waiting = {m.id for m in await store.claim_unembedded(10**6)}
            present = {m.id async for m in store.iterate(GUILD)}
            assert await dense_ids(store) == present - waiting
            index = store._vectors._current
            assert index is not None
            assert index[1].size() == len(present - waiting)
            assert waiting

    async def test_every_way_through_dense_agrees_with_brute_force(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_vectors, "EXACT_LIMIT", 10)
        monkeypatch.setattr(sqlite_vectors, "_OVERFETCH", (2, 3))
        async with opened(tmp_path) as store:
            everyone = [message(i, author_id=1 if i % 10 else 2, channel_id=10 + i % 3) for i in range(1, 600)]
            await fill(store, everyone)
            for author, after in ((1, 0), (2, 0), (2, 550), (1, 300)):
                where = scope(10, 12, author_ids=frozenset({author}), after=START + timedelta(minutes=after))
                inside = [
                    m.id for m in everyone if m.author_id == author and m.id >= after and m.channel_id in (10, 12)
                ]
                query = vector(after + author)
                best = sorted(inside, key=lambda i: -float(vector(i) @ query))[:20]
                hits = [hit.message_id for hit in await store.dense(where, query, 20)]
                assert set(hits) <= set(inside)
                assert len(hits) == len(best)
                assert len(set(hits) & set(best)) >= len(best) - 1

    async def test_an_entry_of_the_index_that_is_no_longer_true_is_not_shown(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as store:
            await fill(store, [message(1), message(2)])
            current = store._vectors._current
            assert current is not None
            ghost = vector(1)[None]
            current[1].add(GUILD, [LOBBY], [99], ghost)  # never stored
            current[1].add(GUILD, [LOBBY], [2], ghost)
            await store.upsert([message(3, channel_id=55)])
            await store.put_embeddings([embedding(message(3, channel_id=55), seed=1)])
            current[1].add(GUILD, [LOBBY], [3], ghost)  # stored, but in a channel that is not allowed
            assert {hit.message_id for hit in await store.dense(scope(LOBBY), vector(1), 5)} == {1, 2}


class TestQueries:
    async def test_an_id_of_another_guild_is_refused(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as store:
            await store.upsert([message(1)])
            result = await store.upsert([message(1, "taken over", guild_id=OTHER_GUILD), message(2)])
            assert (result.refused, result.inserted) == ((1,), (2,))
            assert await store.load(scope(guild=OTHER_GUILD), [1]) == {}

    async def test_the_work_list_and_the_neighbours_are_read_by_index(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as store:
            await fill(store, [message(1)])
            plans = {
                "SELECT m.id FROM messages m WHERE m.vector_space = 0 ORDER BY m.id DESC LIMIT 5": (
                    "messages_by_vector_space"
                ),
                "SELECT min(n.channel_id) FROM messages n WHERE n.guild_id = 1 AND n.channel_id > 5": (
                    "messages_by_channel"
                ),
            }
            for sql, index in plans.items():
                [row] = await store._connections.read(f"EXPLAIN QUERY PLAN {sql}")
                assert index in row[3]
                assert "SCAN" not in row[3]

    def test_rare_terms_are_asked_for_first_while_the_budget_lasts(self) -> None:
        assert affordable([900, 5, 0, 50], budget=100) == [1, 3]
        assert affordable([900, 800], budget=100) == [1]
        assert affordable([0, 0], budget=9) == []
        assert affordable([1] * 50, budget=100) == list(range(32))

    async def test_a_frequent_term_is_dropped_beside_a_rare_one_and_asked_for_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_search, "MATCH_BUDGET", 20)
        async with opened(tmp_path) as store:
            await store.upsert([message(i, "often", author_name=f"a{i}") for i in range(1, 100)])
            await store.upsert([message(200, "seldom", channel_id=11)])
            assert {h.message_id for h in await store.lexical(scope(), ["often", "seldom"], 99)} == {200}
            newest = {h.message_id for h in await store.lexical(scope(), ["often"], 99)}
            assert newest == set(range(80, 100))

    def test_terms_are_quoted_and_bounded(self) -> None:
        terms = parse_terms(['a"b', "a\x00b", *(f"w{i}" for i in range(99)), "", "!", "x" * 999])
        assert terms.words[:2] == ('"a""b"', '"a b"')
        assert len(terms.words) == 32
        assert parse_terms(["x" * 999]).words == ('"' + "x" * 200 + '"',)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.text(st.sampled_from("猫犬の手サーรัก 가a."), min_size=1, max_size=12), st.data())
    def test_every_part_of_a_run_is_found_in_its_segments(self, text: str, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, len(text) - 1))
        part = text[start : data.draw(st.integers(start + 1, len(text)))]
        tokens = segments(text).split()
        _, expressions = split_term(part)
        for expression in expressions:
            token = expression.strip('"* ')
            assert any(t.startswith(token) for t in tokens) if expression.endswith("*") else token in tokens
