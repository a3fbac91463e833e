"""The embedded engine under erasure, interruptions, full disks and kill -9."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import threading
from typing import TYPE_CHECKING

import pytest

from cogs.memory.exceptions import StoreError, StoreReadOnly, StoreTimeout
from cogs.memory.stores import sqlite_search
from cogs.memory.stores.sqlite import SqliteStore
from cogs.memory.stores.sqlite_connections import Connections
from tests.stores.samples import BOB, GUILD, START, embed_all, fill, message, scope
from tests.stores.sqlite_folder import (
    canaries,
    check_integrity,
    dense_ids,
    file_size_limit,
    ingest_until_killed,
    opened,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
PATIENCE_S = 60.0


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


async def served(connections: Connections, queries: int) -> bool:
    """Whether as many queries at once are answered, on whatever readers there are."""
    rows = [connections.read("SELECT 1", deadline_s=PATIENCE_S) for _ in range(queries)]
    return await asyncio.wait_for(asyncio.gather(*rows), PATIENCE_S) == [[(1,)]] * queries


class TestFaults:
    async def test_a_write_stopped_anywhere_changes_nothing(self, tmp_path: Path) -> None:
        """The writer is interrupted after n steps of its virtual machine, for growing n, until all goes through."""
        async with opened(tmp_path) as store:
            await fill(store, [message(i, f"word{i} 猫の手") for i in range(1, 60)])
            writer = await store._connections._open_writer()
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
                    except StoreTimeout:
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
            writer = await store._connections._open_writer()
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
        async with opened(tmp_path) as store:
            with pytest.raises(StoreTimeout):
                await asyncio.wait_for(store._connections.read(ENDLESS, deadline_s=0.05), PATIENCE_S)
            for deadline in (None, 60.0):
                reading = asyncio.create_task(store._connections.read(ENDLESS, deadline_s=deadline))
                await asyncio.sleep(0.02)
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading
            assert await served(store._connections, 4)

    @pytest.mark.parametrize("cancellations", [1, 2])
    async def test_a_query_that_is_given_up_before_its_thread_has_begun_it_blocks_no_reader(
        self, tmp_path: Path, cancellations: int
    ) -> None:
        go_on = threading.Event()
        async with opened(tmp_path) as store:
            busy = asyncio.create_task(store._connections._idle_readers[-1]._execute(go_on.wait, PATIENCE_S))  # type: ignore[no-untyped-call]
            await asyncio.sleep(0)
            reading = asyncio.create_task(store._connections.read(ENDLESS))
            for _ in range(cancellations):
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                reading.cancel()
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert await busy
            assert await served(store._connections, 4)

    async def test_a_write_that_is_given_up_before_its_thread_has_begun_it_leaves_no_transaction_open(
        self, tmp_path: Path
    ) -> None:
        go_on = threading.Event()
        async with opened(tmp_path) as store:
            writer = store._connections._writer
            assert writer is not None
            started = threading.Event()
            busy = asyncio.create_task(writer._execute(lambda: started.set() or go_on.wait(PATIENCE_S)))  # type: ignore[no-untyped-call,func-returns-value]
            await asyncio.to_thread(started.wait, PATIENCE_S)
            writing = asyncio.create_task(_begin(store._connections))
            await asyncio.sleep(0)  # until its first statement waits for the thread
            assert not writer._tx.empty()
            writing.cancel()
            await asyncio.sleep(0)
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await writing
            assert await busy
            await store.upsert([message(2)])
            assert {m.id async for m in store.iterate(GUILD)} == {2}
            assert not writer.in_transaction

    async def test_a_keyword_search_past_its_deadline_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(
            sqlite_search,
            "_IDS",
            "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n)",
        )
        store = SqliteStore(tmp_path, query_deadline_s=0.05)
        await store.open()
        with pytest.raises(StoreTimeout, match="too long"):
            await store.lexical(scope(), ["secretword"], 5)
        await store.close()
        assert "secretword" not in caplog.text


async def _begin(connections: Connections) -> None:
    # not under the lock, which may be taken: the index is being rebuilt
    await connections.write(lambda database: database.execute("DELETE FROM tombstones"))


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
