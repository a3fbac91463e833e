"""Whatever the order in which tasks run, the memory ends where Discord ended."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from cogs.memory.erasure import Erasure
from cogs.memory.memory_service import MemoryService
from cogs.memory.records import ChannelInfo
from cogs.memory.surface.event_line import ChannelGone, EventLine, Named, Said, Unsaid
from cogs.memory.surface.guild_settings import GuildSettings, GuildSettingsStore
from profiles import load_profile
from tests.conftest import CHANNEL, GUILD, START, said

if TYPE_CHECKING:
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder
    from cogs.memory.surface.event_line import Event

MESSAGES = 900
"""With creation, edits and deletion about 10,000 events."""


@dataclass
class History:
    """What happened, in gateway order, and what must be left of it."""

    events: list[Event] = field(default_factory=list)
    left: dict[int, str] = field(default_factory=dict)


def random_history(seed: int, messages: int) -> History:
    """Lives of messages, interleaved at random; each life keeps its own order, some events come twice."""
    chance = random.Random(seed)
    lives: list[list[Event]] = []
    history = History()
    for message_id in range(1, messages + 1):
        first = said(message_id, f"draft of {message_id}")
        life: list[Event] = [Said(first, None)]
        for number in range(chance.randint(0, 20)):
            edited_at = first.created_at + timedelta(seconds=number + 1)
            version = replace(first, content=f"version {number} of {message_id}", edited_at=edited_at)
            life.append(Said(version, None, edited=True))
        last = life[-1]
        assert isinstance(last, Said)
        if chance.random() < 0.3:
            life.append(Unsaid(GUILD, (message_id,)))
        else:
            history.left[message_id] = last.message.content
        if chance.random() < 0.1:
            life += life[chance.randrange(len(life)) :]  # a resumed session sends it once more
        if chance.random() < 0.1 and len(life) > 1:
            life[0], life[1] = life[1], life[0]  # and a broken one the wrong way round
        lives.append(life)
    while lives:
        life = chance.choice(lives[:40])
        history.events.append(life.pop(0))
        if not life:
            lives.remove(life)
    return history


async def test_ten_thousand_interleaved_events_leave_no_ghost_and_no_stale_text(memory: MemoryService) -> None:
    history = random_history(seed=7, messages=MESSAGES)
    assert len(history.events) >= 10_000
    line = EventLine(Erasure(memory), GuildSettingsStore(memory.store))
    line.start()
    chance = random.Random(8)

    async def listener(event: Event) -> None:
        """What discord.py runs in a task of its own for each event."""
        line.put(event)
        await asyncio.sleep(chance.random() / 1000)  # whatever comes after the first await comes in any order

    async with asyncio.TaskGroup() as tasks:
        for number, event in enumerate(history.events):
            tasks.create_task(listener(event))
            if number % 50 == 0:
                await asyncio.sleep(0)
    await line.drained()
    await memory.queue.stored()
    await line.stop()
    stored = {message.id: message.content async for message in memory.store.iterate(GUILD)}
    ghosts = stored.keys() - history.left.keys()
    stale = {i for i, text in stored.items() if history.left.get(i, text) != text}
    missing = history.left.keys() - stored.keys()
    assert (len(ghosts), len(stale), len(missing)) == (0, 0, 0)


async def test_a_full_line_drops_new_messages_only_and_says_so(memory: MemoryService) -> None:
    lost: list[int] = []
    line = EventLine(Erasure(memory), GuildSettingsStore(memory.store), size=2, on_lost=lost.append)
    line.put(Said(said(1, "one"), None))
    line.put(Said(said(2, "two"), None))
    line.put(Said(said(3, "three finds no room"), None))
    line.put(Said(replace(said(1, "one, edited"), edited_at=START), None, edited=True))
    line.put(Unsaid(GUILD, (2,)))
    line.start()
    await line.drained()
    await memory.queue.stored()
    await line.stop()
    assert {m.id: m.content async for m in memory.store.iterate(GUILD)} == {1: "one, edited"}
    assert (line.dropped, lost) == (1, [GUILD])


async def test_a_guild_in_a_flood_does_not_silence_the_quiet_ones(memory: MemoryService) -> None:
    lost: list[int] = []
    line = EventLine(Erasure(memory), GuildSettingsStore(memory.store), size=10, on_lost=lost.append)
    for number in range(1, 30):
        line.put(Said(said(number, f"flood {number}"), None))
    for number in range(100, 107):
        line.put(Said(said(number, f"quiet {number}", guild_id=GUILD + 1), None))
    line.start()
    await line.drained()
    await memory.queue.stored()
    for number in range(200, 210):  # the line is empty again: both may fill it
        line.put(Said(said(number, f"flood {number}"), None))
    await line.drained()
    await memory.queue.stored()
    await line.stop()
    assert [m.id async for m in memory.store.iterate(GUILD)] == [*range(1, 11), *range(200, 210)]
    assert [m.id async for m in memory.store.iterate(GUILD + 1)] == [*range(100, 105)]
    assert (line.dropped, sorted(lost)) == (19 + 2, [GUILD, GUILD + 1])


async def test_a_channel_that_is_gone_takes_everything_before_it_and_nothing_after(memory: MemoryService) -> None:
    line = EventLine(Erasure(memory), GuildSettingsStore(memory.store))
    thread, other = CHANNEL + 1, CHANNEL + 2
    line.put(Named((ChannelInfo(thread, GUILD, "thread", CHANNEL), ChannelInfo(other, GUILD, "other"))))
    line.put(Said(said(1, "in the channel"), None))
    line.put(Said(said(2, "in the thread", channel_id=thread), CHANNEL))
    line.put(Said(said(3, "elsewhere", channel_id=other), None))
    line.put(ChannelGone(GUILD, CHANNEL))
    line.put(Said(said(1, "in the channel"), None))
    line.put(Said(said(4, "later", channel_id=other), None))
    line.start()
    await line.drained()
    await memory.queue.stored()
    await line.stop()
    assert [m.id async for m in memory.store.iterate(GUILD)] == [3, 4]


async def test_damaged_settings_stop_new_messages_and_nothing_else(memory: MemoryService) -> None:
    settings = GuildSettingsStore(memory.store)
    await settings.put(GUILD, GuildSettings())
    await memory.store.put_setting(GUILD, "guild-settings", "{broken")
    await memory.remember([said(1, "from before")])
    line = EventLine(Erasure(memory), GuildSettingsStore(memory.store))
    line.start()
    line.put(Said(said(2, "new"), None))
    line.put(Said(replace(said(1, "edited"), edited_at=START), None, edited=True))
    await line.drained()
    await memory.queue.stored()
    await line.stop()
    assert {m.id: m.content async for m in memory.store.iterate(GUILD)} == {1: "edited"}


async def test_an_event_that_cannot_be_applied_stops_no_other(memory: MemoryService) -> None:
    line = EventLine(Erasure(memory), GuildSettingsStore(memory.store))
    line.put(Named((object(),)))  # type: ignore[arg-type]
    line.put(Said(said(1, "after it"), None))
    line.start()
    await line.drained()
    await memory.queue.stored()
    await line.stop()
    assert line.given_up == 1
    assert [m.id async for m in memory.store.iterate(GUILD)] == [1]


async def test_a_full_queue_keeps_the_order(tmp_path: Path, load_shared: LoadEncoder) -> None:
    profile = replace(load_profile("embedded"), ingest_queue_size=1)
    async with MemoryService.on_folder(profile, tmp_path / "memory", load=load_shared) as memory:
        line = EventLine(Erasure(memory), GuildSettingsStore(memory.store))
        line.start()
        for number in range(1, 60):
            line.put(Said(said(number, "there"), None))
            line.put(Unsaid(GUILD, (number,)))
        await line.drained()
        await memory.queue.stored()
        await line.stop()
        assert [m.id async for m in memory.store.iterate(GUILD)] == []
