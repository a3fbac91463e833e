"""Failures end as one sentence for the user and one record in the log, with the same id."""

from __future__ import annotations

import contextlib
import logging
import re
from typing import TYPE_CHECKING

import discord
import pytest
from discord.ext import commands

from cogs.memory.surface.commands.command_sync import CommandSync, sync_commands
from profiles import load_profile
from tests.house import new_world
from tests.loopback import Delay, Hold, LoopbackDiscord, Status

from .tea_house import bot_on

if TYPE_CHECKING:
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder

    from .tea_house import TeaHouse


async def test_an_unexpected_failure_gets_an_id_in_chat_and_log(
    house: TeaHouse, caplog: pytest.LogCaptureFixture
) -> None:
    house.general.post(house.ada, "tea")
    await house.settle()
    del house.services.memory._pipeline  # what no code expects
    with caplog.at_level(logging.ERROR):
        reply = await house.recall("tea?")
    found = re.search(r"error id is ([0-9a-f]{6})", reply.content)
    assert found
    assert reply.ephemeral
    assert "Traceback" not in reply.text
    assert "AttributeError" not in reply.text
    assert f"Error {found[1]} in recall" in caplog.text


async def test_a_known_failure_is_told_in_its_own_words(house: TeaHouse) -> None:
    house.general.post(house.ada, "tea")
    await house.settle()
    await house.services.memory.store.close()
    reply = await house.recall("tea?")
    assert reply.content
    assert "error id" not in reply.content
    assert house.services.failures.unexpected == 0


async def test_a_failing_button_is_told_like_a_failing_command(house: TeaHouse) -> None:
    house.general.post(house.ada, "tea is served")
    house.general.post(house.ada, "tea is gone")
    await house.settle()
    reply = await house.recall("tea", limit=1)
    del house.services.memory._pipeline
    pressed = house.discord.start_press(reply, "Next")
    await pressed.until(lambda each: each.followups)
    assert "error id" in pressed.followups[0].content
    assert pressed.followups[0].ephemeral


async def test_an_expired_token_is_counted_and_nothing_more(house: TeaHouse, caplog: pytest.LogCaptureFixture) -> None:
    house.general.post(house.ada, "tea")
    await house.settle()
    hold = Hold()
    house.discord.faults.add("GET", f"/guilds/*/members/{house.ada.id}", hold, times=2)
    pending = house.discord.start_slash(house.ada, house.general, "recall", query="tea")
    await pending.acknowledged()
    pending.expire()
    hold.release()
    with caplog.at_level(logging.WARNING):
        await house.discord.until(lambda: house.services.failures.expired == 1)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_interactions_that_are_over_before_they_are_acknowledged_are_counted_and_nothing_more(
    house: TeaHouse, caplog: pytest.LogCaptureFixture
) -> None:
    """10062: three seconds went by before the bot had its turn."""
    house.general.post(house.ada, "tea is served")
    house.general.post(house.ada, "tea is gone")
    await house.settle()
    shown = await house.recall("tea", limit=1)
    asked = await house.discord.slash(house.ada, house.general, "memory forget me")
    house.discord.faults.add("POST", "/interactions/*/*/callback", *[Delay(3.2)] * 6)
    with caplog.at_level(logging.WARNING):
        house.discord.start_slash(house.ada, house.general, "recall", query="tea")
        house.discord.start_slash(house.mod, house.general, "memory privacy")
        house.discord.start_press(shown, "Next", user=house.ada)
        house.discord.start_press(asked, "Erase", user=house.ada)
        house.discord.start_message_menu(house.mod, house.general.history(1)[0], "Find related")
        with contextlib.suppress(TimeoutError):
            await house.discord.autocomplete(house.mod, house.general, "recall", "query", query="t")
        await house.discord.until(lambda: house.services.failures.expired == 6)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(await house.stored()) == 2, "nothing was erased by a press that nobody saw answered"


async def test_one_question_at_a_time(house: TeaHouse) -> None:
    house.general.post(house.ada, "tea")
    await house.settle()
    hold = Hold()
    house.discord.faults.add("GET", f"/guilds/*/members/{house.ada.id}", hold, times=2)
    first = house.discord.start_slash(house.ada, house.general, "recall", query="tea")
    await first.acknowledged()
    second = await house.recall("tea")
    assert "one at a time" in second.content
    hold.release()
    await first.answered()
    assert first.embeds
    assert (await house.recall("tea")).embeds


async def test_more_questions_at_once_than_can_be_answered_soon_are_refused(house: TeaHouse) -> None:
    house.general.post(house.ada, "tea")
    await house.settle()
    house.services.turns._at_once = 3
    people = [house.guild.member(f"guest {number}") for number in range(4)]
    hold = Hold()
    house.discord.faults.add("GET", "/guilds/*/members/*", hold, times=6)
    first = [house.discord.start_slash(each, house.general, "recall", query="tea") for each in people[:3]]
    for pending in first:
        await pending.acknowledged()
    assert "Many people are asking" in (await house.recall("tea", people[3])).content
    hold.release()
    for pending in first:
        assert (await pending.answered()).embeds
    assert (await house.recall("tea", people[3])).embeds


