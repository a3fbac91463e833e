"""Draws ``/recall`` on the sample server as Discord shows it, for the README.

    python -m tests.pictures.draw_recall [QUESTION]

The embeds are the ones that the bot sends, from a real recall; only Discord's part, the frame around them, is drawn.
"""

from __future__ import annotations

import asyncio
import re
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cogs.memory.evaluation import TemporaryFolder
from cogs.memory.importers import read_export
from cogs.memory.memory_service import MemoryService
from cogs.memory.records import Scope
from cogs.memory.surface.page import Page
from cogs.memory.surface.presenter import page_embeds
from cogs.memory.surface.recall.search_state import Search
from cogs.memory.surface.texts import ENGLISH
from profiles import load_profile

if TYPE_CHECKING:
    import discord
    from matplotlib.axes import Axes

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
TARGET = Path(__file__).with_name("recall.png")
QUESTION = "name of the game with quilts and cats"
WIDTH = 72
LINE = 1.0
BACKGROUND, CARD, ACCENT, TEXT, DIM = "#313338", "#2b2d31", "#5865f2", "#dbdee1", "#949ba4"
TODAY = datetime(2026, 4, 7, tzinfo=UTC)
"""The day on which the picture is taken: the one after the last message of the sample server."""
MAX_LINES = 5
_META = re.compile("[▰▱#]")
"""What the line of the score and that of the place begin with."""
_STARS = re.compile(r"(?<!\\)\*\*")


async def recall(question: str) -> tuple[list[discord.Embed], dict[int, str]]:
    """Import the sample server, ask, and return the embeds and the channels' names."""
    exports = [read_export(path) for path in sorted(SAMPLE.glob("kettle-*.json"))]
    names = {channel.id: channel.name for export in exports for channel in export.channels}
    with TemporaryFolder() as folder:
        async with MemoryService.on_folder(load_profile("embedded"), folder) as memory:
            for export in exports:
                await memory.remember(export.messages)
            await memory.queue.embedded()
            scope = Scope(exports[0].guild_id, frozenset(names))
            await memory.recall("warm up", scope)
            found = await memory.recall(question, scope, limit=3)
    return page_embeds(Page(Search(question), found.results, found.trace), ENGLISH), names


def draw(question: str, embeds: list[discord.Embed], names: dict[int, str]) -> None:
    """Draw the embeds below the command and save the picture."""
    from matplotlib import pyplot

    blocks = [_lines(embed, names) for embed in embeds]
    height = 4 + sum(len(block) + 2.2 for block in blocks)
    figure, axes = pyplot.subplots(figsize=(7.8, height * 0.21), dpi=150)
    figure.patch.set_facecolor(BACKGROUND)
    axes.set(xlim=(0, 82), ylim=(height, 0))
    axes.axis("off")
    axes.text(2, 1.2, "/recall", color=ACCENT, fontsize=10, weight="bold", va="center")
    axes.text(10, 1.2, question, color=TEXT, fontsize=10, va="center")
    top = 2.6
    for block in blocks:
        top = _card(axes, top, block)
    axes.text(2, top + 0.6, "Only you can see this", color=DIM, fontsize=7.5, va="center")
    figure.savefig(TARGET, facecolor=BACKGROUND, bbox_inches="tight", pad_inches=0.1)
    print(f"wrote {TARGET.name}")


def _card(axes: Axes, top: float, lines: list[tuple[str, str]]) -> float:
    from matplotlib.patches import FancyBboxPatch, Rectangle

    height = len(lines) * LINE + 1.2
    axes.add_patch(FancyBboxPatch((2, top), 78, height, boxstyle="round,pad=0,rounding_size=0.4", color=CARD, lw=0))
    axes.add_patch(Rectangle((2, top), 0.5, height, color=ACCENT, lw=0))
    for number, (text, colour) in enumerate(lines):
        _write(axes, text, top + 1.1 + number * LINE, colour)
    return top + height + 0.8


def _write(axes: Axes, text: str, y: float, colour: str) -> None:
    """Write a line; every second part of it between stars is bold."""
    x = 4.0
    for number, part in enumerate(_STARS.split(text)):
        if part:
            weight = "bold" if number % 2 else "normal"
            written = axes.text(x, y, part.replace("\\", ""), color=colour, fontsize=8.5, va="center", weight=weight)
            x = axes.transData.inverted().transform(written.get_window_extent().max)[0]


def _lines(embed: discord.Embed, names: dict[int, str]) -> list[tuple[str, str]]:
    """An embed as (text, colour) lines, with stars around what is bold."""
    lines = [(f"**{embed.author.name}**", TEXT)] if embed.author.name else []
    for paragraph in _plain(embed.description or "", names).splitlines():
        colour = DIM if _META.match(paragraph) else TEXT
        lines += [(line, colour) for line in textwrap.wrap(paragraph, WIDTH)[:MAX_LINES]]
    for part in embed.fields:
        lines += [(line, DIM) for line in _plain(f"{part.name} {part.value}", names).splitlines()]
    if embed.footer.text:
        lines += [(line, DIM) for line in textwrap.wrap(embed.footer.text, WIDTH + 20)]
    return lines


def _plain(text: str, names: dict[int, str]) -> str:
    """Discord's markup as it is read: channel mentions by name, links by their text."""
    text = re.sub(r"<#(\d+)>", lambda match: "#" + names.get(int(match[1]), "channel"), text)
    text = re.sub(r"<t:(\d+):R>", lambda match: _ago(int(match[1])), text)
    text = re.sub(r"\[([^\]]+)\]\(<?[^)]+>?\)", r"\1", text)
    return re.sub(r"(?m)^-# ", "", text)


def _ago(seconds: int) -> str:
    days = (TODAY - datetime.fromtimestamp(seconds, UTC)).days
    return f"{days // 30} months ago" if days >= 60 else f"{days} days ago"


def main() -> None:
    """Draw."""
    question = sys.argv[1] if len(sys.argv) > 1 else QUESTION
    embeds, names = asyncio.run(recall(question))
    draw(question, embeds, names)


if __name__ == "__main__":
    main()
