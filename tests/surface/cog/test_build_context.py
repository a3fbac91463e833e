"""Another bot's cog asks for context: the readers' rights hold, and the README's example runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cogs.memory.context_builder import CLOSING, OPENING

if TYPE_CHECKING:
    import discord

    from cogs.memory.context_builder import MemoryContext
    from tests.loopback import Channel, Member
    from tests.loopback.messages import Message

    from .tea_house import TeaHouse

README = Path(__file__).parents[3] / "README.md"


async def context_for(house: TeaHouse, message: Message, **options: Any) -> MemoryContext:
    """What a cog gets that hears a message and asks for context."""
    await house.settle()
    place: Any = house.bot.get_channel(message.channel.id)
    heard: discord.Message = await place.fetch_message(message.id)
    return await house.cog.build_context(heard, **options)


def filled(channel: Channel, author: Member) -> None:
    """Some talk that answers one question."""
    channel.post(author, "the spare key hangs behind the blue door")
    channel.post(author, "the kettle is broken again, who fixes it")


def readme_example() -> str:
    """The code block of the README that uses `build_context`."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    [example] = [block for block in blocks if "build_context" in block]
    return str(example)


async def test_the_example_of_the_readme_answers_from_the_memory(house: TeaHouse) -> None:
    async def your_model(prompt: str) -> str:
        return prompt.replace(f"<@{house.discord.world.bot.id}>", "").strip()

    names: dict[str, Any] = {"your_model": your_model}
    exec(readme_example(), names)
    await house.bot.add_cog(names["Answers"](house.bot))
    filled(house.general, house.mod)
    filled(house.secret, house.mod)
    house.secret.post(house.mod, "the spare key opens the vault with code 4711")
    await house.settle()
    before = len(house.general.history())
    house.general.post(house.ada, f"<@{house.discord.world.bot.id}> where is the spare key?")
    await house.discord.until(lambda: len(house.general.history()) >= before + 2)
    answer = house.general.history()[-1].content
    assert answer.startswith("where is the spare key?")
    assert OPENING in answer
    assert "#general" in answer
    assert "behind the blue door" in answer
    assert "4711" not in answer
    assert "mods-only" not in answer


async def test_a_reply_in_a_hidden_channel_may_draw_on_it(house: TeaHouse) -> None:
    house.secret.post(house.mod, "the vault code is 4711")
    context = await context_for(house, house.secret.post(house.mod, "what is the vault code?"))
    assert "4711" in context.text


async def test_a_moderators_question_in_public_reveals_nothing_hidden(house: TeaHouse) -> None:
    house.secret.post(house.mod, "the vault code is 4711")
    house.general.post(house.ada, "I like tea")
    context = await context_for(house, house.general.post(house.mod, "what is the vault code?"))
    assert "4711" not in context.text
    assert house.secret.id not in {source.message.channel_id for source in context.sources}


async def test_the_message_that_asks_is_never_quoted(house: TeaHouse) -> None:
    house.general.post(house.mod, "lovely weather")
    context = await context_for(house, house.general.post(house.ada, "where is the samovar?"))
    assert (context.text, context.reason) == ("", "nothing relevant")


async def test_a_greeting_gets_nothing(house: TeaHouse) -> None:
    filled(house.general, house.mod)
    context = await context_for(house, house.general.post(house.ada, "good morning!"))
    assert (context.text, context.reason) == ("", "small talk")


async def test_who_opted_out_gets_nothing(house: TeaHouse) -> None:
    filled(house.general, house.mod)
    await house.services.settings.opt_out(house.guild.id, house.ada.id)
    context = await context_for(house, house.general.post(house.ada, "where is the spare key?"))
    assert (context.text, context.reason) == ("", "not allowed")


async def test_other_options_reach_the_memory(house: TeaHouse) -> None:
    filled(house.general, house.mod)
    message = house.general.post(house.ada, "hello!")
    context = await context_for(house, message, query="where is the spare key?", token_budget=200, count_tokens=len)
    assert context.text == ""
    wide = await context_for(house, message, query="where is the spare key?", token_budget=600, count_tokens=len)
    assert "blue door" in wide.text
    assert len(wide.text) == wide.tokens
    assert wide.text.endswith(CLOSING)
    [key] = [s.message.id for s in wide.sources if "blue door" in s.message.content]
    without = await context_for(house, message, query="where is the spare key?", exclude=[key])
    assert "blue door" not in without.text


@pytest.mark.parametrize("change", ["delete", "edit"])
async def test_what_changed_while_the_bot_was_away_is_not_quoted(house: TeaHouse, change: str) -> None:
    message = house.general.post(house.mod, "the spare key hangs behind the blue door")
    question = house.general.post(house.ada, "where is the spare key?")
    await house.settle()
    house.services.history.tools.verified.begin_epoch(house.guild.id)
    if change == "delete":
        del house.general._messages[message.id]  # nobody tells the bot
        house.general._order.remove(message.id)
    else:
        message.content = "the spare key was lost in the lake"
    context = await context_for(house, question)
    assert "blue door" not in context.text
    assert ("lake" in context.text) == (change == "edit")