async def test_too_many_questions_in_a_minute_have_to_wait(house: TeaHouse) -> None:
    house.services.turns._window_s = 3600  # the minute must not be over before the last one is asked
    answers = [await house.recall("tea") for _ in range(21)]
    assert all(reply.embeds for reply in answers[:20])
    assert re.search(r"Ask again in \d+ s", answers[20].content)
    assert (await house.recall("tea", house.mod)).embeds


async def test_an_answer_is_deferred_in_time_while_the_models_work(house: TeaHouse) -> None:
    messages = [f"a long story about tea number {number}, " + "and so on " * 40 for number in range(60)]
    for text in messages:
        house.general.post(house.mod, text)
    reply = await house.recall("tea")
    assert reply.deferred


async def test_german_users_are_answered_in_german(house: TeaHouse) -> None:
    house.general.post(house.ada, "der tee ist fertig")
    await house.settle()
    house.ada.user.locale = "de"
    reply = await house.recall("tee fertig")
    assert "Zur Nachricht" in reply.text
    assert "das Gedächtnis reicht zurück bis" in reply.text


async def test_commands_are_sent_only_when_they_changed(house: TeaHouse) -> None:
    assert await sync_commands(house.bot)
    calls = len(house.discord.calls("PUT", "/applications/*/commands"))
    assert not await sync_commands(house.bot)
    assert len(house.discord.calls("PUT", "/applications/*/commands")) == calls

    @house.bot.tree.command(name="another", description="Another command")
    async def another(interaction: discord.Interaction[discord.Client]) -> None:
        await interaction.response.send_message("yes")

    assert await sync_commands(house.bot)
    assert await sync_commands(house.bot, force=True)
    sent = house.discord.calls("PUT", "/applications/*/commands")[-1].json
    recall = next(command for command in sent if command["name"] == "recall")
    assert recall["description_localizations"]["de"] == "Findet, was auf diesem Server gesagt wurde"


async def test_commands_that_discord_does_not_take_are_sent_again(
    house: TeaHouse, caplog: pytest.LogCaptureFixture
) -> None:
    await sync_commands(house.bot)
    house.bot.tree.remove_command("Find related", type=discord.AppCommandType.message)
    house.discord.faults.add("PUT", "/applications/*/commands", Status(503), Status(400))
    sync = CommandSync(house.bot, first_pause_s=0.01)
    await sync.start()
    await house.discord.until(lambda: len(house.discord.commands.registered()) == 2)
    sync.close()
    assert caplog.text.count("Discord did not take the commands") == 2


async def test_unloading_takes_everything_back_and_loading_brings_it_again(house: TeaHouse, tmp_path: Path) -> None:
    bot, memory = house.bot, house.services.memory
    await bot.unload_extension("cogs.memory")
    assert bot.tree.get_commands() == []
    assert not bot.cogs
    assert bot.tree.translator is None
    with pytest.raises(commands.ExtensionFailed, match="Make a new one"):
        await bot.load_extension("cogs.memory")
    await memory.close()
    bot.memory = None
    bot.memory_profile, bot.memory_folder = load_profile("embedded"), tmp_path / "its-own"
    for _ in range(2):
        await bot.load_extension("cogs.memory")
        house.general.post(house.ada, "tea is back")
        await house.settle()
        assert "tea" in (await house.recall("tea", house.mod)).embeds[0]["description"]
        await bot.unload_extension("cogs.memory")


async def test_a_bot_without_the_content_intent_is_told_which_switch_to_flip(
    tmp_path: Path, load_shared: LoadEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    intents = discord.Intents(guilds=True, guild_messages=True)
    async with LoopbackDiscord(new_world()) as server:
        with caplog.at_level(logging.ERROR):
            async with bot_on(server, tmp_path, load_shared, intents) as house:
                house.general.post(house.ada, "unreadable")
                assert await house.stored() == {}
    assert "Message Content Intent" in caplog.text


async def test_memory_commands_come_with_the_extension_and_refuse_in_words(house: TeaHouse) -> None:
    house.general.post(house.ada, "remember me")
    await house.settle()
    await house.recall("what did I say?")
    assert house.services.recent.like(house.guild.id, house.ada.id, "")
    privacy = await house.discord.slash(house.ada, house.general, "memory privacy")
    assert privacy.ephemeral
    assert privacy.text
    refused = await house.discord.slash(house.ada, house.general, "memory status")
    assert refused.ephemeral
    assert refused.text
    assert "error id" not in refused.text
    red = house.bot.get_cog("MemoryCommands")
    assert red is not None
    await red.red_delete_data_for_user(requester="user", user_id=house.ada.id)  # type: ignore[attr-defined]
    assert await house.stored() == {}
    assert not house.services.recent.like(house.guild.id, house.ada.id, "")
