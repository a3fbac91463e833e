"""The local console: the memory without Discord, on the sample server or on a data folder of one's own."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cogs.memory.exceptions import InvalidQuery, MemoryCogError
from cogs.memory.memory_service import check_query
from cogs.memory.surface.cli.arguments import result_count
from cogs.memory.surface.cli.import_command import import_files
from cogs.memory.surface.cli.lookup import resolve_scope
from cogs.memory.surface.cli.output import console, errors
from cogs.memory.surface.cli.recall_command import choose_guild
from cogs.memory.surface.console_text import console_text

if TYPE_CHECKING:
    from cogs.memory.memory_service import MemoryService
    from cogs.memory.recall_records import Recall
    from cogs.memory.reranker_service import Order

SAMPLE = Path(__file__).parents[4] / "data" / "sample"
HELP = """\
/recall QUESTION [author:NAME] [channel:NAME] [after:DATE] [before:DATE] [limit:N] [rerank:off]
    find what was said; a line without a slash is a question too
    names and dates with spaces go in quotes: author:"dunk" after:"last month"
/chat TEXT    talk to the bot, as in Discord; --no-memory in the text leaves the memory out
/chat         talk without writing /chat each time, until /chat comes again
/server NAME  ask this server from now on, where the memory holds several
/status       what the memory holds and how it is doing
/help         this text
/quit         leave (or Ctrl-D)
"""
TOUR = (
    "who ended up with the bike and the green sofa",
    "what novel did Priya tell Halcyon to read",
    "name of the game with quilts and cats",
)
_FILTER = re.compile(r"""\b(author|channel|after|before|limit|rerank):(?:"([^"]*)"|(\S*))""")
_ORDERS: Final[dict[str, Order | None]] = {"on": None, "off": "rrf"}


class Chat(Protocol):
    """Whatever replies in the console."""

    async def answer(self, line: str, guild: str | None) -> None:
        """Print the reply to what was typed, out of the named server, or the only one. Raises MemoryCogError."""


async def local_console(memory: MemoryService, chat: Chat, *, with_sample: bool = True) -> int:
    """Answer what is typed, or show a tour without a terminal.

    Args:
        memory: the running memory.
        chat: replies to what is no command.
        with_sample: fill an empty memory with the sample server first.
    """
    if with_sample and not (await memory.stats()).messages:
        console.print("The memory is empty: opening the sample server “Kettle & Dice”.", markup=False)
        await import_files(memory, sorted(SAMPLE.glob("kettle-*.json")))
    if not sys.stdin.isatty():
        return await _tour(memory)
    return await _Prompt(memory, chat).run()


