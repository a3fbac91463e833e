"""Replies on the loopback Discord: who gets one, what is in it, and what never is."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cogs.chat.provider_choice import ProviderChoice
from cogs.chat.providers.extractive import ExtractiveProvider
from tests.loopback import Permission, Status, deny
from tests.loopback.channels import now

from .chat_house import ChatHouse, chat_house
from .scripted import ScriptedProvider, repeating, sources_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cogs.chat.conversation import Conversation
    from cogs.memory.embedding_service import LoadEncoder

SUPPRESS_EMBEDS = 1 << 2


@pytest.fixture
async def house(tmp_path: Path, load_shared: LoadEncoder) -> AsyncIterator[ChatHouse]:
    """A house whose bot only quotes, as it is without any settings."""
    async with chat_house(tmp_path, load_shared) as opened:
        yield opened


@pytest.fixture
def model() -> ScriptedProvider:
    """A model that repeats whatever it is given."""
    return ScriptedProvider(repeating())


@pytest.fixture
async def model_house(tmp_path: Path, load_shared: LoadEncoder, model: ScriptedProvider) -> AsyncIterator[ChatHouse]:
    """A house whose bot has a model on this machine."""
    async with chat_house(tmp_path, load_shared, providers=ProviderChoice(ExtractiveProvider(), [model])) as opened:
        yield opened


async def test_a_mention_is_answered_with_quotes_and_links_to_them(house: ChatHouse) -> None:
    said = house.general.post(house.mod, "the samovar repair is at six on thursday")
    await house.settle()
    reply = await house.ask("when is the samovar repair?")
    assert "at six on thursday" in reply.content
    assert "[1]" in reply.content
    assert f"(<{said.jump_url}>)" in reply.content
    assert reply.reply_to is not None
    assert reply.reply_to.author is house.ada.user
    assert not reply.mentions
    assert reply.flags & SUPPRESS_EMBEDS
    assert house.discord.calls("POST", "/channels/*/typing")
    assert len(house.replies()) == 1


async def test_what_nobody_said_is_not_remembered(house: ChatHouse) -> None:
    house.general.post(house.mod, "the samovar repair is at six on thursday")
    await house.settle()
    reply = await house.ask("who won the chess tournament in reykjavik?")
    assert "don't remember" in reply.content
    assert "discord.com/channels" not in reply.content


async def test_a_reply_to_the_bot_is_answered_without_a_mention(house: ChatHouse) -> None:
    house.general.post(house.mod, "the samovar repair is at six on thursday")
    await house.settle()
    first = await house.ask("hello there")
    second = await house.ask("when is the samovar repair?", reply_to=first)
    assert "at six on thursday" in second.content
    assert second.reply_to is not None


async def test_messages_that_are_not_for_the_bot_get_no_reply(house: ChatHouse) -> None:
    other_bot = house.world.user("other-bot", bot=True)
    house.general.post(house.ada, "when is the samovar repair?")
    answered = house.general.post(house.mod, "on thursday")
    house.general.post(house.ada, "thanks", reply_to=answered)
    house.general.post(house.ada, "@everyone tea is ready")
    house.general.post(other_bot, f"{house.mention} hello")
    house.general.post_webhook("feed", f"{house.mention} breaking news")
    house.general.post(house.world.bot, f"{house.mention} talking to myself")
    assert await house.stays_silent()


async def test_always_and_never_hold_for_a_channel_and_its_threads(house: ChatHouse) -> None:
    garden, attic = house.guild.text_channel("garden"), house.guild.text_channel("attic")
    await house.do(house.mod, "chat channel", mode="always", channel=garden)
    await house.do(house.mod, "chat channel", mode="never", channel=attic)
    garden.post(house.mod, "the roses were cut in march")
    await house.discord.until(lambda: house.replies(garden), what="a reply")
    await house.finished()
    attic.post(house.ada, f"{house.mention} when were the roses cut?")
    house.guild.thread(attic, "deeper", house.ada).post(house.ada, f"{house.mention} when were the roses cut?")
    assert await house.stays_silent(attic)
    thread = house.guild.thread(garden, "roses", house.ada)
    thread.post(house.ada, "when were the roses cut?")
    await house.discord.until(lambda: house.replies(thread), what="a reply in the thread")


async def test_direct_messages_are_answered_only_if_the_owner_wants_it(house: ChatHouse) -> None:
    house.general.post(house.ada, "the samovar repair is at six on thursday")
    await house.settle()
    direct = house.world.dm(house.ada)
    direct.post(house.ada.user, "when is the samovar repair?")
    assert await house.stays_silent(direct)
    house.chat.direct_messages = True
    direct.post(house.ada.user, "when is the samovar repair?")
    await house.discord.until(lambda: house.replies(direct), what="a reply")
    assert "no memory" in house.replies(direct)[0].content
    assert "six" not in house.replies(direct)[0].content


async def test_nothing_of_a_hidden_channel_is_in_a_public_answer(house: ChatHouse) -> None:
    house.secret.post(house.mod, "the samovar repair costs two hundred pounds")
    house.general.post(house.ada, "the samovar repair is at six on thursday")
    await house.settle()
    for who in (house.ada, house.mod):  # also not for one who could read it himself
        reply = await house.ask("how much does the samovar repair cost?", who)
        assert "two hundred" not in reply.content
        assert str(house.secret.id) not in reply.content
    inside = await house.ask("how much does the samovar repair cost?", house.mod, house.secret)
    assert "two hundred" in inside.content


async def test_a_model_is_given_the_conversation_and_the_quotes(
    model_house: ChatHouse, model: ScriptedProvider
) -> None:
    house = model_house
    house.general.post(house.mod, "the samovar repair is at six on thursday")
    await house.settle()
    first = await house.ask("when is the samovar repair?")
    await house.ask("and who is coming?", reply_to=first)
    last = model.asked[-1].turns
    assert [turn.role for turn in last] == ["user", "user", "assistant", "user"]
    assert last[-1].text == "and who is coming?"
    assert last[0].author == "mod"
    assert "jump" not in last[2].text
    assert "at six on thursday" in first.content
    assert model.asked[0].memory is not None


async def test_others_earlier_messages_stay_out_of_a_prompt_when_readers_cannot_read_back(
    model_house: ChatHouse, model: ScriptedProvider
) -> None:
    house = model_house
    house.general.set_overwrite(house.guild.everyone, deny(Permission.READ_MESSAGE_HISTORY))
    house.general.post(house.mod, "the samovar repair is at six on thursday")
    await house.settle()
    await house.ask("when is the samovar repair?")
    assert [turn.text for turn in model.asked[0].turns] == ["when is the samovar repair?"]
    assert model.asked[0].memory is None


async def test_the_memory_stays_out_when_it_is_switched_off(model_house: ChatHouse, model: ScriptedProvider) -> None:
    house = model_house
    house.general.post(house.mod, "the samovar repair is at six on thursday")
    await house.settle()
    await house.do(house.mod, "chat memory off")
    reply = await house.ask("when is the samovar repair?")
    assert model.asked[0].memory is None
    assert "discord.com/channels" not in reply.content
    await house.do(house.mod, "chat memory on")
    await house.ask("when is the samovar repair?")
    assert model.asked[1].memory is not None


@pytest.mark.parametrize(
    "question",
    [
        "--no-memory when is the samovar repair?",
        "when is the samovar repair? --ohne-gedächtnis",
        "don't use memory: when is the samovar repair?",
        "Wann kommt der Samowar? Bitte ohne Gedächtnis",
    ],
)
async def test_the_memory_stays_out_when_the_message_says_so(house: ChatHouse, question: str) -> None:
    house.general.post(house.mod, "the samovar repair is at six on thursday")
    await house.settle()
    reply = await house.ask(question)
    assert "As you wish" in reply.content
    assert "six" not in reply.content


async def test_the_memory_stays_out_for_an_author_who_opted_out(
    model_house: ChatHouse, model: ScriptedProvider
) -> None:
    house = model_house
    house.general.post(house.mod, "the samovar repair is at six on thursday")
    await house.settle()
    await house.services.settings.opt_out(house.guild.id, house.ada.id)
    await house.ask("when is the samovar repair?")
    assert model.asked[0].memory is None
    await house.ask("when is the samovar repair?", house.mod)
    assert model.asked[1].memory is not None
    assert all(turn.author != "ada" for turn in model.asked[1].turns)


async def test_a_source_hidden_at_the_last_moment_is_not_shown(model_house: ChatHouse, model: ScriptedProvider) -> None:
    house = model_house
    garden = house.guild.text_channel("garden")
    garden.post(house.mod, "the samovar repair is at six on thursday")
    house.general.post(house.mod, "the samovar is broken, says the gardener")
    await house.settle()

    async def hide_then_repeat(conversation: Conversation) -> AsyncIterator[str]:
        if len(model.asked) == 1:
            garden.set_overwrite(house.guild.everyone, deny(Permission.VIEW_CHANNEL))
            await house.discord.gateway.barrier()
        async for piece in repeating()(conversation):
            yield piece

    model.script = hide_then_repeat
    reply = await house.ask("when is the samovar repair?")
    assert len(model.asked) == 2
    assert model.asked[0].memory is not None
    assert any("six" in source.message.text for source in model.asked[0].memory.sources)
    assert "says the gardener" in reply.content
    for text in (reply.content, *reply.revisions):
        assert "six" not in text
        assert str(garden.id) not in text


@pytest.mark.parametrize("refused", [(), (Status(503),)])
async def test_what_was_shown_already_is_taken_back_when_its_source_is_hidden(
    model_house: ChatHouse, model: ScriptedProvider, refused: tuple[Status, ...]
) -> None:
    house = model_house
    garden = house.guild.text_channel("garden")
    garden.post(house.mod, "the samovar repair is at six on thursday")
    await house.settle()

    async def repeat_then_hide(conversation: Conversation) -> AsyncIterator[str]:
        yield "I was told: " + "".join(source.message.text for source in sources_of(conversation))
        await house.discord.until(house.replies, what="the first words")
        garden.set_overwrite(house.guild.everyone, deny(Permission.VIEW_CHANNEL))
        await house.discord.gateway.barrier()
        yield " and much more than that was said of it, I am sure."

    model.script = repeat_then_hide
    house.discord.faults.add("PATCH", "/channels/*/messages/*", *refused)
    house.general.post(house.ada, f"{house.mention} when is the samovar repair?")
    await house.discord.until(lambda: house.replies() and house.replies()[0].revisions, what="the reply's end")
    await house.finished()
    [reply] = house.replies()
    assert any("six" in text for text in reply.revisions)
    assert "six" not in reply.content


async def test_earlier_questions_to_the_bot_are_no_sources_but_what_it_was_told_is(house: ChatHouse) -> None:
    await house.ask("when is the samovar repair?")
    await house.ask("the samovar repair is at six on thursday, by the way")
    await house.settle()
    again = await house.ask("when is the samovar repair?", house.mod)
    assert "at six on thursday" in again.content
    assert "when is" not in again.content


async def test_small_talk_is_not_looked_up(house: ChatHouse) -> None:
    house.general.post(house.mod, "thank you so much, that was very kind")
    await house.settle()
    reply = await house.ask("thank you!")
    assert "ask me something" in reply.content


async def test_a_reply_with_memory_is_not_remembered(house: ChatHouse) -> None:
    house.general.post(house.mod, "the samovar repair is at six on thursday")
    await house.settle()
    await house.ask("when is the samovar repair?")
    await house.settle()
    stored = [m async for m in house.services.memory.store.iterate(house.guild.id)]
    assert {m.author_id for m in stored} == {house.mod.id, house.ada.id}


async def test_an_empty_mention_is_told_how_to_ask(house: ChatHouse) -> None:
    reply = await house.ask("")
    assert " `--no-memory` " in reply.content
    assert " `/recall` " in reply.content


async def test_the_sentences_are_german_on_a_german_server(house: ChatHouse) -> None:
    house.guild.locale = "de"
    house.guild.update()
    await house.discord.gateway.barrier()
    reply = await house.ask("")
    assert "Frag mich" in reply.content


async def test_too_many_questions_are_refused_once_and_then_ignored(house: ChatHouse) -> None:
    for number in range(6):
        await house.ask(f"--no-memory hello number {number}")
    refusal = await house.ask("--no-memory and once more")
    assert "Ask again in" in refusal.content
    house.general.post(house.ada, f"{house.mention} and once more")
    assert await house.stays_silent()
    assert "As you wish" in (await house.ask("--no-memory hello", house.mod)).content


async def test_one_question_of_a_user_is_answered_at_a_time(model_house: ChatHouse, model: ScriptedProvider) -> None:
    house, go_on = model_house, asyncio.Event()

    async def patient(_: Conversation) -> AsyncIterator[str]:
        await go_on.wait()
        yield "At last."

    model.script = patient
    house.general.post(house.ada, f"{house.mention} --no-memory first")
    await house.discord.until(lambda: model.asked, what="the first question")
    house.general.post(house.ada, f"{house.mention} --no-memory second")
    await house.discord.until(house.replies, what="the refusal")
    assert "one at a time" in house.replies()[0].content
    go_on.set()
    await house.finished()
    assert [each.content for each in house.replies()[1:]] == ["At last."]
    assert len(model.asked) == 1


async def test_old_messages_are_not_part_of_the_conversation(model_house: ChatHouse, model: ScriptedProvider) -> None:
    house = model_house
    house.general.post(house.mod, "something from yesterday", at=now() - timedelta(days=1))
    await house.settle()
    await house.ask("hello")
    assert [turn.text for turn in model.asked[0].turns] == ["hello"]
