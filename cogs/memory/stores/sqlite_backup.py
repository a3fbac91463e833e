"""Backups of the embedded store: taken while it serves, put back without bringing back what was deleted since."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Final

from cogs.memory.exceptions import StoreDamaged, StoreError
from cogs.memory.stores import sqlite_writes as writes
from cogs.memory.stores.data_folder import FOLDER_MODE, create_private, discard, durable_replace, folder_errors
from cogs.memory.stores.message_rows import MessageRow
from cogs.memory.stores.sqlite_connections import Connections
from cogs.memory.stores.sqlite_copies import engine_of, fold_log, require_whole, write_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cogs.memory.stores.data_folder import DataFolder
    from cogs.memory.stores.sqlite_connections import Statements
    from cogs.memory.stores.sqlite_engine import SqliteEngine

    StoredSettings = Mapping[tuple[int, str], str]
    """Values by guild and key."""
    MergeSettings = Callable[[StoredSettings, StoredSettings], StoredSettings]
    """(those of the present database, those of the backup) → those of the restored one."""

FORMAT: Final = "memory-backup/1"
_DATABASE: Final = "memory.db"
_MANIFEST: Final = "backup.json"
_CHUNK: Final = 1000
_ROW = ", ".join(f"m.{name}" for name in MessageRow._fields)


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup holds."""

    messages: int
    bytes: int
    encrypted: bool


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restoring did."""

    messages: int
    forgotten: int
    """Messages of the backup that were deleted or erased since, and so are not back."""
    aside: str | None
    """The name under which the database that was there is kept; None if there was none."""
    is_present_damaged: bool
    """Whether the database that was there could not be read, so that nobody knows what was deleted since."""


def back_up(folder: DataFolder, target: Path, engine: SqliteEngine) -> BackupReport:
    """Write a verified copy of the memory into a folder, in place of an older one; the bot may run. Blocks.

    Raises:
        StoreError: there is no new backup; an older one in the folder is as it was.
    """
    if not folder.database.exists() or not folder.database.stat().st_size:
        raise StoreError(f"There is no memory in {folder.path} yet.")
    with folder_errors(target):
        target.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if (target / "memory.lock").exists():
            raise StoreError(f"{target} is the folder of a memory itself: choose another one for the backup.")
        for left_over in target.glob(f"{_DATABASE}.new*"):
            discard(left_over)
        new, manifest = backup_part(target), target / _MANIFEST
        write_copy(folder.database, new, engine, engine)
        try:
            messages = require_whole(new, engine)
            size, digest = new.stat().st_size, _digest(new)
            manifest.unlink(missing_ok=True)  # first: it must never stand beside a database that it is not about
            durable_replace(new, target / _DATABASE)
        finally:
            new.unlink(missing_ok=True)
        about = {
            "format": FORMAT,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "messages": messages,
            "bytes": size,
            "encrypted": engine.encrypts,
            "sha256": digest,
        }
        create_private(manifest)
        manifest.write_text(f"{json.dumps(about, indent=1)}\n", "utf-8")
    return BackupReport(messages, size, engine.encrypts)


def backup_part(target: Path) -> Path:
    """Where a backup grows until it is whole."""
    return target / f"{_DATABASE}.new"


def staged(folder: DataFolder) -> Path:
    """Where a database grows that is about to be restored."""
    return folder.path / "memory.new" / _DATABASE


async def restore(
    folder: DataFolder, backup: Path, engine: SqliteEngine, merge: MergeSettings, *, force: bool
) -> RestoreReport:
    """Put a backup in the place of the memory. The caller holds the folder's lock.

    What was deleted, erased or edited since the backup was made stays so, as far as the present database knows. It is
    kept under another name. A plain backup is encrypted where there is a key.

    Raises:
        StoreError: the present database is as it was; the sentence says why.
    """
    present_size = folder.database.stat().st_size
    if present_size and not force:
        raise StoreError(
            f"The data folder {folder.path} holds a memory already: with --force the backup takes its place, "
            "and the present one is kept beside it."
        )
    source = backup / _DATABASE
    with folder_errors(backup):
        if not source.is_file():
            raise StoreError(f"There is no backup in {backup}: it would hold the file {_DATABASE}.")
        await asyncio.to_thread(_stage, folder, source, engine)
    try:
        async with AsyncExitStack() as opened:
            restored = Connections(staged(folder), engine)
            present = Connections(folder.database, engine) if present_size else None
            await restored.open()
            opened.push_async_callback(restored.close)
            damaged = present is not None and not await _opens(present)
            forgotten = 0
            if present is not None and not damaged:
                opened.push_async_callback(present.close)
                forgotten = await _carry_over(present, restored, merge)
            [[messages]] = await restored.read("SELECT count(*) FROM messages")
        aside = await asyncio.to_thread(_put_in_place, folder, engine, present_size, is_damaged=damaged)
    finally:
        await asyncio.to_thread(shutil.rmtree, staged(folder).parent, ignore_errors=True)
    return RestoreReport(messages, forgotten, aside, damaged)


def _stage(folder: DataFolder, source: Path, engine: SqliteEngine) -> None:
    """Bring the backup into the data folder, whole and with the present key."""
    _check_digest(source)
    folder.check_room(2 * source.stat().st_size)
    target = staged(folder)
    with folder_errors(folder.path):
        target.parent.mkdir(mode=FOLDER_MODE)
    try:
        write_copy(source, target, engine_of(source, engine), engine)
        require_whole(target, engine)
    except StoreError as error:
        shutil.rmtree(target.parent, ignore_errors=True)
        raise type(error)(f"The backup in {source.parent} cannot be used. {error}") from error


def _check_digest(source: Path) -> None:
    manifest = source.with_name(_MANIFEST)
    if not manifest.exists():
        return
    try:
        expected = json.loads(manifest.read_text("utf-8"))["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreDamaged(f"{manifest} is damaged; remove it to restore the database beside it unchecked.") from error
    if _digest(source) != expected:
        raise StoreDamaged(f"The backup in {source.parent} is damaged: it is not what was written there.")


async def _opens(present: Connections) -> bool:
    try:
        await present.open()
    except StoreDamaged:
        return False
    return True


async def _carry_over(present: Connections, restored: Connections, merge: MergeSettings) -> int:
    """Do to a restored database what was done to the present one since; returns how many messages that removed.

    In steps: until all are done nobody else sees the restored one.
    """
    async with restored.write_lock:
        await _copy_marks(present, restored)
        gone = await restored.write(_remove_marked)
        await _take_over_edits(present, restored)
        named = await present.read("SELECT guild_id, id FROM channels")
        settings = merge(await _settings(present), await _settings(restored))
        await restored.write(partial(_finish, named=named, settings=settings), durable=True)
        await restored.rewrite()
    return gone


async def _copy_marks(present: Connections, restored: Connections) -> None:
    last = (0, 0)
    sql = "SELECT guild_id, message_id FROM tombstones WHERE (guild_id, message_id) > (?, ?) ORDER BY 1, 2 LIMIT ?"
    while rows := await present.read(sql, (*last, _CHUNK)):
        await restored.write(partial(writes.bury, dead=rows))
        last = rows[-1][:2]
    erasures = await present.read("SELECT guild_id, author_id, until_us FROM erasures")
    await restored.write(partial(writes.mark_erased, erasures=erasures))


def _remove_marked(database: Statements) -> int:
    """Delete what has a tombstone, or was written by somebody before he was forgotten."""
    doomed = database.execute(
        "SELECT m.guild_id, m.id FROM tombstones t CROSS JOIN messages m"
        " ON m.id = t.message_id AND m.guild_id = t.guild_id"
        " UNION SELECT m.guild_id, m.id FROM erasures e CROSS JOIN messages m INDEXED BY messages_by_author"
        " ON m.guild_id = e.guild_id AND m.author_id = e.author_id AND m.created_us <= e.until_us ORDER BY 1"
    )
    for guild, rows in groupby(doomed, key=lambda row: int(row[0])):
        ids = [int(row[1]) for row in rows]
        for start in range(0, len(ids), _CHUNK):
            writes.delete(database, guild, ids[start : start + _CHUNK])
    return len(doomed)


async def _take_over_edits(present: Connections, restored: Connections) -> None:
    last = 0
    sql = f"SELECT {_ROW} FROM messages m WHERE m.edited_us IS NOT NULL AND m.id > ? ORDER BY m.id LIMIT ?"  # noqa: S608
    while rows := await present.read(sql, (last, _CHUNK)):
        last = rows[-1][0]
        await restored.write(partial(_edit_known, rows=[MessageRow(*row) for row in rows]))


def _edit_known(database: Statements, rows: Sequence[MessageRow]) -> None:
    known = database.execute(
        "SELECT j.value FROM json_each(?) j CROSS JOIN messages m ON m.id = j.value",
        (json.dumps([row.id for row in rows]),),
    )
    ids = {row[0] for row in known}
    writes.upsert(database, [row for row in rows if row.id in ids])


def _finish(database: Statements, named: Sequence[tuple[int, int]], settings: StoredSettings) -> None:
    """Put the settings in place, and forget names of channels that were erased.

    Those are of channels that hold nothing and that the present database has no name of.
    """
    database.execute(
        "DELETE FROM channels WHERE NOT EXISTS ("
        " SELECT 1 FROM messages m WHERE m.guild_id = channels.guild_id AND m.channel_id = channels.id"
        ") AND NOT EXISTS ("
        " SELECT 1 FROM json_each(?) j"
        " WHERE json_extract(j.value, '$[0]') = channels.guild_id AND json_extract(j.value, '$[1]') = channels.id)",
        (json.dumps(named),),
    )
    database.execute("DELETE FROM settings")
    rows = [(guild, key, value) for (guild, key), value in settings.items()]
    database.executemany("INSERT INTO settings VALUES (?, ?, ?)", rows)
    writes.optimize_search(database)


async def _settings(database: Connections) -> StoredSettings:
    rows = await database.read("SELECT guild_id, key, value FROM settings")
    return {(guild, key): value for guild, key, value in rows}


def _put_in_place(folder: DataFolder, engine: SqliteEngine, present_size: int, *, is_damaged: bool) -> str | None:
    fold_log(staged(folder), engine)
    if present_size and not is_damaged:
        fold_log(folder.database, engine)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    with folder_errors(folder.path):
        aside = folder.put_aside_present(stamp) if present_size else None
        for end in ("-wal", "-shm"):  # a log left there would be replayed onto the restored database
            with suppress(FileNotFoundError):
                (folder.path / f"{_DATABASE}{end}").unlink()
        durable_replace(staged(folder), folder.database)
    return aside


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
