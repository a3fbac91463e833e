"""The chat in the local console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogs.chat.console import ConsoleChat
from cogs.chat.provider_choice import ProviderChoice
from cogs.chat.providers.extractive import ExtractiveProvider
from cogs.memory.records import ChannelInfo
from cogs.memory.surface.cli import local_console
from cogs.memory.surface.cli.import_command import name_guild
from tests.conftest import CHANNEL, GUILD, said

from .scripted import ScriptedProvider, repeating

if TYPE_CHECKING:
    import pytest

    from cogs.memory.memory_service import MemoryService


async def console_on(memory: MemoryService, *others: ScriptedProvider) -> ConsoleChat:
    await name_guild(memory, GUILD, "Tea House")
    await memory.name_channels([ChannelInfo(CHANNEL, GUILD, "kitchen")])
    await memory.remember([said(1, "the samovar repair is at six on thursday")])
    await memory.queue.embedded()
    return ConsoleChat(memory, ProviderChoice(ExtractiveProvider(), others))


async def test_it_quotes_and_names_its_sources(memory: MemoryService, capsys: pytest.CaptureFixture[str]) -> None:
    chat = await console_on(memory)
    await chat.answer("when is the samovar repair?")
    shown = capsys.readouterr().out
    assert "at six on thursday" in shown
    assert "[1] Mia in #kitchen, 2025-03-01 18:01" in shown
    await chat.answer("--no-memory when is the samovar repair?")
    assert "six" not in capsys.readouterr().out


async def test_the_owners_model_writes_and_is_given_the_conversation(
    memory: MemoryService, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ScriptedProvider(repeating(), remote=True)
    chat = await console_on(memory, model)
    await chat.answer("when is the samovar repair?")
    await chat.answer("and where is the samovar repair?")
    assert capsys.readouterr().out.count("I was told:") == 2
    assert [turn.role for turn in model.asked[1].turns] == ["user", "assistant", "user"]
    await chat.close()
    assert model.closed


async def test_chat_is_a_mode_of_the_console(
    memory: MemoryService, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = await console_on(memory)
    lines = iter(
        ["/chat when is the samovar repair?", "/chat", "who repairs the samovar?", "/chat", "samovar", "/quit"]
    )
    prompts: list[str] = []

    def typed(prompt: str) -> str:
        prompts.append(prompt)
        return next(lines)

    monkeypatch.setattr("builtins.input", typed)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert await local_console.local_console(memory, chat) == 0
    shown = capsys.readouterr().out
    assert shown.count("Here is what I remember") == 2
    assert "candidates" in shown  # the last line was a recall
    assert prompts == ["› ", "› ", "chat › ", "chat › ", "› ", "› "]
