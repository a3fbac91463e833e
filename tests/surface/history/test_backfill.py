"""Reading what was said before the bot came."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import discord
import pytest

from cogs.memory.exceptions import Busy
from cogs.memory.surface.guild_settings import GuildSettings, GuildSettingsStore
from cogs.memory.surface.history import places as history_places
from cogs.memory.surface.history.backfill_progress import RunState
from cogs.memory.surface.history.discord_requests import DiscordUnwell, Requests
from tests.loopback import Drop, LoopbackDiscord, Permission, RateLimited, Status, World, deny

from .history_house import bot_on

if TYPE_CHECKING:
    from tests.loopback import Channel, Guild, Member

    from .history_house import HistoryHouse, OpenMemory

HISTORY = "/channels/*/messages"
LONG_AGO = datetime(2025, 6, 1, 12, tzinfo=UTC)


def a_world(messages: int = 0) -> World:
    """A server whose #general has so many messages."""
    world = World()
    guild = world.guild("Tea House")
    ada = guild.member("ada")
    general = guild.text_channel("general")
    for number in range(messages):
        general.post(ada, f"pot number {number}", at=LONG_AGO + timedelta(minutes=number))
    return world


def tea_house(world: World) -> tuple[Guild, Member, Channel]:
    """The server of `a_world`, who writes there, and where."""
    [guild] = world.guilds.values()
    [ada] = [member for member in guild.members.values() if member.user.name == "ada"]
    return guild, ada, guild.channels[min(guild.channels)]


def texts(house: HistoryHouse) -> list[str]:
    """What stands in all channels and threads that the bot may read, by people."""
    places = [*house.guild.channels.values(), *house.guild.threads.values()]
    bot = house.discord.world.bot
    return sorted(
        message.content
        for place in places
        if place.can_read_history(bot)
        for message in place.history()
        if message.type in (0, 19) and not message.author.bot
    )


async def test_470_messages_arrive_once_through_faults_and_a_stop_in_the_middle(open_memory: OpenMemory) -> None:
    async with LoopbackDiscord(a_world(470)) as discord:
        discord.faults.add("GET", HISTORY, RateLimited(0.05), Status(503), skip=1)
        discord.faults.add("GET", HISTORY, Drop(), Drop(), Drop(), Status(500), RateLimited(0.02), skip=3)
        async with bot_on(discord, open_memory, interval_s=0.03) as house:
            await discord.until(lambda: len([c for c in discord.calls("GET", HISTORY) if c.status == 200]) >= 2)
        async with open_memory() as memory:
            before = [message.content async for message in memory.store.iterate(house.guild.id)]
        assert 100 <= len(before) < 470
        assert "pot number 469" in before, "the newest come first"

        async with bot_on(discord, open_memory) as house:
            await house.backfilled()
            assert sorted((await house.stored()).values()) == texts(house)
            assert len(texts(house)) == 470
            progress = await house.sync.backfill.progress(house.guild.id)
            assert progress is not None
            assert (progress.state, progress.messages, progress.share) == (RunState.DONE, 470, 1.0)
            assert await house.sync.backfill.is_complete(house.guild.id)
        pages = [call.query for call in discord.calls("GET", HISTORY) if call.status == 200]
        assert not discord.faults.pending
        assert len({query.get("before") for query in pages}) == 5
        assert discord.backend.unsupported == []


@pytest.mark.parametrize(("wish", "asked"), [("0.01", 2), ("soon", 2), ("86400", 1)])
async def test_a_ban_is_respected_for_as_long_as_it_says(wish: str, asked: int) -> None:
    """A short one is waited for; after a long one the channel is left alone for a while."""
    answer: Any = SimpleNamespace(status=429, reason="Too Many Requests", headers={"Retry-After": wish})
    calls = 0

    async def refused_once() -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise discord.HTTPException(answer, "error code: 1015")
        return True

    requests = Requests(0.0, first_backoff_s=0.01)
    if asked == 1:
        with pytest.raises(DiscordUnwell):
            await requests.ask(refused_once)
    else:
        assert await requests.ask(refused_once)
    assert calls == asked


async def test_a_page_whose_checkpoint_was_lost_is_read_again_and_stored_once(open_memory: OpenMemory) -> None:
    """As after a kill between the two: the page is durable, its checkpoint is not."""
    async with LoopbackDiscord(a_world(230)) as discord:
        async with bot_on(discord, open_memory) as house:
            await house.backfilled()
            [general] = house.guild.channels.values()
            key = f"backfill:{general.id}"
            second = next(call for call in discord.calls("GET", HISTORY) if call.query.get("before"))
            first_page = f'{{"before": {second.query["before"]}, "messages": 100, "pages": 1}}'
            await house.memory.store.put_setting(house.guild.id, key, first_page)
            await house.memory.store.put_setting(house.guild.id, "backfill", '{"state": "running"}')
        seen = len(discord.calls("GET", HISTORY))
        async with bot_on(discord, open_memory) as house:
            await house.backfilled()
            assert len(await house.stored()) == 230
            again = [call.query.get("before") for call in discord.calls("GET", HISTORY)[seen:]]
            assert second.query["before"] in again


