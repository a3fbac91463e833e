"""Replies that quote what is deleted, erased or changed are taken back, whenever that happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cogs.chat.provider_choice import ProviderChoice
from cogs.chat.providers.extractive import ExtractiveProvider
from tests.loopback import Drop, LoopbackDiscord, Status

from .chat_house import ChatHouse, chat_bot_on, chat_house, chat_world
from .scripted import ScriptedProvider, saying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cogs.chat.conversation import Conversation
    from cogs.memory.embedding_service import LoadEncoder
    from tests.loopback import Message

QUESTION = "when is the samovar repair?"


@pytest.fixture
async def house(tmp_path: Path, load_shared: LoadEncoder) -> AsyncIterator[ChatHouse]:
    async with chat_house(tmp_path, load_shared) as opened:
        yield opened


async def quoting_reply(house: ChatHouse) -> tuple[Message, Message]:
    """A message of mod's, and the bot's reply that quotes it."""
    said = house.general.post(house.mod, "the samovar repair is at six on thursday")
    await house.settle()
    reply = await house.ask(QUESTION)
    assert "at six" in reply.content
    return said, reply


async def is_taken_back(house: ChatHouse, reply: Message) -> None:
    await house.discord.until(lambda: "taken it back" in reply.content, what="the reply to be taken back")
    assert "at six" not in reply.content
    assert "discord.com/channels" not in reply.content


async def test_a_deleted_source_takes_the_reply_back(house: ChatHouse) -> None:
    said, reply = await quoting_reply(house)
    said.delete()
    await is_taken_back(house, reply)
    tally = house.chat.counters.of(house.guild.id)
    await house.discord.until(lambda: tally.withdrawn == 1, what="the count")


async def test_an_edited_source_takes_the_reply_back_but_a_link_preview_does_not(house: ChatHouse) -> None:
    said, reply = await quoting_reply(house)
    said.unfurl({"type": "article", "title": "Samovars", "url": "https://tea.example/"})
    said.pin()
    assert await house.stays_silent()
    assert "at six" in reply.content
    said.edit("the samovar repair is off")
    await is_taken_back(house, reply)


async def test_forgetting_its_author_takes_the_reply_back(house: ChatHouse) -> None:
    _, reply = await quoting_reply(house)
    asked = await house.do(house.mod, "memory forget me")
    await house.press(asked, "Erase")
    await is_taken_back(house, reply)


async def test_a_deleted_channel_takes_replies_elsewhere_back(house: ChatHouse) -> None:
    garden = house.guild.text_channel("garden")
    garden.post(house.mod, "the samovar repair is at six on thursday")
    await house.settle()
    reply = await house.ask(QUESTION)
    garden.delete()
    await is_taken_back(house, reply)


async def test_other_replies_stay(house: ChatHouse) -> None:
    said, reply = await quoting_reply(house)
    garden = house.guild.text_channel("garden")
    garden.post(house.mod, "the roses were cut in march by the gardener")
    await house.settle()
    other = await house.ask("who cut the roses?")
    content = other.content
    assert str(said.id) not in content
    said.delete()
    await is_taken_back(house, reply)
    assert other.content == content


async def test_what_discord_refuses_stays_on_the_list_and_does_not_hold_up_others(house: ChatHouse) -> None:
    said, reply = await quoting_reply(house)
    second = await house.ask(QUESTION, house.mod)
    house.discord.faults.add("PATCH", f"/channels/*/messages/{reply.id}", Status(503), times=1)
    said.delete()
    await is_taken_back(house, second)
    assert "at six" in reply.content
    house.chat.retraction._refused.clear()
    house.chat.retraction._look.set()
    await is_taken_back(house, reply)


async def test_what_could_not_be_taken_back_is_after_a_restart(tmp_path: Path, load_shared: LoadEncoder) -> None:
    async with LoopbackDiscord(chat_world()) as server:
        async with chat_bot_on(server, tmp_path, load_shared) as house:
            said, reply = await quoting_reply(house)
            server.faults.add("PATCH", f"/channels/*/messages/{reply.id}", Status(403), times=99)
            said.delete()
            await server.until(lambda: server.calls("PATCH", f"/channels/*/messages/{reply.id}"), what="a try")
            assert "at six" in reply.content
        server.faults.clear()
        async with chat_bot_on(server, tmp_path, load_shared) as house:
            await is_taken_back(house, reply)


async def test_a_source_deleted_while_the_bot_was_away_takes_the_reply_back_as_soon_as_that_is_noticed(
    tmp_path: Path, load_shared: LoadEncoder
) -> None:
    async with LoopbackDiscord(chat_world()) as server:
        async with chat_bot_on(server, tmp_path, load_shared) as house:
            said, reply = await quoting_reply(house)
        said.delete()
        async with chat_bot_on(server, tmp_path, load_shared) as house:
            again = await house.ask(QUESTION, house.mod)
            assert "at six" not in again.content
            await is_taken_back(house, reply)


async def test_all_parts_of_a_long_reply_go(tmp_path: Path, load_shared: LoadEncoder) -> None:
    long = ScriptedProvider(saying("The repair is at six. " * 200))
    async with chat_house(tmp_path, load_shared, providers=ProviderChoice(ExtractiveProvider(), [long])) as house:
        said = house.general.post(house.mod, "the samovar repair is at six on thursday")
        await house.settle()
        await house.ask(QUESTION)
        first, *others = house.replies()
        assert len(others) >= 2
        assert all(len(each.content) <= 2000 for each in (first, *others))
        said.delete()
        await is_taken_back(house, first)
        await house.discord.until(lambda: all(each.deleted for each in others), what="the other parts' deletion")


async def test_a_source_that_goes_while_the_reply_is_written_is_not_in_its_end(
    tmp_path: Path, load_shared: LoadEncoder
) -> None:
    async def forget() -> None:
        await house.discord.until(house.replies, what="the first words")
        said.delete()
        await house.settle()

    scripts = [saying("The repair is at six", ", on thursday.", between=forget), saying("I know nothing of that.")]

    async def one_after_the_other(conversation: Conversation) -> AsyncIterator[str]:
        async for piece in scripts.pop(0)(conversation):
            yield piece

    model = ScriptedProvider(one_after_the_other)
    async with chat_house(tmp_path, load_shared, providers=ProviderChoice(ExtractiveProvider(), [model])) as house:
        said = house.general.post(house.mod, "the samovar repair is at six on thursday")
        await house.settle()
        reply = await house.ask(QUESTION)
        assert reply.content == "I know nothing of that."
        assert await house.stays_silent()
        assert reply.content == "I know nothing of that."


async def test_a_reply_that_discord_took_without_saying_so_is_known_and_not_sent_twice(house: ChatHouse) -> None:
    house.discord.faults.add("POST", f"/channels/{house.general.id}/messages", Drop(after_effect=True))
    said, reply = await quoting_reply(house)
    assert len(house.replies()) == 1
    said.delete()
    await is_taken_back(house, reply)
