"""`/chat`: who may use it, and what it changes."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from discord import app_commands

from cogs.chat.chat_settings import ChatSettings, DamagedChatSettings, decode_settings
from cogs.chat.provider_choice import ProviderChoice
from cogs.chat.providers.extractive import ExtractiveProvider
from cogs.chat.texts import ENGLISH, ChatTexts, chat_texts_for
from cogs.chat.texts_german import COMMAND_TEXTS, GERMAN
from cogs.memory.surface.kept_settings import encode_record
from tests.loopback import HiddenCommandError
from tests.menus import blanks, menu_texts

from .chat_house import ChatHouse, chat_house
from .scripted import ScriptedProvider, saying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder

REMOTE = "openai: big at models.example"
ADMIN_COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("chat channel", {"mode": "always"}),
    ("chat provider", {}),
    ("chat persona", {"text": "a pirate"}),
    ("chat memory on", {}),
    ("chat memory off", {}),
    ("chat budget", {"tokens": 500}),
    ("chat status", {}),
    ("chat reset", {}),
]


@pytest.fixture
async def house(tmp_path: Path, load_shared: LoadEncoder) -> AsyncIterator[ChatHouse]:
    """A house whose bot has a model on this machine and one elsewhere."""
    here = ScriptedProvider(saying("Said here."), name="here")
    there = ScriptedProvider(saying("Said there."), name=REMOTE, remote=True)
    choice = ProviderChoice(ExtractiveProvider(), [here, there])
    async with chat_house(tmp_path, load_shared, providers=choice) as opened:
        yield opened


async def test_who_may_not_manage_the_server_is_not_shown_chat_and_is_refused(house: ChatHouse) -> None:
    with pytest.raises(HiddenCommandError):
        await house.do(house.ada, "chat status")
    house.discord.commands.enforce_visibility = False
    for path, options in ADMIN_COMMANDS:
        reply = await house.do(house.ada, path, **options)
        assert reply.ephemeral, path
        assert "Only those who may manage this server" in reply.text, path
    assert await house.chat.settings.get(house.guild.id) == ChatSettings()


async def test_an_admin_is_shown_how_replies_are_set_up(house: ChatHouse) -> None:
    await house.do(house.mod, "chat channel", mode="always")
    await house.do(house.mod, "chat persona", text="a  tea @everyone *master*")
    await house.do(house.mod, "chat budget", tokens=500, replies=3)
    status = await house.do(house.mod, "chat status")
    assert "here" in status.text
    assert f"Always: <#{house.general.id}>" in status.text
    assert "up to 500 tokens" in status.text
    assert "up to 3 replies" in status.text
    assert r"\*master\*" in status.text
    assert status.message is not None
    assert not status.message.mentions


async def test_a_remote_provider_writes_only_after_it_was_confirmed_and_is_named_to_everybody(
    house: ChatHouse,
) -> None:
    assert (await house.ask("--no-memory hello")).content == "Said here."
    privacy = await house.do(house.ada, "memory privacy")
    assert "no text goes to anybody else" in privacy.text
    asked = await house.do(house.mod, "chat provider", name=REMOTE)
    assert "not on the computer" in asked.text
    assert (await house.ask("--no-memory hello")).content == "Said here."
    await house.press(asked, "Use it")
    assert (await house.ask("--no-memory hello")).content == "Said there."
    privacy = await house.do(house.ada, "memory privacy")
    assert "openai: big at models.example" in privacy.text
    assert "no text goes to anybody else" not in privacy.text


async def test_a_provider_that_is_not_there_is_refused_and_one_that_has_gone_is_told(house: ChatHouse) -> None:
    refused = await house.do(house.mod, "chat provider", name="https://evil.example/v1")
    assert "no provider of that name" in refused.text
    await house.chat.settings.change(house.guild.id, lambda _: ChatSettings(provider="sold out"))
    reply = await house.ask("when is tea?")
    assert "sold out, which this server has chosen, is not there any more" in reply.content


async def test_providers_are_offered_while_one_types(house: ChatHouse) -> None:
    offered = await house.discord.autocomplete(house.mod, house.general, "chat provider", "name", name="open")
    assert [value for _, value in offered] == [REMOTE]
    house.discord.commands.enforce_visibility = False
    assert await house.discord.autocomplete(house.ada, house.general, "chat provider", "name", name="open") == []


async def test_spent_replies_leave_the_quotes(house: ChatHouse) -> None:
    house.general.post(house.mod, "the samovar repair is at six on thursday")
    await house.settle()
    await house.do(house.mod, "chat budget", replies=1)
    assert "Said here." in (await house.ask("when is the samovar repair?")).content
    reply = await house.ask("when is the samovar repair?")
    assert "at six on thursday" in reply.content
    assert "used up" in reply.content


async def test_a_persona_reaches_the_model_and_can_be_taken_back(house: ChatHouse) -> None:
    here: Any = house.chat.providers.get("here")
    await house.do(house.mod, "chat persona", text="a pirate")
    await house.ask("hello")
    shown = await house.do(house.mod, "chat persona")
    await house.do(house.mod, "chat persona", reset=True)
    await house.ask("hello")
    assert [asked.persona for asked in here.asked] == ["a pirate", ""]
    assert "> a pirate" in shown.text


async def test_reset_undoes_all_also_when_the_settings_are_damaged(house: ChatHouse) -> None:
    await house.services.memory.store.put_setting(house.guild.id, "chat-settings", "{nonsense")
    status = await house.do(house.mod, "chat status")
    assert "/chat reset" in status.text
    asked = await house.do(house.mod, "chat reset")
    await house.press(asked, "Reset")
    assert await house.chat.settings.get(house.guild.id) == ChatSettings()


async def test_statistics_of_the_memory_tell_what_replies_cost(house: ChatHouse) -> None:
    owner = house.guild.member(house.world.bot_owner)
    await house.ask("hello")
    stats = await house.do(owner, "memory stats")
    assert "chat_replies" in stats.text


@pytest.mark.parametrize(
    "text",
    ["[]", '{"colour": 1}', '{"always": 3}', '{"always": ["x"]}', '{"memory": 1}', '{"memory_tokens": 5}', "x"],
)
def test_settings_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(DamagedChatSettings, match="/chat reset"):
        decode_settings(text)


def test_settings_come_back_as_they_were() -> None:
    settings = ChatSettings(always=frozenset([3, 1]), provider="here", persona="x", memory=False, replies_a_day=0)
    assert decode_settings(encode_record(settings)) == settings


@pytest.mark.parametrize("name", [field.name for field in fields(ChatTexts)])
def test_both_languages_fill_in_the_same(name: str) -> None:
    english, german = getattr(ENGLISH, name), getattr(GERMAN, name)
    assert blanks(english) == blanks(german)
    assert english != german or name == "source"


def test_the_language_is_english_where_there_is_no_translation() -> None:
    assert chat_texts_for("de") is GERMAN
    assert chat_texts_for("fr") is chat_texts_for(None) is ENGLISH


async def test_every_text_of_the_menus_is_translated_and_within_discords_limit(house: ChatHouse) -> None:
    command = house.bot.tree.get_command("chat")
    assert isinstance(command, app_commands.Group)
    assert set(menu_texts(command)) == set(COMMAND_TEXTS)
    assert all(len(text) <= 100 for text in (*COMMAND_TEXTS, *COMMAND_TEXTS.values()))
