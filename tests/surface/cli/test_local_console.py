"""The console as somebody types it, over a real memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from cogs.memory.records import ChannelInfo, StoredMessage
from cogs.memory.surface.cli.import_command import name_guild
from cogs.memory.surface.cli.local_console import local_console
from tests.conftest import CHANNEL, GUILD, START, said

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogs.memory.memory_service import MemoryService

    Typed = Callable[..., Awaitable[str]]

OTHER_GUILD = 99


class SilentChat:
    """Notes what it is asked, and where."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []

    async def answer(self, line: str, guild: str | None) -> None:
        self.asked.append((line, guild))


@pytest.fixture
def chat() -> SilentChat:
    return SilentChat()


@pytest.fixture
async def typed(
    memory: MemoryService, chat: SilentChat, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Typed:
    """Types lines into the console and returns all that it printed."""
    await name_guild(memory, GUILD, "Tea House")
    await memory.name_channels([ChannelInfo(CHANNEL, GUILD, "kitchen")])
    await memory.remember([said(n, f"the samovar repair number {n} is at six") for n in range(1, 8)])
    await memory.queue.embedded()

    async def type_in(*lines: str) -> str:
        waiting = iter(lines)

        def type_next(_: str) -> str:
            try:
                return next(waiting)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr("builtins.input", type_next)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        capsys.readouterr()
        assert await local_console(memory, chat) == 0
        printed = capsys.readouterr()
        return printed.out + printed.err

    return type_in


async def test_a_line_is_a_question_with_or_without_its_command(typed: Typed) -> None:
    for line in ("samovar repair limit:2", "/recall samovar limit:2 channel:kitchen rerank:off"):
        shown = await typed(line)
        assert shown.count("#kitchen") == 2, shown


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("samovar limit:abc", "limit: must be a number from 1 to 100, not 'abc'"),
        ("samovar limit:0", "limit: must be a number from 1 to 100, not '0'"),
        ("samovar limit:" + "9" * 5000, "limit: must be a number from 1 to 100"),
        ("samovar author:nobody", "Nobody is called nobody"),
        ("samovar after:someday", "is no date I know"),
        ("/recall", "write at least one word"),
        ("limit:3", "write at least one word"),
        ("/brew", "There is no command /brew"),
        ("samovar rerank:perhaps", "rerank: must be on or off, not 'perhaps'"),
        ("samovar author: Mia", "Behind author: stands nothing"),
        ('samovar channel:""', "Behind channel: stands nothing"),
        ("/server", "Name a server with --guild, or /server in the console: Tea House"),
        ("/server elsewhere", "No server is called elsewhere. Known: Tea House"),
    ],
)
async def test_what_is_not_understood_is_said_and_the_console_goes_on(typed: Typed, line: str, sentence: str) -> None:
    shown = await typed(line, "samovar limit:1")
    assert sentence in shown
    assert "#kitchen" in shown


async def test_a_memory_of_several_servers_is_asked_for_the_one_that_was_named(
    typed: Typed, memory: MemoryService, chat: SilentChat
) -> None:
    await name_guild(memory, OTHER_GUILD, "Coffee House")
    await memory.name_channels([ChannelInfo(50, OTHER_GUILD, "bar")])
    await memory.remember([StoredMessage(900, OTHER_GUILD, 50, 9, "Joe", "the samovar is broken", START)])
    await memory.queue.embedded()
    assert "/server in the console: Tea House (10), Coffee House (99)" in await typed("samovar")
    shown = await typed("/server coffee house", "samovar", "/chat hello")
    assert "Joe in #bar" in shown
    assert chat.asked == [("hello", "coffee house")]
