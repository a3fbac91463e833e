"""The embedded engine's folder: its owner, its lock, damage, and databases of other versions."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import stat
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cogs.memory.exceptions import StoreDamaged, StoreError, StoreLocked, StoreReadOnly, StoreTooNew
from cogs.memory.stores import migrations
from cogs.memory.stores.sqlite import SqliteStore
from tests.stores.samples import GUILD, fill, message, scope
from tests.stores.sqlite_folder import ROOT, opened

if TYPE_CHECKING:
    from collections.abc import Iterator


def connection_threads() -> int:
    return sum("connection" in thread.name for thread in threading.enumerate())


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
                _, errors = await asyncio.wait_for(child.communicate(), 120)
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
