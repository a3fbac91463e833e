"""``bot.py import FILE…``: exported servers into the memory."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cogs.memory.exceptions import InvalidImport
from cogs.memory.importers import Export, export_files, read_export
from cogs.memory.surface.cli.output import console, errors, progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.progress import Progress

    from cogs.memory.memory_service import MemoryService

CHUNK = 256
GUILDS = "guilds"
"""Setting of guild 0: the names of the guilds that were imported, as JSON."""


@dataclass(slots=True)
class _Report:
    """What came of the files."""

    files: int = 0
    refused: int = 0
    cut_off: int = 0
    read: int = 0
    skipped: int = 0
    broken: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, export: Export) -> None:
        self.files += 1
        self.cut_off += export.is_cut_off
        self.read += len(export.messages)
        self.skipped += export.skipped
        self.broken += export.broken
        self.problems += export.problems


async def import_files(memory: MemoryService, paths: Sequence[Path]) -> int:
    """Import files, and those in folders, and embed what is new; return the exit code: 1 when one was not whole.

    One file after the other, so that as much memory is needed as for the largest of them.
    """
    before = (await memory.stats()).messages
    report = _Report()
    with progress_bar() as bar:
        for path in await asyncio.to_thread(export_files, paths):
            try:
                export = await asyncio.to_thread(read_export, path)
            except InvalidImport as error:
                errors.print(str(error), style="red", markup=False)
                report.refused += 1
            else:
                await _store(memory, export, bar)
                report.add(export)
                if export.is_cut_off:
                    errors.print(_cut_off(path.name, len(export.messages)), style="red", markup=False)
        await _embed(memory, bar)
    for problem in report.problems:
        errors.print(problem, style="yellow", markup=False)
    new = (await memory.stats()).messages - before
    console.print(
        f"{report.read:,} messages read from {_files(report.files)}, {new:,} of them new; "
        f"{report.skipped:,} skipped (bots, announcements, no text), {report.broken:,} broken."
    )
    if report.refused:
        errors.print(f"{_files(report.refused)} refused.", style="red")
    return 1 if report.refused or report.cut_off else 0


async def _store(memory: MemoryService, export: Export, bar: Progress) -> None:
    task = bar.add_task(f"#{export.channels[0].name}", total=len(export.messages))
    await memory.name_channels(export.channels)
    await name_guild(memory, export.guild_id, export.guild_name)
    for start in range(0, len(export.messages), CHUNK):
        chunk = export.messages[start : start + CHUNK]
        await memory.remember(chunk)
        await memory.queue.stored()
        bar.advance(task, len(chunk))


async def _embed(memory: MemoryService, bar: Progress) -> None:
    """Show the backlog of vectors shrink."""
    total = (await memory.stats()).awaiting
    task = bar.add_task("embedding", total=total)
    finished = asyncio.create_task(memory.queue.embedded())
    while not finished.done():
        await asyncio.wait([finished], timeout=0.2)
        bar.update(task, completed=total - (await memory.stats()).awaiting)
    await finished


def _cut_off(name: str, messages: int) -> str:
    before = "the one message before the cut is" if messages == 1 else f"the {messages:,} messages before the cut are"
    return f"{name} is cut off: {before} imported; export it again and import that for the rest."


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


async def name_guild(memory: MemoryService, guild_id: int, name: str) -> None:
    """Remember what a guild is called."""
    names = await guild_names(memory)
    if names.get(guild_id) != name:
        names[guild_id] = name
        await memory.store.put_setting(0, GUILDS, json.dumps({str(i): n for i, n in names.items()}))


async def guild_names(memory: MemoryService) -> dict[int, str]:
    """The names of the guilds that were imported, by id."""
    return {int(i): str(n) for i, n in json.loads(await memory.store.get_setting(0, GUILDS) or "{}").items()}
