"""``bot.py backup``, ``restore``, ``encrypt`` and ``decrypt``: what an operator does to the database as a whole."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from cogs.memory.exceptions import StoreError
from cogs.memory.key_strength import weakness
from cogs.memory.stores.data_folder import DataFolder
from cogs.memory.stores.sqlite_backup import back_up, backup_part, restore, staged
from cogs.memory.stores.sqlite_copies import convert
from cogs.memory.stores.sqlite_engine import SqliteEngine, is_plain
from cogs.memory.surface.cli.output import console, progress_bar, warn_of
from cogs.memory.surface.restored_settings import merge_settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Iterator
    from pathlib import Path

T = TypeVar("T")

COMMANDS: Final = ("backup", "restore", "encrypt", "decrypt")
_NO_KEY: Final = (
    "No key is set: put a passphrase into MEMORY_KEY or MEMORY_KEY_FILE first (“openssl rand -base64 32” makes one), "
    "and keep a copy of it where the database is not."
)


async def upkeep(arguments: argparse.Namespace, folder: Path, key: str | None) -> int:
    """Carry out one of `COMMANDS`; return the exit code. Raises StoreError."""
    data, engine = DataFolder(folder), SqliteEngine(key)
    if arguments.command == "backup":
        return await _back_up(data, arguments.folder, engine)
    if not data.database.exists() and arguments.command != "restore":
        raise StoreError(f"There is no memory in {folder} yet; one that is made while a key is set is encrypted.")
    with _locked(data):
        if arguments.command == "restore":
            return await _restore(data, arguments.folder, engine, force=arguments.force)
        if key is None:
            raise StoreError(_NO_KEY)
        if arguments.command == "encrypt":
            warn_of(weakness(key))
        return await _convert(data, engine, encrypt=arguments.command == "encrypt")


async def _back_up(data: DataFolder, target: Path, engine: SqliteEngine) -> int:
    work = asyncio.to_thread(back_up, data, target, engine)
    report = await _shown("backup", work, backup_part(target), data.bytes_on_disk())
    secrecy = "encrypted with the key that is set" if report.encrypted else "not encrypted"
    console.print(
        f"{report.messages:,} messages ({report.bytes / 1e6:.1f} MB) are in {target}, {secrecy}, read back and whole.",
        markup=False,
    )
    return 0


async def _restore(data: DataFolder, backup: Path, engine: SqliteEngine, *, force: bool) -> int:
    source = backup / data.database.name
    size = source.stat().st_size if source.is_file() else 0
    work = restore(data, backup, engine, merge_settings, force=force)
    report = await _shown("restore", work, staged(data), size)
    console.print(f"{report.messages:,} messages are back from {backup}.", markup=False)
    if report.forgotten:
        console.print(f"{report.forgotten:,} messages of the backup were deleted or forgotten since, and stay so.")
    if report.is_present_damaged:
        console.print(
            "The database that was there cannot be read, so nobody knows what was deleted since the backup was made. "
            "What is gone on Discord goes here too when the bot compares the two (/memory backfill)."
        )
    if report.aside:
        console.print(f"The memory that was there is kept as {data.path / report.aside}.", markup=False)
    return 0


async def _convert(data: DataFolder, engine: SqliteEngine, *, encrypt: bool) -> int:
    if is_plain(data.database) is not encrypt:
        if encrypt:
            engine.connect(data.database).close()  # raises unless it is encrypted with this key
        console.print(f"The database is {'encrypted' if encrypt else 'not encrypted'} already.")
        return 0
    before, after = (SqliteEngine(), engine) if encrypt else (engine, SqliteEngine())
    work = asyncio.to_thread(convert, data, before, after)
    count = await _shown("encrypt" if encrypt else "decrypt", work, data.path / "memory.new", data.bytes_on_disk())
    if encrypt:
        data.drop_what_was_put_aside()  # those copies are not encrypted
        console.print(
            f"The database with its {count:,} messages is encrypted. Without the key nothing in it can be read again: "
            "keep a copy of the key where the database is not. Older backups are as they were made."
        )
    else:
        console.print(f"The database with its {count:,} messages is not encrypted any more: take the key away.")
    return 0


@contextmanager
def _locked(data: DataFolder) -> Iterator[None]:
    data.acquire()
    try:
        yield
    finally:
        data.release()


async def _shown(name: str, work: Awaitable[T], growing: Path, total: int) -> T:
    """Show how a file grows while something is done."""
    running = asyncio.ensure_future(work)
    with progress_bar() as bar:
        task = bar.add_task(f"{name} (kB)", total=max(1, total // 1000))
        while not running.done():
            await asyncio.wait([running], timeout=0.1)
            bar.update(task, completed=_kilobytes(growing))
        bar.update(task, completed=max(1, total // 1000))
    return await running


def _kilobytes(file: Path) -> int:
    try:
        return file.stat().st_size // 1000
    except OSError:  # not there yet, or in its place already
        return 0
