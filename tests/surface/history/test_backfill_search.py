"""Day-one recall: Discord's own search, until the history is read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cogs.memory.records import Scope
from cogs.memory.surface.history.message_search import search_parameters, search_words
from tests.loopback import Delay, LoopbackDiscord, RateLimited, Status

from .history_house import bot_on
from .test_backfill import LONG_AGO, a_world, tea_house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.loopback import Channel

    from .history_house import HistoryHouse, OpenMemory

SEARCH = "/guilds/*/messages/search"


@pytest.fixture
async def house(open_memory: OpenMemory) -> AsyncIterator[HistoryHouse]:
    """A guild whose back-fill is paused at its start: a public channel with an archived thread, a hidden channel."""
    world = a_world(5)
    guild, ada, general = tea_house(world)
    general.post(ada, "the samovar is in the cellar", at=LONG_AGO)
    thread = guild.thread(general, "repairs", ada, at=LONG_AGO)
    thread.post(ada, "a samovar repair costs ten", at=LONG_AGO)
    thread.archive(at=LONG_AGO)
    guild.text_channel("hidden", only=[guild.role("mods")]).post(ada, "a secret samovar", at=LONG_AGO)
    async with open_memory() as memory:
        await memory.store.put_setting(guild.id, "backfill", '{"state": "paused"}')
    async with LoopbackDiscord(world) as discord, bot_on(discord, open_memory) as house:
        await house.sync.caught_up(guild.id)
        await discord.until(lambda: house.sync.backfill.is_running(guild.id))
        yield house


def channel(house: HistoryHouse, name: str) -> Channel:
    places = [*house.guild.channels.values(), *house.guild.threads.values()]
    return next(place for place in places if place.name == name)


def scope(house: HistoryHouse, *names: str) -> Scope:
    return Scope(house.guild.id, frozenset(channel(house, name).id for name in names))


async def test_what_discord_finds_takes_part_in_the_ranking(house: HistoryHouse) -> None:
    readable = scope(house, "general", "repairs")
    question = "where is the samovar?"
    assert (await house.memory.recall(question, readable)).results == ()
    assert await house.sync.search.add_candidates(house.here, question, readable) == 2
    recall = await house.memory.recall(question, readable)
    assert recall.results[0].message.content == "the samovar is in the cellar"
    assert {result.message.content for result in recall.results} == {
        "the samovar is in the cellar",
        "a samovar repair costs ten",
    }
    assert channel(house, "repairs").id in await house.channels_known()
    assert len(house.discord.calls("GET", SEARCH)) == 1
    verified = await house.sync.verification.verify(result.message for result in recall.results)
    assert len(verified.current) == 2
    assert not house.discord.calls("GET", "/channels/*/messages"), "just seen: no need to look again"


async def test_nothing_outside_the_askers_channels_comes_in(house: HistoryHouse) -> None:
    many = Scope(house.guild.id, scope(house, "general").channel_ids | set(range(1, 200)))
    for asked in (scope(house, "general"), many):
        await house.sync.search.add_candidates(house.here, "samovar", asked)
        assert set((await house.stored()).values()) == {"the samovar is in the cellar"}
    assert await house.sync.search.add_candidates(house.here, "samovar", Scope(house.guild.id, frozenset())) == 0


async def test_a_guild_that_discord_still_indexes_is_asked_again_later(house: HistoryHouse) -> None:
    house.guild.search_index_ready = False
    readable = scope(house, "general")
    assert await house.sync.search.add_candidates(house.here, "samovar", readable) == 0
    house.guild.search_index_ready = True
    assert await house.sync.search.add_candidates(house.here, "samovar", readable) == 0
    assert len(house.discord.calls("GET", SEARCH)) == 1
    house.sync.search._not_before.clear()
    assert await house.sync.search.add_candidates(house.here, "samovar", readable) == 1


@pytest.mark.parametrize("fault", [Status(403), Status(503), RateLimited(5.0), Delay(5.0)])
async def test_a_search_that_fails_or_takes_long_only_adds_nothing(
    house: HistoryHouse, fault: Status | RateLimited | Delay
) -> None:
    house.sync.search._timeout_s = 0.2
    house.discord.faults.add("GET", SEARCH, fault)
    assert await house.sync.search.add_candidates(house.here, "samovar", scope(house, "general")) == 0


async def test_a_guild_that_does_not_want_its_history_read_is_not_searched(house: HistoryHouse) -> None:
    await house.sync.backfill.cancel(house.guild.id)
    assert await house.sync.search.add_candidates(house.here, "samovar", scope(house, "general")) == 0
    assert not house.discord.calls("GET", SEARCH)


async def test_a_complete_guild_is_not_searched(house: HistoryHouse) -> None:
    await house.sync.backfill.resume(house.guild.id)
    await house.sync.backfill.finished(house.guild.id)
    assert await house.sync.search.add_candidates(house.here, "samovar", scope(house, "general")) == 0
    assert not house.discord.calls("GET", SEARCH)


def test_the_longest_keywords_are_searched_for_and_names_only_if_nothing_else_is_left() -> None:
    assert search_words("who said that the samovar is broken?") == "samovar broken"
    assert search_words("what did ada say about kettles?", frozenset(["ada"])) == "kettles"
    assert search_words("ada?", frozenset(["ada"])) == "ada"


def test_the_request_names_what_the_scope_allows() -> None:
    asked = Scope(
        1,
        frozenset([7, 5]),
        author_ids=frozenset([9]),
        after=datetime(2025, 1, 1, tzinfo=UTC),
        has=frozenset(["code", "image"]),
    )
    parameters = search_parameters("tea", asked)
    assert [value for name, value in parameters if name == "channel_id"] == ["5", "7"]
    assert [value for name, value in parameters if name == "author_id"] == ["9"]
    assert [value for name, value in parameters if name == "has"] == ["image"]
    names = [name for name, _ in parameters]
    assert "min_id" in names
    assert "max_id" not in names
    assert "channel_id" not in [name for name, _ in search_parameters("tea", Scope(1, frozenset(range(1, 500))))]
