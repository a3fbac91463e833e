"""The encrypted database: everything works as in a plain one, nothing in it is legible, and the key is asked for."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cogs.memory.exceptions import KeyMismatch, StoreDamaged, StoreError
from cogs.memory.stores import sqlite_copies
from cogs.memory.stores.data_folder import DataFolder
from cogs.memory.stores.sqlite import SqliteStore
from cogs.memory.stores.sqlite_copies import convert, require_whole
from cogs.memory.stores.sqlite_engine import SqliteEngine
from tests.stores.samples import BOB, GUILD, SPACE, embed_all, fill, message, scope, vector
from tests.stores.sqlite_folder import canaries

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "correct horse battery staple"


async def opened(folder: Path, key: str | None = KEY) -> SqliteStore:
    store = SqliteStore(folder, key=key)
    await store.open()
    await store.use_space(SPACE)
    return store


async def a_plain_memory(folder: Path, count: int = 100) -> None:
    store = await opened(folder, None)
    await fill(store, [message(i, f"zqcanary {i} is running") for i in range(1, count + 1)])
    await store.delete(GUILD, [5])
    await store.put_setting(GUILD, "opted-out", "[7]")
    await store.close()


async def test_search_edits_and_erasures_work_and_no_byte_is_legible_meanwhile_or_after(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await fill(store, [message(i, f"zqcanary {i} is running", **(BOB if i % 2 else {})) for i in range(1, 200)])
    assert canaries(tmp_path) == {}
    assert {hit.message_id for hit in await store.lexical(scope(), ["ran", "run"], 500)} == set(range(1, 200))
    assert (await store.dense(scope(), vector(7), 1))[0].message_id == 7
    assert await store.erase(GUILD, author_id=BOB["author_id"]) == 100
    assert (await store.stats()).messages == 99
    assert canaries(tmp_path) == {}
    await store.close()
    assert canaries(tmp_path) == {}
    assert require_whole(tmp_path / "memory.db", SqliteEngine(KEY)) == 99
    again = await opened(tmp_path)
    assert (await again.stats()).messages == 99
    await again.close()


async def test_it_is_an_ordinary_sqlcipher_file(tmp_path: Path) -> None:
    from sqlcipher3 import dbapi2

    store = await opened(tmp_path)
    await store.upsert([message(1)])
    await store.close()
    with closing(dbapi2.connect(str(tmp_path / "memory.db"))) as connection:
        connection.execute(f"PRAGMA key = '{KEY}'")
        assert connection.execute("SELECT content FROM messages").fetchall() == [("hello there",)]


@pytest.mark.parametrize(
    ("made_with", "opened_with", "sentence"),
    [
        (KEY, None, "is encrypted, and no key is set"),
        (KEY, "another", "does not open the database"),
        (None, KEY, "is not encrypted: run “bot.py encrypt”"),
    ],
)
async def test_a_key_that_does_not_fit_is_told_in_one_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], made_with: str | None, opened_with: str | None, sentence: str
) -> None:
    await (await opened(tmp_path, made_with)).close()
    before = (tmp_path / "memory.db").read_bytes()
    with pytest.raises(KeyMismatch, match=sentence):
        await opened(tmp_path, opened_with)
    assert (tmp_path / "memory.db").read_bytes() == before
    assert capfd.readouterr() == ("", "")
    await (await opened(tmp_path, made_with)).close()


async def test_what_is_in_the_log_alone_is_found_after_a_crash(tmp_path: Path) -> None:
    store = await opened(tmp_path / "memory")
    await store.upsert([message(1)])
    shutil.copytree(tmp_path / "memory", tmp_path / "crashed")
    await store.close()
    again = await opened(tmp_path / "crashed")
    assert (await again.stats()).messages == 1
    await again.close()


async def test_an_encrypted_file_that_was_cut_off_is_damaged(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    database = tmp_path / "memory.db"
    for damaged in (database.read_bytes()[:10_000], b"no database " * 9999):
        database.write_bytes(damaged)
        with pytest.raises(StoreDamaged, match="damaged"):
            await opened(tmp_path)


async def test_without_the_package_the_sentence_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlcipher3", None)
    with pytest.raises(KeyMismatch, match="pip install 'sqlcipher3"):
        await opened(tmp_path)


async def test_a_plain_database_becomes_an_encrypted_one_and_back_with_all_that_was_in_it(tmp_path: Path) -> None:
    await a_plain_memory(tmp_path)
    plain, secret = SqliteEngine(), SqliteEngine(KEY)
    folder = DataFolder(tmp_path)
    for before, after, key in ((plain, secret, KEY), (secret, plain, None)):
        folder.acquire()
        assert convert(folder, before, after) == 99
        folder.release()
        assert sorted(file.name for file in tmp_path.iterdir()) == ["memory.db", "memory.lock"]  # noqa: ASYNC240
        assert bool(canaries(tmp_path)) is (key is None)
        assert folder.database.stat().st_mode & 0o077 == 0
        store = await opened(tmp_path, key)
        assert {m.id async for m in store.iterate(GUILD)} == set(range(1, 101)) - {5}
        assert len(await store.lexical(scope(), ["run"], 500)) == 99
        assert (await store.stats()).awaiting == 0
        assert (await store.upsert([message(5)])).refused == (5,)
        assert await store.get_setting(GUILD, "opted-out") == "[7]"
        await store.upsert([message(200, "zqcanary, new")])
        await embed_all(store)
        await store.delete(GUILD, [200])
        await store.close()


class Killed(BaseException):
    """Stands for the end of the process at one step."""


@pytest.mark.parametrize("step", ["write_copy", "require_whole", "durable_replace", "discard"])
async def test_cut_off_anywhere_one_whole_database_is_in_place_and_a_second_try_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await a_plain_memory(tmp_path)
    done: Callable[..., object] = getattr(sqlite_copies, step)

    def killed(*arguments: object, **options: object) -> object:
        if step == "write_copy":
            done(*arguments, **options)
        raise Killed

    folder, secret = DataFolder(tmp_path), SqliteEngine(KEY)
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_copies, step, killed)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # a dead process cleans up nothing
        folder.acquire()
        with pytest.raises(Killed):
            convert(folder, SqliteEngine(), secret)
        folder.release()
    is_done = step == "discard"
    store = await opened(tmp_path, KEY if is_done else None)
    assert (await store.stats()).messages == 99
    await store.close()
    if not is_done:
        folder.acquire()
        convert(folder, SqliteEngine(), secret)
        folder.release()
    assert canaries(tmp_path) == {}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["memory.db", "memory.lock"]  # noqa: ASYNC240


async def test_a_conversion_waits_for_no_other_program(tmp_path: Path) -> None:
    await a_plain_memory(tmp_path)
    folder = DataFolder(tmp_path)
    folder.acquire()
    with closing(sqlite3.connect(tmp_path / "memory.db")) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM messages").fetchone()
        with pytest.raises(StoreError, match="in use by another program"):
            convert(folder, SqliteEngine(), SqliteEngine(KEY))
    folder.release()
    await (await opened(tmp_path, None)).close()
