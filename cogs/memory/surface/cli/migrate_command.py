"""``bot.py migrate``: the whole memory from a folder to a server, or back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from cogs.memory.exceptions import StoreError
from cogs.memory.stores.choice import choose_store
from cogs.memory.stores.moving import Move
from cogs.memory.stores.moving_ends import opened_end
from cogs.memory.surface.cli.output import console, progress_bar
from profiles.settings import database_addresses

if TYPE_CHECKING:
    from cogs.memory.stores import MemoryStore
    from profiles import Settings


async def migrate(to: str, settings: Settings) -> int:
    """Move the memory to where ``to`` says; return the exit code. Raises StoreError."""
    folder = Path(settings.memory_data)
    addresses = database_addresses(to)
    if addresses:
        if not (folder / "memory.db").exists():
            raise StoreError(f"There is no memory in {folder} to move.")
        source, target = choose_store(folder, key=settings.database_key()), choose_store(folder, addresses)
        await _move(source, folder, target, folder)
        console.print("From now on set MEMORY_DATABASE to that address. The folder is as it was: remove it later.")
        return 0
    if "://" in to:
        raise StoreError("--to takes the address of a PostgreSQL database (postgresql://…) or a folder.")
    if not settings.databases:
        raise StoreError("MEMORY_DATABASE is not set: it says which server the memory is moved from.")
    target_folder = await asyncio.to_thread(Path(to).absolute)
    source = choose_store(folder, settings.databases)
    target = choose_store(target_folder, key=settings.database_key())
    await _move(source, folder, target, target_folder)
    console.print("From now on leave MEMORY_DATABASE unset, and set MEMORY_DATA to that folder.")
    return 0


async def _move(source: MemoryStore, folder: Path, target: MemoryStore, target_folder: Path) -> None:
    async with opened_end(source, folder) as old, opened_end(target, target_folder) as new:
        with progress_bar() as bar:
            tasks = {name: bar.add_task(name, total=None) for name in ("move", "verify")}
            report = await Move(
                old, new, progress=lambda stage, done, total: bar.update(tasks[stage], completed=done, total=total)
            ).run()
        console.print(
            f"{report.messages:,} messages with {report.vectors:,} vectors, {report.tombstones:,} marks of deleted "
            f"ones, {report.replies:,} replies that quote messages and {report.settings:,} settings of "
            f"{report.guilds:,} servers are in {new.name}; both were read back and are the same.",
            markup=False,
        )
        if report.already:
            console.print(f"{report.already:,} of the messages an earlier, interrupted run had moved.")
