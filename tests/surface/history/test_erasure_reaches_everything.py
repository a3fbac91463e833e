"""Erasing while history is read, events wait and a channel is deleted: nothing of it comes back or stays behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogs.memory.surface.history.backfill_progress import RunState
from cogs.memory.surface.recall.judgements import Judgement
from tests.loopback import LoopbackDiscord

from .history_house import bot_on
from .test_backfill import HISTORY, LONG_AGO, a_world, tea_house

if TYPE_CHECKING:
    from .history_house import HistoryHouse, OpenMemory


async def some_pages_in(house: HistoryHouse, pages: int = 2) -> None:
    """Wait until so many pages were read of a history that has more."""
    await house.discord.until(lambda: len(house.discord.calls("GET", HISTORY)) >= pages)
    await house.memory.queue.stored()


async def test_a_channel_erased_in_the_middle_of_a_back_fill_is_not_read_any_further(open_memory: OpenMemory) -> None:
    world = a_world(470)
    guild, ada, general = tea_house(world)
    kitchen = guild.text_channel("kitchen")
    for number in range(250):
        kitchen.post(ada, f"dish {number}", at=LONG_AGO)
    guild.thread(general, "cake", ada, at=LONG_AGO).post(ada, "which cake?", at=LONG_AGO)
    async with LoopbackDiscord(world) as discord:
        async with bot_on(discord, open_memory, interval_s=0.01) as house:
            await some_pages_in(house, 4)
            before = {text for text in (await house.stored()).values() if not text.startswith("dish")}
            receipt = await house.erasure.forget_channel(guild.id, general.id)
            assert receipt.messages >= len(before) > 0
            await house.backfilled()
            assert len(await house.stored(kitchen)) == 250
            assert len(await house.stored()) == 250
            general.post(ada, "said afterwards")
            assert list((await house.stored(general)).values()) == ["said afterwards"]
        async with bot_on(discord, open_memory) as house:
            await house.backfilled()
            assert len(await house.stored()) == 251
            # who asks for it gets what was never read, and nothing of what was erased
            await house.sync.backfill.start(house.here, only=general.id, again=True)
            await house.sync.backfill.finished(guild.id)
            read = set((await house.stored()).values())
            assert not before & read
            assert {"pot number 0", "pot number 100"} <= read


async def test_a_server_erased_in_the_middle_of_a_back_fill_stays_empty(open_memory: OpenMemory) -> None:
    async with LoopbackDiscord(a_world(470)) as discord:
        async with bot_on(discord, open_memory, interval_s=0.02) as house:
            await some_pages_in(house)
            await house.erasure.forget_guild(house.guild.id)
            progress = await house.sync.backfill.progress(house.guild.id)
            assert progress is not None
            assert progress.state is RunState.CANCELLED
            assert await house.stored() == {}
        async with bot_on(discord, open_memory) as house:
            await house.sync.caught_up(house.guild.id)
            await house.sync.sweep.run(house.here)
            assert not house.sync.backfill.is_running(house.guild.id)
            assert await house.stored() == {}


async def test_a_page_on_its_way_when_a_server_is_erased_is_not_stored_after_it(open_memory: OpenMemory) -> None:
    async with LoopbackDiscord(a_world(90)) as discord, bot_on(discord, open_memory) as house:
        await house.backfilled()
        [general] = house.here.text_channels
        page = [message async for message in general.history(limit=100)]
        await house.erasure.forget_guild(house.guild.id)
        assert await house.sync.tools.intake.take(house.guild.id, 0, page) == []
        await house.sync.begin_anew(house.guild.id)
        assert await house.sync.backfill.progress(house.guild.id) is None
        taken = await house.sync.tools.intake.take(house.guild.id, 0, page)
        assert len(taken) == 90
        assert await house.stored() == {}, "what was stored once has left tombstones"


async def test_a_deleted_channel_takes_everything_said_about_it_along(open_memory: OpenMemory) -> None:
    world = a_world(3)
    [guild] = world.guilds.values()
    [ada] = [member for member in guild.members.values() if member.user.name == "ada"]
    doomed, later = guild.text_channel("doomed"), guild.text_channel("later")
    hits = [channel.post(ada, "the samovar is here") for channel in (doomed, later)]
    async with LoopbackDiscord(world) as discord:
        async with bot_on(discord, open_memory) as house:
            await house.backfilled()
            judgements = house.bot.services.judgements
            house.erasure.keepers.append(judgements)
            for hit in hits:
                judgement = Judgement("samovar?", hit.id, hit.channel.id, ada.id, good=True)
                await judgements.add(guild.id, judgement)
            doomed.delete()
            await house.stored()
            assert [each.channel_id for each in await judgements.of(guild.id)] == [later.id]
        later.delete()
        async with bot_on(discord, open_memory) as house:
            house.erasure.keepers.append(house.bot.services.judgements)
            await house.sync.caught_up(guild.id)
            assert await house.bot.services.judgements.of(guild.id) == []