class _Prompt:
    """What is typed, one line after the other."""

    def __init__(self, memory: MemoryService, chat: Chat) -> None:
        self._memory = memory
        self._chat = chat
        self._guild: str | None = None
        self._is_chatting = False

    async def run(self) -> int:
        """Answer until the end of the input; return the exit code."""
        console.print("Ask what was said, for example: when is game night? (/help for more)", markup=False)
        while True:
            try:
                line = (await asyncio.to_thread(input, "chat › " if self._is_chatting else "› ")).strip()
            except (EOFError, KeyboardInterrupt):
                return 0
            if line in ("/quit", "/exit"):
                return 0
            if line:
                await self._answer(f"/chat {line}" if self._is_chatting and not line.startswith("/") else line)

    async def _answer(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        try:
            if line == "/chat":
                self._is_chatting = not self._is_chatting
            elif command == "/chat":
                await self._chat.answer(rest.strip(), self._guild)
            elif command == "/server":
                await choose_guild(self._memory, rest.strip())
                self._guild = rest.strip()
            elif line == "/help":
                console.print(HELP, markup=False)
            elif line == "/status":
                await _status(self._memory)
            elif line.startswith("/") and command != "/recall":
                console.print(f"There is no command {command}; /help lists them.", markup=False)
            else:
                await self._recall(line.removeprefix("/recall").strip())
        except MemoryCogError as error:
            errors.print(str(error), style="red", markup=False)

    async def _recall(self, line: str) -> None:
        filters = {m[1]: m[2] if m[2] is not None else m[3] for m in _FILTER.finditer(line)}
        if empty := next((name for name, value in filters.items() if not value.strip()), None):
            raise InvalidQuery(f"Behind {empty}: stands nothing; write its value right behind the colon.")
        limit, order = _limit(filters.pop("limit", None)), _order(filters.pop("rerank", "on"))
        query = check_query(_FILTER.sub("", line))
        guild_id = await choose_guild(self._memory, self._guild)
        scope = await resolve_scope(self._memory, guild_id, **filters)
        recall = await self._memory.recall(query, scope, limit=limit, order=order)
        console.print(console_text(recall, await _channel_names(self._memory, guild_id)), end="", markup=False)


def _limit(text: str | None) -> int | None:
    """Read ``limit:N``. Raises InvalidQuery."""
    try:
        return None if text is None else result_count(text)
    except ValueError as error:
        raise InvalidQuery(f"limit: {error}.") from error


def _order(text: str) -> Order | None:
    """Read ``rerank:on`` or ``rerank:off``. Raises InvalidQuery."""
    if text not in _ORDERS:
        raise InvalidQuery(f"rerank: must be on or off, not {text[:20]!r}.")
    return _ORDERS[text]


async def _status(memory: MemoryService) -> None:
    stats = await memory.stats()
    reranker = memory.reranker.get_statistics()
    reach = f"from {stats.oldest:%Y-%m-%d} to {stats.newest:%Y-%m-%d}" if stats.oldest and stats.newest else "none yet"
    lines = (
        f"messages   {stats.messages:,} by {stats.authors:,} people in {stats.channels:,} channels, {reach}",
        f"embedded   {stats.embedded:,}, {stats.awaiting:,} waiting · index {stats.index_ready:.0%}",
        f"on disk    {stats.bytes_on_disk / 1e6:.1f} MB",
        f"profile    {memory.profile.name} · {memory.embedding.space.model}",
        f"reranker   {memory.reranker.name}: {reranker['calls']} rankings, "
        f"changed the first result in {float(reranker['top1_changed_share'] or 0):.0%}",
    )
    console.print("\n".join(lines), markup=False)


async def _tour(memory: MemoryService) -> int:
    """Three questions with and without reranking, side by side, and the status."""
    console.print("Standard input is no terminal: a short tour instead of a prompt.\n", markup=False)
    guild_id = await choose_guild(memory)
    scope = await resolve_scope(memory, guild_id)
    for question in TOUR:
        plain = await memory.recall(question, scope, limit=3, order="rrf")
        ranked = await memory.recall(question, scope, limit=3)
        console.rule(Text(f"/recall {question}"))
        side_by_side = Table.grid(expand=True)
        side_by_side.add_column(ratio=1)
        side_by_side.add_column(ratio=1)
        side_by_side.add_row(_panel("without reranking", plain), _panel("with reranking", ranked))
        console.print(side_by_side)
    console.rule("/status")
    await _status(memory)
    return 0


def _panel(title: str, recall: Recall) -> Panel:
    lines = Text()
    for result in recall.results:
        said = " ".join(result.message.text.split())
        lines.append(f"{result.rank}. {result.message.author_name} ", style="bold")
        lines.append(f"{result.message.created_at:%Y-%m-%d}\n", style="dim")
        lines.append(f"   {said[:140]}{'…' if len(said) > 140 else ''}\n")
    lines.append(f"{recall.trace.candidates} candidates, {recall.trace.total_ms:.0f} ms", style="dim")
    return Panel(lines, title=title)


async def _channel_names(memory: MemoryService, guild_id: int) -> dict[int, str]:
    return {channel.id: channel.name for channel in await memory.store.channels(guild_id)}
