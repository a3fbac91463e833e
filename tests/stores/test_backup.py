"""Backups: consistent while the store serves, verified, and never a way back for what was forgotten."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cogs.memory.exceptions import KeyMismatch, StoreDamaged, StoreError, StoreTooNew
from cogs.memory.records import ChannelInfo
from cogs.memory.stores.data_folder import DataFolder
from cogs.memory.stores.sqlite import SqliteStore
from cogs.memory.stores.sqlite_backup import RestoreReport, back_up, restore
from cogs.memory.stores.sqlite_engine import SqliteEngine
from cogs.memory.surface.restored_settings import merge_settings
from tests.stores.samples import BOB, GARDEN, GUILD, LOBBY, SPACE, START, embed_all, fill, message, scope
from tests.stores.sqlite_folder import canaries, check_integrity, opened

if TYPE_CHECKING:
    from pathlib import Path

KEY = "a key"


async def put_back(folder: Path, backup: Path, key: str | None = None, *, force: bool = True) -> RestoreReport:
    data = DataFolder(folder)
    data.acquire()
    try:
        return await restore(data, backup, SqliteEngine(key), merge_settings, force=force)
    finally:
        data.release()


def take(folder: Path, backup: Path, key: str | None = None) -> int:
    return back_up(DataFolder(folder), backup, SqliteEngine(key)).messages


async def test_a_backup_taken_while_messages_come_in_is_one_moment_of_the_memory(tmp_path: Path) -> None:
    folder, backup = tmp_path / "memory", tmp_path / "backup"
    before = os.umask(0)
    try:
        async with opened(folder) as store:
            await fill(store, [message(i) for i in range(1, 1001)])

            async def go_on() -> None:
                for i in range(1001, 1400, 2):  # always two at a time
                    await store.upsert([message(i), message(i + 1)])

            writing = asyncio.create_task(go_on())
            counts = [await asyncio.to_thread(take, folder, backup) for _ in range(3)]
            await writing
            assert len((await store.upsert([message(5000)])).inserted) == 1
    finally:
        os.umask(before)
    assert all(1000 <= count <= 1400 and count % 2 == 0 for count in counts)
    assert {file.name: file.stat().st_mode & 0o777 for file in backup.iterdir()} == {
        "memory.db": 0o600,
        "backup.json": 0o600,
    }
    assert backup.stat().st_mode & 0o777 == 0o700
    about = json.loads((backup / "backup.json").read_text())
    assert (about["messages"], about["encrypted"]) == (counts[-1], False)
    check_integrity(backup)
    report = await put_back(tmp_path / "new", backup, force=False)
    assert report == RestoreReport(counts[-1], 0, None, is_present_damaged=False)


async def test_what_was_deleted_forgotten_edited_or_decided_since_stays_so(tmp_path: Path) -> None:
    folder, backup = tmp_path / "memory", tmp_path / "backup"
    async with opened(folder) as store:
        await store.put_channels([ChannelInfo(GARDEN, GUILD, "zqcanary-garden"), ChannelInfo(LOBBY, GUILD, "lobby")])
        await fill(
            store,
            [
                message(1, "stays"),
                message(2, "zqcanary of Bob", **BOB),
                message(3, "zqcanary deleted"),
                message(4, "zqcanary in the garden", channel_id=GARDEN),
                message(5, "zqcanary before an edit"),
            ],
        )
        await store.put_setting(GUILD, "opted-out", "[1, 7]")
        await store.put_setting(GUILD, "sync", "as of the backup")
        await store.put_setting(GUILD, "judgements", "zqcanary question")
        await store.put_setting(GUILD, "guild-settings", "old")
        take(folder, backup)
        await store.erase(GUILD, author_id=BOB["author_id"])
        await store.delete(GUILD, [3])
        await store.erase(GUILD, channel_id=GARDEN)
        await store.upsert([message(5, "after it", edited_at=START), message(6, "since")])
        await store.put_setting(GUILD, "opted-out", "[7, 9]")
        await store.put_setting(GUILD, "sync", "as of now")
        await store.put_setting(GUILD, "judgements", None)
        await store.put_setting(GUILD, "guild-settings", "new")
        await embed_all(store)
    assert canaries(folder) == {}
    assert canaries(backup)
    report = await put_back(folder, backup)
    assert report.forgotten == 3
    assert canaries(folder) == {}
    check_integrity(folder)
    async with opened(folder) as store:
        assert {m.id: m.content async for m in store.iterate(GUILD)} == {1: "stays", 5: "after it"}
        assert await store.channels(GUILD) == [ChannelInfo(LOBBY, GUILD, "lobby")]
        assert (await store.upsert([message(2, **BOB), message(3), message(99, **BOB)])).inserted == ()
        assert [m.id for m in await store.claim_unembedded(9)] == [5]
        assert await store.lexical(scope(), ["zqcanary"], 9) == []
        settings = {key: await store.get_setting(GUILD, key) for key in ("opted-out", "sync", "guild-settings")}
        assert settings == {"opted-out": "[1, 7, 9]", "sync": "as of the backup", "guild-settings": "new"}
        assert await store.get_setting(GUILD, "judgements") is None


async def test_the_memory_that_was_there_is_kept_until_something_is_forgotten(tmp_path: Path) -> None:
    folder, backup = tmp_path / "memory", tmp_path / "backup"
    async with opened(folder) as store:
        await store.upsert([message(1)])
    take(folder, backup)
    async with opened(folder) as store:
        await store.upsert([message(2, "zqcanary", **BOB)])
    with pytest.raises(StoreError, match="holds a memory already: with --force"):
        await put_back(folder, backup, force=False)
    report = await put_back(folder, backup)
    assert report.aside is not None
    assert (folder / report.aside).stat().st_mode & 0o777 == 0o600
    assert canaries(folder) == {report.aside: 1}
    with closing(sqlite3.connect(folder / report.aside)) as kept:
        assert kept.execute("SELECT count(*) FROM messages").fetchone() == (2,)
    async with opened(folder) as store:
        assert (await store.stats()).messages == 1
        await store.erase(GUILD, author_id=BOB["author_id"])
        assert canaries(folder) == {}
    assert sorted(os.listdir(folder)) == ["memory.db", "memory.lock"]  # noqa: PTH208


async def test_an_encrypted_memory_stays_encrypted_and_a_plain_backup_becomes_so(tmp_path: Path) -> None:
    folder, backup, plain = tmp_path / "memory", tmp_path / "backup", tmp_path / "plain"
    store = SqliteStore(folder, key=KEY)
    await store.open()
    await store.use_space(SPACE)
    await fill(store, [message(1, "zqcanary"), message(2, "zqcanary", **BOB)])
    take(folder, backup, KEY)
    await store.erase(GUILD, author_id=BOB["author_id"])
    await store.close()
    assert canaries(backup) == {}
    for key, sentence in ((None, "cannot be used.*no key is set"), ("x", "cannot be used.*does not open")):
        with pytest.raises(KeyMismatch, match=sentence):
            await put_back(folder, backup, key)
    assert (await put_back(folder, backup, KEY)).forgotten == 1
    async with opened(tmp_path / "other") as other:
        await other.upsert([message(i, "zqcanary") for i in (1, 2, 3)])
        take(tmp_path / "other", plain)
    assert (await put_back(folder, plain, KEY)).messages == 2
    assert canaries(folder) == {}


async def test_a_backup_that_is_damaged_or_newer_is_refused_and_the_present_memory_untouched(tmp_path: Path) -> None:
    folder, backup = tmp_path / "memory", tmp_path / "backup"
    async with opened(folder) as store:
        await store.upsert([message(i, "hello " * 50) for i in range(1, 300)])
    take(folder, backup)
    file = backup / "memory.db"
    whole = file.read_bytes()
    present = (folder / "memory.db").read_bytes()
    for damaged, error in (
        (whole[:-10_000], StoreDamaged),
        (whole.replace(b"hello hello", b"jello hello", 1), StoreDamaged),
    ):
        file.write_bytes(damaged)
        with pytest.raises(error, match="is damaged"):
            await put_back(folder, backup)
    (backup / "backup.json").unlink()
    file.write_bytes(whole[:-10_000])
    with pytest.raises(StoreDamaged, match="cannot be used"):
        await put_back(folder, backup)
    file.write_bytes(whole)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 999")
    with pytest.raises(StoreTooNew, match="newer version"):
        await put_back(folder, backup)
    file.unlink()
    with pytest.raises(StoreError, match="There is no backup"):
        await put_back(folder, backup)
    assert (folder / "memory.db").read_bytes() == present
    assert not (folder / "memory.new").exists()


async def test_a_damaged_memory_can_be_replaced_and_the_report_says_what_is_not_known(tmp_path: Path) -> None:
    folder, backup = tmp_path / "memory", tmp_path / "backup"
    async with opened(folder) as store:
        await store.upsert([message(1)])
    take(folder, backup)
    (folder / "memory.db").write_bytes(b"no database " * 999)
    report = await put_back(folder, backup)
    assert report.is_present_damaged
    assert report.messages == 1
    assert report.aside is not None
    assert (folder / report.aside).read_bytes() == b"no database " * 999
    async with opened(folder) as store:
        assert (await store.stats()).messages == 1


async def test_there_must_be_a_memory_and_a_folder_of_its_own_to_back_it_up(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no memory"):
        take(tmp_path / "nowhere", tmp_path / "backup")
    async with opened(tmp_path / "memory"):
        with pytest.raises(StoreError, match="choose another one"):
            take(tmp_path / "memory", tmp_path / "memory")


async def test_an_older_backup_stays_whole_until_the_new_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, backup = tmp_path / "memory", tmp_path / "backup"
    async with opened(folder) as store:
        await store.upsert([message(1)])
        take(folder, backup)
        older = {file.name: file.read_bytes() for file in backup.iterdir()}
        with monkeypatch.context() as patch:
            patch.setattr("cogs.memory.stores.sqlite_backup.require_whole", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                take(folder, backup)
        assert {file.name: file.read_bytes() for file in backup.iterdir()} == older
