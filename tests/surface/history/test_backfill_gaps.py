"""What happened while the bot was away: after a restart, a lost session, an outage."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cogs.memory.records import Scope
from cogs.memory.surface.history.sync_marks import SyncMarks
from tests.loopback import Delay, Drop, LoopbackDiscord, Permission, Status, deny

from .history_house import bot_on
from .test_backfill import HISTORY, LONG_AGO, a_world, tea_house, texts

if TYPE_CHECKING:
    from cogs.memory.memory_service import MemoryService
    from cogs.memory.records import StoredMessage
    from tests.loopback import Message

    from .history_house import HistoryHouse, OpenMemory

PAST = LONG_AGO + timedelta(days=1)


async def rows(house: HistoryHouse, *messages: Message) -> list[StoredMessage]:
    """What is stored of messages."""
    ids = [message.id for message in messages]
    channels = frozenset(message.channel.id for message in messages)
    found = await house.memory.store.load(Scope(house.guild.id, channels), ids)
    return [found[i].message for i in ids if i in found]


async def shown(house: HistoryHouse, query: str) -> tuple[list[str], bool]:
    """What a recall shows of everything, verified; and whether some could not be checked."""
    channels = frozenset([*house.guild.channels, *house.guild.threads])
    recall = await house.memory.recall(query, Scope(house.guild.id, channels))
    results, unchecked = await house.sync.verification.verify_results(recall.results)
    return [result.message.content for result in results], unchecked


async def caught_up_but_not_swept(house: HistoryHouse) -> None:
    """Wait until the gap is read, and hold the sweep back."""
    await house.sync.caught_up(house.guild.id)
    house.sync._tasks[house.guild.id].cancel()


async def test_all_that_was_written_meanwhile_is_read_and_what_was_deleted_is_never_shown(
    open_memory: OpenMemory,
) -> None:
    world = a_world(250)
    guild, ada, general = tea_house(world)
    quiet = guild.text_channel("quiet")
    quiet.post(ada, "never a word", at=LONG_AGO)
    doomed = guild.text_channel("doomed")
    doomed.post(ada, "soon gone")
    thread = guild.thread(general, "cake", ada, at=LONG_AGO)
    thread.post(ada, "a cake", at=LONG_AGO)
    asleep = guild.thread(general, "asleep", ada, at=LONG_AGO)
    asleep.archive(at=LONG_AGO)
    async with LoopbackDiscord(world) as discord:
        async with bot_on(discord, open_memory, interval_s=0.001) as house:
            await house.backfilled()
            kept, edited, deleted = general.history()[100], general.history()[5], general.history()[50]

        for number in range(130):
            general.post(ada, f"while you were away {number}")
        deleted.delete()
        edited.edit("pot number five, corrected")
        general.post(ada, "written and deleted").delete()
        general.post(ada, "written badly").edit("written well")
        thread.post(ada, "eaten meanwhile")
        thread.archive()
        asleep.post(ada, "woken")
        guild.forum_post(guild.forum("ideas"), "new", ada, "a new idea")
        guild.text_channel("new").post(ada, "a new channel")
        doomed.delete()

        seen = len(discord.requests)
        async with bot_on(discord, open_memory, interval_s=0.001) as house:
            await house.sync.caught_up(guild.id)
            stored = set((await house.stored()).values())
            assert {f"while you were away {number}" for number in range(130)} <= stored
            assert {"eaten meanwhile", "woken", "written well", "a new idea", "a new channel"} <= stored
            assert not {"written and deleted", "written badly", "soon gone"} & stored
            asked = [call.path for call in discord.requests[seen:] if call.path.endswith("/messages")]
            assert f"/channels/{quiet.id}/messages" not in asked[: len(asked) // 2], "no request where nothing is new"
            assert [row.content for row in await rows(house, kept)] == [kept.content]
            answers, unchecked = await shown(house, "pot number five, corrected")
            assert not unchecked
            assert deleted.content not in answers
            # the sweep finds the rest by itself
            await discord.until(house.sync._tasks[guild.id].done)
            assert sorted((await house.stored()).values()) == texts(house)


async def test_a_hit_is_fetched_once_an_epoch_and_shown_as_it_is_now(open_memory: OpenMemory) -> None:
    world = a_world(0)
    _, ada, general = tea_house(world)
    for number in range(60):
        general.post(ada, f"filler {number}", at=LONG_AGO + timedelta(minutes=number))
    gone = general.post(ada, "the samovar is in the cellar", at=PAST)
    changed = general.post(ada, "the samovar costs ten", at=PAST + timedelta(days=1))
    general.post(ada, "hello", at=PAST + timedelta(days=40))
    async with LoopbackDiscord(world) as discord:
        async with bot_on(discord, open_memory) as house:
            await house.backfilled()
            await house.memory.queue.embedded()
            answers, _ = await shown(house, "where is the samovar")
            assert "the samovar is in the cellar" in answers
            assert not discord.calls("GET", "/channels/*/messages/*"), "read in this epoch"
        gone.delete()
        changed.edit("the samovar costs twenty")
        async with bot_on(discord, open_memory) as house:
            await caught_up_but_not_swept(house)
            answers, unchecked = await shown(house, "where is the samovar")
            assert not unchecked
            assert "the samovar costs twenty" in answers
            assert not {"the samovar is in the cellar", "the samovar costs ten"} & set(answers)
            await house.memory.queue.stored()
            assert await rows(house, gone) == []
            # Until the edited message has its vector again, its neighbours rank lower and others are looked at.
            await house.memory.queue.embedded()
            requests = len(discord.requests)
            again, _ = await shown(house, "where is the samovar")
            assert set(answers) < set(again)
            assert len(discord.requests) - requests <= 1, "for what moved up in place of the deleted one"
            assert await shown(house, "where is the samovar") == (again, False)
            assert len(discord.requests) - requests <= 1
        looked_at = [call.query["around"] for call in discord.calls("GET", HISTORY) if "around" in call.query]
        assert len(looked_at) == len(set(looked_at)), "once in an epoch"


async def test_looking_at_a_deleted_message_settles_those_around_it(open_memory: OpenMemory) -> None:
    world = a_world(0)
    _, ada, general = tea_house(world)
    gone = general.post(ada, "the samovar is in the cellar", at=PAST)
    near = general.post(ada, "no, the samovar is in the attic", at=PAST + timedelta(hours=1))
    general.post(ada, "hello", at=PAST + timedelta(days=40))
    async with LoopbackDiscord(world) as discord:
        async with bot_on(discord, open_memory) as house:
            await house.backfilled()
        gone.delete()
        async with bot_on(discord, open_memory) as house:
            await caught_up_but_not_swept(house)
            [stored] = await rows(house, gone)
            assert (await house.sync.verification.verify([stored])).current.keys() >= {near.id}
            requests = len(discord.requests)
            assert (await house.sync.verification.verify(await rows(house, near))).current.keys() == {near.id}
            assert len(discord.requests) == requests
            await house.memory.queue.stored()
            assert await rows(house, gone) == []


@pytest.mark.parametrize("fault", [Status(403), Status(503), Drop(), Delay(0.5)])
async def test_what_cannot_be_checked_is_not_shown_and_said_so(
    open_memory: OpenMemory, fault: Status | Drop | Delay
) -> None:
    world = a_world(0)
    guild, ada, general = tea_house(world)
    general.post(ada, "the samovar is in the cellar", at=PAST)
    guild.text_channel("other").post(ada, "hello")
    async with LoopbackDiscord(world) as discord:
        async with bot_on(discord, open_memory) as house:
            await house.backfilled()
        async with bot_on(discord, open_memory) as house:
            await caught_up_but_not_swept(house)
            house.sync.verification._timeout_s = 0.3
            discord.faults.add("GET", f"/channels/{general.id}/messages", *[fault] * 4)
            answers, unchecked = await shown(house, "samovar")
            assert unchecked
            assert "the samovar is in the cellar" not in answers
            assert len(await house.stored(general)) == 1, "kept: nobody knows"


async def test_a_resumed_session_is_no_gap_and_a_lost_one_is(open_memory: OpenMemory) -> None:
    world = a_world(3)
    guild, ada, general = tea_house(world)
    async with LoopbackDiscord(world) as discord, bot_on(discord, open_memory) as house:
        await house.backfilled()
        mark = await house.sync.marks.get(guild.id)
        await discord.gateway.drop()
        general.post(ada, "while it resumed")
        await discord.connected()
        assert "while it resumed" in (await house.stored()).values()
        assert await house.sync.marks.get(guild.id) == mark
        assert discord.gateway.resumes == 1

        heard = general.history()[-1]
        assert [m.content for m in await rows(house, heard)] == ["while it resumed"]
        await discord.gateway.invalidate()
        general.post(ada, "never sent")
        heard.edit("changed, never sent")
        await discord.until(lambda: discord.gateway.identifies == 2 and discord.gateway.live)
        await discord.until(lambda: not house.sync._synced[guild.id].is_set())
        await house.sync.caught_up(guild.id)
        stored = set((await house.stored()).values())
        assert {"never sent", "changed, never sent"} <= stored
        assert "while it resumed" not in stored


async def test_a_lost_session_is_a_gap_for_its_own_shard(open_memory: OpenMemory) -> None:
    world = a_world(2)
    first = next(iter(world.guilds.values()))
    shard = (first.id >> 22) % 2
    second = world.guild("Coffee House", shard=(1 - shard, 2))
    second.text_channel("general").post(second.member("bob"), "coffee")
    async with LoopbackDiscord(world) as discord:
        discord.gateway.shards = 2
        async with bot_on(discord, open_memory) as house:
            await house.backfilled()
            await house.backfilled(second.id)
            epoch = house.sync.tools.verified.epoch
            before = epoch(first.id), epoch(second.id)
            await house.sync._on_new_session(shard)
            assert (epoch(first.id), epoch(second.id)) == (before[0] + 1, before[1])
            rows = [row.content async for row in house.memory.store.iterate(second.id)]
            assert rows == ["coffee"]


async def test_an_outage_is_a_gap_and_keeps_everything(open_memory: OpenMemory) -> None:
    world = a_world(3)
    guild, ada, general = tea_house(world)
    async with LoopbackDiscord(world) as discord, bot_on(discord, open_memory) as house:
        await house.backfilled()
        guild.outage()
        await discord.gateway.barrier()
        general.post(ada, "said in the dark")
        assert len(await house.stored()) == 3
        guild.recover()
        await discord.gateway.barrier()
        await discord.until(lambda: not house.sync._synced[guild.id].is_set() or len(discord.calls("GET", HISTORY)) > 1)
        await house.sync.caught_up(guild.id)
        assert "said in the dark" in (await house.stored()).values()


async def test_an_interrupted_catch_up_begins_again_where_the_gap_began(open_memory: OpenMemory) -> None:
    world = a_world(3)
    guild, ada, general = tea_house(world)
    async with LoopbackDiscord(world) as discord:
        async with bot_on(discord, open_memory) as house:
            await house.backfilled()
        for number in range(350):
            general.post(ada, f"away {number}")
        before = len(discord.calls("GET", HISTORY))
        async with bot_on(discord, open_memory, interval_s=0.1) as house:
            await discord.until(lambda: len(discord.calls("GET", HISTORY)) >= before + 2)
            general.post(ada, "heard live, before the gap is closed")
            await house.stored()
            await house.sync.marks.flush()
        async with bot_on(discord, open_memory) as house:
            await house.sync.caught_up(guild.id)
            assert len(await house.stored()) == 354


async def test_what_is_heard_before_the_gap_is_noted_does_not_hide_it(memory: MemoryService) -> None:
    """A server comes into view seconds after its session began; messages come at once."""
    minute = 60_000 << 22

    async def settle() -> None:
        await memory.queue.stored()

    before = SyncMarks(memory.store, settle)
    await before.open_gap(1, newest=10 * minute)
    before.hear(1, 20 * minute)
    await before.flush()

    after = SyncMarks(memory.store, settle)
    after.hear(1, 50 * minute)
    await after.flush()
    mark = await after.open_gap(1, newest=50 * minute)
    assert mark.gap_from == 19 * minute
    await after.flush()
    again = await after.open_gap(1, newest=60 * minute)
    assert (again.heard, again.gap_from, again.epoch) == (50 * minute, 19 * minute, 2)
    await after.close_gap(1, mark)
    assert (await after.get(1)) == again, "another gap has opened since"
    await after.close_gap(1, again)
    after.distrust(1)
    after.hear(1, 90 * minute)
    await after.flush()
    assert (await after.open_gap(1, newest=90 * minute)).gap_from == 49 * minute


async def test_messages_that_found_no_room_are_read_again(open_memory: OpenMemory) -> None:
    world = a_world(3)
    guild, ada, general = tea_house(world)
    async with LoopbackDiscord(world) as discord, bot_on(discord, open_memory) as house:
        await house.backfilled()
        with world.unheard():
            general.post(ada, "found no room")
        house.sync.lost_events(house.here)
        await house.sync.caught_up(guild.id)
        assert "found no room" in (await house.stored()).values()


async def test_the_sweep_leaves_alone_what_it_cannot_read(open_memory: OpenMemory) -> None:
    world = a_world(5)
    guild, ada, general = tea_house(world)
    hidden = guild.text_channel("hidden")
    for number in range(5):
        hidden.post(ada, f"hidden {number}", at=LONG_AGO)
    async with LoopbackDiscord(world) as discord:
        async with bot_on(discord, open_memory) as house:
            await house.backfilled()
        hidden.set_overwrite(guild.me, deny(Permission.READ_MESSAGE_HISTORY))
        general.history()[0].delete()
        async with bot_on(discord, open_memory) as house:
            await house.sync.caught_up(guild.id)
            await asyncio.wait({house.sync._tasks[guild.id]}, timeout=1)
            stored = await house.stored()
            assert len(stored) == 9, "an empty page from a closed channel says nothing"
            world.application.message_content_intent = False
            house.sync.tools.verified.begin_epoch(guild.id)
            await house.sync.sweep.run(house.here)
            assert len(await house.stored()) == 9, "nor do messages without their text"


async def test_edits_and_deletions_in_denied_channels_are_followed(open_memory: OpenMemory) -> None:
    world = a_world(3)
    [guild] = world.guilds.values()
    general = guild.channels[min(guild.channels)]
    async with LoopbackDiscord(world) as discord:
        async with bot_on(discord, open_memory) as house:
            await house.backfilled()
            settings = await house.bot.settings.get(guild.id)
            await house.bot.settings.put(
                guild.id, type(settings)(denied_channels=frozenset([general.id]), backfill_on_join=False)
            )
        general.history()[0].delete()
        general.history()[0].edit("pot number one, corrected")
        async with bot_on(discord, open_memory) as house:
            await house.sync.caught_up(guild.id)
            await house.sync.sweep.run(house.here)
            assert sorted((await house.stored()).values()) == ["pot number 2", "pot number one, corrected"]