async def test_every_kind_of_channel_is_read_but_not_what_is_closed_or_said_by_bots(open_memory: OpenMemory) -> None:
    world = a_world(3)
    guild, ada, general = tea_house(world)
    for make in (guild.voice_channel, guild.stage_channel, guild.announcement_channel):
        make(make.__name__).post(ada, f"in the {make.__name__}")
    forum = guild.forum("ideas")
    guild.forum_post(forum, "samovar", ada, "a second samovar")
    guild.forum_post(forum, "cups", ada, "more cups", at=LONG_AGO).archive(at=LONG_AGO)
    guild.thread(general, "cake", ada).post(ada, "which cake?")
    old = guild.thread(general, "old cake", ada, at=LONG_AGO)
    old.post(ada, "last year's cake", at=LONG_AGO)
    old.archive(at=LONG_AGO)
    secret = guild.thread(general, "surprise", ada, private=True)
    secret.post(ada, "a surprise for mod")
    secret.join(world.bot)
    secret.archive()
    closed = guild.text_channel("closed", overwrites={guild.me: deny(Permission.READ_MESSAGE_HISTORY)})
    closed.post(ada, "nobody may know")
    general.post_webhook("news", "posted by a webhook")

    async with LoopbackDiscord(world) as discord, bot_on(discord, open_memory) as house:
        await house.backfilled()
        assert sorted((await house.stored()).values()) == texts(house)
        assert {"a second samovar", "more cups", "last year's cake", "a surprise for mod", "which cake?"} <= set(
            texts(house)
        )
        assert {old.id, secret.id} <= await house.channels_known()
        progress = await house.sync.backfill.progress(guild.id)
        assert progress is not None
        assert progress.refused == (closed.id,)
        assert not discord.calls("GET", f"/channels/{closed.id}/messages"), "no request where the rights say no"

        with world.unheard():
            old.post(ada, "still last year's", at=LONG_AGO + timedelta(hours=1))
        guild.me.add_role(guild.role("keys"))
        closed.set_overwrite(guild.me, None)
        await discord.gateway.barrier()
        await discord.until(lambda: discord.calls("GET", f"/channels/{closed.id}/messages"))
        await house.sync.backfill.finished(guild.id)
        assert "nobody may know" in (await house.stored()).values(), "read as soon as it opens"


async def test_threads_learnt_are_known_after_a_restart(
    open_memory: OpenMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_places, "CHUNK", 2)
    world = a_world(1)
    guild, ada, general = tea_house(world)
    threads = [guild.thread(general, f"old {number}", ada, private=number == 3) for number in range(5)]
    threads[3].join(world.bot)
    for thread in threads:
        thread.post(ada, "an old word")
        thread.archive(at=LONG_AGO)
    async with LoopbackDiscord(world) as discord:
        async with bot_on(discord, open_memory) as house:
            await house.backfilled()
        async with bot_on(discord, open_memory) as house:
            await house.sync.caught_up(guild.id)
            learnt = house.bot.access.learnt_threads(guild.id)
            assert {thread_id: rules.private for thread_id, rules in learnt.items()} == {
                thread.id: thread.private for thread in threads
            }


async def test_a_channel_that_answers_403_is_parked_for_hours(open_memory: OpenMemory) -> None:
    world = a_world(130)
    [guild] = world.guilds.values()
    [general] = guild.channels.values()
    other = guild.text_channel("other")
    other.post(next(iter(guild.members.values())), "something else")
    async with LoopbackDiscord(world) as discord:
        discord.faults.add("GET", f"/channels/{general.id}/messages", Status(403))
        async with bot_on(discord, open_memory) as house:
            await house.backfilled()
            progress = await house.sync.backfill.progress(guild.id)
            assert progress is not None
            assert progress.refused == (general.id,)
            assert progress.state is RunState.DONE
            retry_s = house.sync.backfill.retry_s(guild.id)
            assert retry_s is not None
            assert 5 * 3600 < retry_s <= 6 * 3600
            assert list((await house.stored()).values()) == ["something else"]
        async with bot_on(discord, open_memory) as house:
            await house.sync.caught_up(guild.id)
            await house.sync.backfill.retry(house.here)
            await house.sync.backfill.finished(guild.id)
            assert len(discord.calls("GET", f"/channels/{general.id}/messages")) == 1, "parked over the restart too"
            await house.sync.backfill.start(house.here, again=True)
            await house.sync.backfill.finished(guild.id)
            assert len(await house.stored(general)) == 130


