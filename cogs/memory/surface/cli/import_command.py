"""``bot.py import FILE…``: exported servers into the memory."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from cogs.memory.exceptions import InvalidImport
from cogs.memory.importers import Export, read_export
from cogs.memory.surface.cli.output import console, errors, progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.progress import Progress

    from cogs.memory.memory_service import MemoryService

CHUNK = 256
GUILDS = "guilds"
"""Setting of guild 0: the names of the guilds that were imported, as JSON."""


async def import_files(memory: MemoryService, files: Sequence[Path]) -> int:
    """Import files and embed what is new; return the exit code: 1 when any file was refused."""
    refused = 0
    before = (await memory.stats()).messages
    exports: list[Export] = []
    for path in files:
        try:
            exports.append(read_export(path))
        except InvalidImport as error:
            errors.print(str(error), style="red", markup=False)
            refused += 1
    with progress_bar() as bar:
        for export in exports:
            task = bar.add_task(f"#{export.channels[0].name}", total=len(export.messages))
            await memory.name_channels(export.channels)
            await name_guild(memory, export.guild_id, export.guild_name)
            for start in range(0, len(export.messages), CHUNK):
                await memory.remember(export.messages[start : start + CHUNK])
                await memory.queue.stored()
                bar.advance(task, len(export.messages[start : start + CHUNK]))
        await _embed(memory, bar)
    _summary(exports, (await memory.stats()).messages - before)
    return 1 if refused else 0


async def _embed(memory: MemoryService, bar: Progress) -> None:
    """Show the backlog of vectors shrink."""
    total = (await memory.stats()).awaiting
    task = bar.add_task("embedding", total=total)
    finished = asyncio.create_task(memory.queue.embedded())
    while not finished.done():
        await asyncio.wait([finished], timeout=0.2)
        bar.update(task, completed=total - (await memory.stats()).awaiting)
    await finished


def _summary(exports: Sequence[Export], new: int) -> None:
    read = sum(len(export.messages) for export in exports)
    skipped = sum(export.skipped for export in exports)
    broken = sum(export.broken for export in exports)
    for problem in (problem for export in exports for problem in export.problems):
        errors.print(problem, style="yellow", markup=False)
    console.print(
        f"{read:,} messages read from {len(exports)} file(s), {new:,} of them new; "
        f"{skipped:,} skipped (bots and announcements), {broken:,} broken."
    )


async def name_guild(memory: MemoryService, guild_id: int, name: str) -> None:
    """Remember what a guild is called."""
    names = await guild_names(memory)
    if names.get(guild_id) != name:
        names[guild_id] = name
        await memory.store.put_setting(0, GUILDS, json.dumps({str(i): n for i, n in names.items()}))


async def guild_names(memory: MemoryService) -> dict[int, str]:
    """The guilds that were imported, by id."""
    return {int(i): str(n) for i, n in json.loads(await memory.store.get_setting(0, GUILDS) or "{}").items()}
