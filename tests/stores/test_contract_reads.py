"""What every store engine must tell, and how it must end, asked through the protocol alone."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cogs.memory.exceptions import StoreError
from cogs.memory.records import ChannelInfo, Neighbours
from tests.stores.samples import (
    CELLAR,
    GARDEN,
    GUILD,
    LOBBY,
    OTHER_GUILD,
    SPACE,
    START,
    embed_all,
    embedding,
    fill,
    ids,
    message,
    scope,
    vector,
)

if TYPE_CHECKING:
    from cogs.memory.stores import MemoryStore


class TestNeighbours:
    async def test_before_after_and_replies_within_the_channel(self, store: MemoryStore) -> None:
        await store.upsert(
            [
                message(1),
                message(2, channel_id=GARDEN),
                message(3),
                message(4, reply_to=1),
                message(5, reply_to=1),
                message(6, reply_to=2),
                message(7, channel_id=GARDEN, reply_to=4),
                message(8, reply_to=999),
            ]
        )
        around = await store.neighbours(scope(), [1, 4, 6, 7, 8, 404])
        assert around == {
            1: Neighbours(next=3, answer=4),
            4: Neighbours(previous=3, before_previous=1, next=5, reply_to=1),
            6: Neighbours(previous=5, before_previous=4, next=8),
            7: Neighbours(previous=2),
            8: Neighbours(previous=6, before_previous=5),
        }

    async def test_a_channel_out_of_scope_is_not_there(self, store: MemoryStore) -> None:
        await store.upsert([message(1), message(2), message(3, channel_id=GARDEN)])
        assert await store.neighbours(scope(GARDEN), [1, 2, 3]) == {3: Neighbours()}


class TestSurroundings:
    async def test_what_stands_beside_the_best_hits_is_looked_at_like_a_hit(self, store: MemoryStore) -> None:
        everyone = [message(i, reply_to=4 if i == 9 else None) for i in range(1, 12)]
        await store.use_space(SPACE)
        await store.upsert(everyone)
        await embed_all(store)
        found = await store.surroundings(scope(), [4, 11, 404], 1)
        assert found.neighbours == await store.neighbours(scope(), [3, 4, 5, 9, 11])
        rows = await store.load(scope(), [m.id for m in everyone])
        assert found.sketches == {i: rows[i].sketch for i in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)}

    async def test_a_filter_holds_for_candidates_and_not_for_their_context(self, store: MemoryStore) -> None:
        await store.upsert([message(1), message(2, author_id=200), message(3), message(4, author_id=200)])
        found = await store.surroundings(scope(author_ids=frozenset({100})), [3], 5)
        assert found.neighbours == {3: Neighbours(previous=2, before_previous=1, next=4)}
        assert found.sketches == dict.fromkeys((1, 2, 3, 4), b"")

    async def test_nothing_comes_from_a_channel_out_of_scope(self, store: MemoryStore) -> None:
        await store.upsert([message(1), message(2), message(3, channel_id=GARDEN)])
        assert await store.surroundings(scope(GARDEN), [1, 2, 3], 5) == ({3: Neighbours()}, {3: b""})


class TestOverviews:
    async def test_names_of_authors_newest_first(self, store: MemoryStore) -> None:
        await store.upsert(
            [
                message(1, author_name="Al", author_handle="alice"),
                message(2, author_name="Alice B", author_handle="alice"),
                message(3, author_name="Bob", author_id=200),
                message(4, author_name="Carl", author_id=300, guild_id=OTHER_GUILD),
                message(5, author_name="Al", author_handle="alice"),
                message(6, author_name="Al", author_handle="al_2"),
            ]
        )
        assert await store.authors(GUILD) == {100: ("Al", "al_2", "alice", "Alice B"), 200: ("Bob",)}
        await store.delete(GUILD, [6, 5, 3])
        assert await store.authors(GUILD) == {100: ("Alice B", "alice", "Al")}
        assert await store.authors(404) == {}

    async def test_channels_that_hold_messages_or_have_names(self, store: MemoryStore) -> None:
        await store.upsert([message(1), message(2, channel_id=GARDEN)])
        await store.put_channels([ChannelInfo(GARDEN, GUILD, "gardn"), ChannelInfo(CELLAR, GUILD, "cellar", GARDEN)])
        await store.put_channels([ChannelInfo(GARDEN, GUILD, "garden"), ChannelInfo(LOBBY, OTHER_GUILD, "elsewhere")])
        assert await store.channels(GUILD) == [
            ChannelInfo(LOBBY, GUILD, ""),
            ChannelInfo(GARDEN, GUILD, "garden"),
            ChannelInfo(CELLAR, GUILD, "cellar", GARDEN),
        ]

    async def test_stats_of_one_guild_and_of_all(self, store: MemoryStore) -> None:
        empty = await store.stats()
        assert (empty.messages, empty.oldest, empty.index_ready) == (0, None, 1.0)
        await fill(store, [message(1), message(2, channel_id=GARDEN, author_id=7)])
        await store.upsert([message(3, guild_id=OTHER_GUILD)])
        await store.delete(GUILD, [99])
        one, both = await store.stats(GUILD), await store.stats()
        assert (one.messages, one.embedded, one.awaiting, one.guilds, one.channels, one.authors) == (2, 2, 0, 1, 2, 2)
        assert (both.messages, both.embedded, both.awaiting, both.guilds, both.channels) == (3, 2, 1, 2, 2)
        assert (one.oldest, one.newest) == (START + timedelta(minutes=1), START + timedelta(minutes=2))
        assert (one.tombstones, both.tombstones, one.index_ready) == (1, 1, 1.0)
        assert one.bytes_on_disk > 0

    async def test_iterate_gives_all_in_order(self, store: MemoryStore) -> None:
        everyone = [message(i, author_id=100 + i % 3, guild_id=1 + i % 2) for i in range(1, 1300)]
        await store.upsert(random.Random(0).sample(everyone, len(everyone)))
        assert [m async for m in store.iterate(GUILD)] == [m for m in everyone if m.guild_id == GUILD]
        assert [m async for m in store.iterate(GUILD, author_id=101)] == [
            m for m in everyone if (m.guild_id, m.author_id) == (GUILD, 101)
        ]

    async def test_settings(self, store: MemoryStore) -> None:
        assert await store.get_setting(0, "a") is None
        await store.put_setting(0, "a", "1")
        await store.put_setting(GUILD, "a", "2")
        await store.put_setting(0, "a", "3")
        assert (await store.get_setting(0, "a"), await store.get_setting(GUILD, "a")) == ("3", "2")
        await store.put_setting(0, "a", None)
        assert await store.get_setting(0, "a") is None


class TestLifetime:
    async def test_a_closed_store_says_so(self, store: MemoryStore) -> None:
        await store.close()
        await store.close()
        with pytest.raises(StoreError, match="closed"):
            await store.upsert([message(1)])
        with pytest.raises(StoreError, match="closed"):
            await store.lexical(scope(), ["a"], 1)
        with pytest.raises(StoreError, match="closed"):
            await store.dense(scope(), vector(1), 1)

    async def test_close_waits_for_what_was_begun(self, store: MemoryStore) -> None:
        writing = [asyncio.create_task(store.upsert([message(i)])) for i in range(1, 20)]
        await asyncio.sleep(0)
        await store.close()
        assert [r.inserted for r in await asyncio.gather(*writing)] == [(i,) for i in range(1, 20)]

    async def test_many_at_once_leave_the_last_state(self, store: MemoryStore) -> None:
        everyone = [message(i, f"text {i}") for i in range(1, 200)]
        await store.upsert(everyone)
        rng = random.Random(0)
        gone = set(rng.sample(range(1, 200), 60))
        edited = {i: message(i, f"new {i}", edited_at=START) for i in set(range(1, 200, 7)) - gone}
        work = [
            *(
                store.put_embeddings([embedding(m) for m in everyone[start : start + 10]])
                for start in range(0, 199, 10)
            ),
            *(store.delete(GUILD, [i]) for i in gone),
            *(store.upsert([m]) for m in edited.values()),
            *(store.dense(scope(), vector(i), 5) for i in range(30)),
            *(store.lexical(scope(), ["text"], 5) for _ in range(10)),
        ]
        rng.shuffle(work)
        await asyncio.gather(*work)
        await embed_all(store)
        expected = {m.id: edited.get(m.id, m) for m in everyone if m.id not in gone}
        assert set(ids(await store.dense(scope(), vector(0), 999))) == set(expected)
        assert {i: row.message for i, row in (await store.load(scope(), range(200))).items()} == expected