async def test_discord_failing_for_long_loses_nothing(open_memory: OpenMemory) -> None:
    async with LoopbackDiscord(a_world(120)) as discord:
        discord.faults.add("GET", HISTORY, *[Status(503)] * 8, skip=1)
        async with bot_on(discord, open_memory) as house:
            await house.backfilled()
            assert len(await house.stored()) == 120


async def test_channels_take_turns_so_that_the_newest_of_each_come_first(open_memory: OpenMemory) -> None:
    world = a_world(250)
    [guild] = world.guilds.values()
    [ada] = [member for member in guild.members.values() if member.user.name == "ada"]
    kitchen = guild.text_channel("kitchen")
    for number in range(150):
        kitchen.post(ada, f"dish {number}", at=LONG_AGO + timedelta(minutes=number))
    async with LoopbackDiscord(world) as discord, bot_on(discord, open_memory) as house:
        await house.backfilled()
        order = [int(call.params["channel_id"]) == kitchen.id for call in discord.calls("GET", HISTORY)]
        assert order in ([False, True, False, True, False], [True, False, True, False, False])


async def test_no_more_than_one_page_an_interval_is_asked_for(open_memory: OpenMemory) -> None:
    async with LoopbackDiscord(a_world(350)) as discord, bot_on(discord, open_memory, interval_s=0.15) as house:
        await house.backfilled()
        times = [call.at for call in discord.calls("GET", HISTORY)]
        assert len(times) == 4
        assert all(later - earlier > 0.13 for earlier, later in pairwise(times))


async def test_settings_and_opted_out_members_are_respected(open_memory: OpenMemory) -> None:
    world = a_world(2)
    [guild] = world.guilds.values()
    [ada] = [member for member in guild.members.values() if member.user.name == "ada"]
    mod = guild.member("mod")
    general = guild.channels[min(guild.channels)]
    denied = guild.text_channel("denied")
    denied.post(ada, "denied")
    guild.thread(denied, "under denied", ada).post(ada, "denied too")
    general.post(mod, "not mine")
    async with open_memory() as memory:
        settings = GuildSettingsStore(memory.store)
        await settings.opt_out(guild.id, mod.id)
        retention = (datetime.now(UTC) - LONG_AGO).days + 1
        rules = GuildSettings(denied_channels=frozenset([denied.id]), retention_days=retention)
        await settings.put(guild.id, rules)
    general.post(ada, "older than is kept", at=LONG_AGO - timedelta(days=2))
    async with LoopbackDiscord(world) as discord, bot_on(discord, open_memory) as house:
        await house.backfilled()
        assert sorted((await house.stored()).values()) == ["pot number 0", "pot number 1"]


async def test_a_guild_that_does_not_want_it_is_not_read_by_itself(open_memory: OpenMemory) -> None:
    world = a_world(2)
    [guild] = world.guilds.values()
    async with open_memory() as memory:
        await GuildSettingsStore(memory.store).put(guild.id, GuildSettings(backfill_on_join=False))
    async with LoopbackDiscord(world) as discord, bot_on(discord, open_memory) as house:
        await house.sync.caught_up(guild.id)
        await discord.gateway.barrier()
        assert not house.sync.backfill.is_running(guild.id)
        assert await house.stored() == {}


async def test_a_second_back_fill_at_a_time_is_refused(open_memory: OpenMemory) -> None:
    async with LoopbackDiscord(a_world(300)) as discord, bot_on(discord, open_memory, interval_s=0.2) as house:
        await discord.until(lambda: house.sync.backfill.is_running(house.guild.id))
        with pytest.raises(Busy, match="already"):
            await house.sync.backfill.start(house.here)


async def test_pause_outlives_a_restart_and_cancel_ends_it(open_memory: OpenMemory) -> None:
    async with LoopbackDiscord(a_world(470)) as discord:
        async with bot_on(discord, open_memory, interval_s=0.05) as house:
            await discord.until(lambda: discord.calls("GET", HISTORY))
            await house.sync.backfill.pause(house.guild.id)
        async with bot_on(discord, open_memory) as house:
            await house.sync.caught_up(house.guild.id)
            await discord.until(lambda: house.sync.backfill.is_running(house.guild.id))
            progress = await house.sync.backfill.progress(house.guild.id)
            assert progress is not None
            assert progress.state is RunState.PAUSED
            assert len(await house.stored()) < 470
            await house.sync.backfill.resume(house.guild.id)
            await discord.until(lambda: len(discord.calls("GET", HISTORY)) >= 3)
            await house.sync.backfill.cancel(house.guild.id)
            stored = len(await house.stored())
        async with bot_on(discord, open_memory) as house:
            await house.sync.caught_up(house.guild.id)
            assert not house.sync.backfill.is_running(house.guild.id)
            assert len(await house.stored()) == stored
            await house.sync.backfill.start(house.here)
            await house.sync.backfill.finished(house.guild.id)
            assert len(await house.stored()) == 470
