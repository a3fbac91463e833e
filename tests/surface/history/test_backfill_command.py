"""`/memory backfill` and the buttons under its progress message."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from cogs.memory.surface.guild_settings import GuildSettings
from tests.loopback import DEFAULT_BOT, Hold, LoopbackDiscord, Permission

from .history_house import bot_on
from .test_backfill import HISTORY, a_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.loopback import Guild, Member

    from .history_house import HistoryHouse, OpenMemory


@pytest.fixture
async def house(open_memory: OpenMemory) -> AsyncIterator[HistoryHouse]:
    """A guild with 470 messages that does not read them by itself; an admin and a member."""
    world = a_world(470)
    [guild] = world.guilds.values()
    guild.member("mod", guild.role("mods", Permission.MANAGE_GUILD))
    async with LoopbackDiscord(world) as discord:
        async with open_memory() as memory:
            await memory.store.put_setting(guild.id, "guild-settings", '{"backfill_on_join": false}')
        async with bot_on(discord, open_memory, interval_s=0.1) as house:
            await house.sync.caught_up(guild.id)
            yield house


def who(guild: Guild, name: str) -> Member:
    return next(member for member in guild.members.values() if member.user.name == name)


def held_after(discord: LoopbackDiscord, pages: int) -> Hold:
    """Let so many pages of history be read, and further ones after the release."""
    hold = Hold()
    discord.faults.add("GET", HISTORY, hold, times=100, skip=pages)
    return hold


async def test_the_progress_is_live_and_can_be_paused_resumed_and_cancelled(house: HistoryHouse) -> None:
    discord, mod = house.discord, who(house.guild, "mod")
    general = house.guild.channels[min(house.guild.channels)]
    rest = held_after(discord, 2)
    reply = await discord.slash(mod, general, "memory backfill")
    assert reply.ephemeral
    assert "Reading the history" in reply.text
    await reply.until(lambda r: "200 messages" in r.text)

    paused = await discord.press(reply, "Pause")
    rest.release()
    await paused.until(lambda r: "Paused" in r.text)
    assert set(paused.buttons) == {"Resume", "Cancel", "Refresh"}
    before = len(discord.calls("GET", HISTORY))
    resumed = await discord.press(paused, "Resume")
    await resumed.until(lambda r: "The history is read" in r.text)
    assert "470 messages" in resumed.text
    assert "100%" in resumed.text
    assert resumed.buttons == []
    assert before < len(discord.calls("GET", HISTORY))
    assert len(await house.stored()) == 470


async def test_two_who_ask_at_once_are_shown_the_same_back_fill(house: HistoryHouse) -> None:
    general = house.guild.channels[min(house.guild.channels)]
    rest = held_after(house.discord, 1)
    asked = [
        house.discord.slash(admin, general, "memory backfill") for admin in (who(house.guild, "mod"), house.guild.owner)
    ]
    for reply in await asyncio.gather(*asked):
        assert "Reading the history" in reply.text
        assert set(reply.buttons) == {"Pause", "Cancel", "Refresh"}
    rest.release()


async def test_an_admin_decides_whether_the_history_is_read_on_joining(house: HistoryHouse) -> None:
    mod, ada = who(house.guild, "mod"), who(house.guild, "ada")
    general = house.guild.channels[min(house.guild.channels)]
    refused = await house.discord.slash(ada, general, "memory backfill", on_join=True)
    assert "manage this server" in refused.text
    assert not (await house.bot.settings.get(house.guild.id)).backfill_on_join
    reply = await house.discord.slash(mod, general, "memory backfill", on_join=True)
    assert "by myself" in reply.text
    assert (await house.bot.settings.get(house.guild.id)).backfill_on_join
    assert not house.sync.backfill.is_running(house.guild.id)
    with house.discord.world.unheard():
        house.guild.remove_bot()
    house.guild.add_bot(DEFAULT_BOT)
    await house.discord.until(lambda: house.sync.backfill.is_running(house.guild.id))


async def test_cancel_keeps_what_was_read(house: HistoryHouse) -> None:
    mod = who(house.guild, "mod")
    general = house.guild.channels[min(house.guild.channels)]
    rest = held_after(house.discord, 2)
    reply = await house.discord.slash(mod, general, "memory backfill")
    await reply.until(lambda r: "200 messages" in r.text)
    cancelled = await house.discord.press(reply, "Cancel")
    rest.release()
    await cancelled.until(lambda r: "Cancelled" in r.text)
    assert 100 <= len(await house.stored()) < 470


async def test_buttons_work_after_a_restart(open_memory: OpenMemory) -> None:
    world = a_world(470)
    [guild] = world.guilds.values()
    mod = guild.member("mod", guild.role("mods", Permission.MANAGE_GUILD))
    general = guild.channels[min(guild.channels)]
    async with LoopbackDiscord(world) as discord:
        async with bot_on(discord, open_memory, interval_s=0.1):
            rest = held_after(discord, 1)
            reply = await discord.slash(mod, general, "memory backfill")
        rest.release()
        async with bot_on(discord, open_memory, interval_s=0.1) as house:
            await house.sync.caught_up(guild.id)
            pressed = await discord.press(reply, "Refresh")
            await pressed.until(lambda r: "The history is read" in r.text)


async def test_a_member_is_refused_and_a_former_admin_too(house: HistoryHouse) -> None:
    ada, mod = who(house.guild, "ada"), who(house.guild, "mod")
    general = house.guild.channels[min(house.guild.channels)]
    house.discord.commands.enforce_visibility = False
    reply = await house.discord.slash(ada, general, "memory backfill")
    assert "manage this server" in reply.text
    assert not house.sync.backfill.is_running(house.guild.id)

    rest = held_after(house.discord, 1)
    await house.sync.backfill.start(house.here, owner_id=house.guild.owner.id)
    reply = await house.discord.slash(mod, general, "memory backfill")
    mod.remove_role(mod.roles[0])
    await house.discord.gateway.barrier()
    pressed = await house.discord.press(reply, "Cancel")
    await pressed.until(lambda r: "Only who began this" in r.text or r.followups)
    assert house.sync.backfill.is_running(house.guild.id)
    rest.release()


async def test_one_channel_is_read_anew_with_its_threads(house: HistoryHouse) -> None:
    mod = who(house.guild, "mod")
    general = house.guild.channels[min(house.guild.channels)]
    tea = house.guild.text_channel("tea")
    with house.discord.world.unheard():
        tea.post(mod, "green or black?")
    milk = house.guild.thread(tea, "milk", mod)
    with house.discord.world.unheard():
        milk.post(mod, "no milk")
    await house.discord.gateway.barrier()
    reply = await house.discord.slash(mod, general, "memory backfill", channel=tea)
    await reply.until(lambda r: "The history is read" in r.text)
    assert sorted((await house.stored()).values()) == ["green or black?", "no milk"]
    assert not await house.sync.backfill.is_complete(house.guild.id)

    with house.discord.world.unheard():
        tea.post(mod, "both")
    reply = await house.discord.slash(mod, general, "memory backfill", channel=tea)
    await reply.until(lambda r: "The history is read" in r.text)
    assert "both" in (await house.stored()).values()

    await house.bot.settings.change(house.guild.id, lambda _: GuildSettings(denied_channels=frozenset([tea.id])))
    reply = await house.discord.slash(mod, general, "memory backfill", channel=tea)
    assert "not remembered" in reply.text
