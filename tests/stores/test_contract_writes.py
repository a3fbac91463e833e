"""What every store engine must do with changes, asked through the protocol alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cogs.memory.records import MAX_ID, ChannelInfo, Neighbours, StoredMessage
from tests.stores.samples import (
    BOB,
    DIM,
    GARDEN,
    GUILD,
    LOBBY,
    OTHER_GUILD,
    OTHER_SPACE,
    SPACE,
    START,
    embed_all,
    embedding,
    fill,
    found,
    ids,
    message,
    scope,
    vector,
)

if TYPE_CHECKING:
    from cogs.memory.stores import MemoryStore


class TestUpsert:
    async def test_a_message_comes_back_as_it_was(self, store: MemoryStore) -> None:
        whole = StoredMessage(
            id=MAX_ID,
            guild_id=GUILD,
            channel_id=LOBBY,
            author_id=MAX_ID - 1,
            author_name="Zoë 🎉",
            content="line one\nline two \u202e \U0001f469\u200d\U0001f680 nul:\x00.",
            created_at=datetime(2031, 2, 3, 4, 5, 6, 789123, tzinfo=UTC),
            author_handle="zoe_",
            extra="cat.png A title",
            attachments=("cat.png", 'we"ird\ud800.txt'),
            reply_to=5,
            edited_at=datetime(2031, 2, 3, 4, 5, 7, 1, tzinfo=UTC),
        )
        result = await store.upsert([whole])
        row = (await store.load(scope(), [MAX_ID]))[MAX_ID]
        assert result.inserted == (MAX_ID,)
        assert row.message == whole
        assert row.message.content_hash == whole.content_hash

    async def test_the_same_again_changes_nothing(self, store: MemoryStore) -> None:
        await fill(store, [message(1), message(2)])
        result = await store.upsert([message(1), message(2)])
        assert result.unchanged == (1, 2)
        assert not result.inserted
        assert not result.changed
        assert await store.claim_unembedded(9) == []

    async def test_an_edit_replaces_and_awaits_a_new_vector(self, store: MemoryStore) -> None:
        await fill(store, [message(1, "the old text"), message(2)])
        edited = message(1, "quite different", edited_at=START)
        result = await store.upsert([edited])
        row = (await store.load(scope(), [1]))[1]
        assert result.changed == (1,)
        assert (row.message, row.vector, row.sketch) == (edited, None, b"")
        assert await store.claim_unembedded(9) == [edited]
        assert ids(await store.dense(scope(), vector(1), 9)) == [2]
        assert await found(store, "old") == set()
        assert await found(store, "different") >= {1}

    async def test_an_edit_beside_the_text_keeps_the_vector(self, store: MemoryStore) -> None:
        await fill(store, [message(1)])
        result = await store.upsert([message(1, edited_at=START, attachments=("a.png",))])
        assert result.changed == (1,)
        assert await store.claim_unembedded(9) == []
        assert ids(await store.dense(scope(), vector(1), 9)) == [1]

    async def test_an_older_duplicate_does_not_overwrite_a_newer_edit(self, store: MemoryStore) -> None:
        newest = message(1, "newest", edited_at=START + timedelta(hours=2))
        await store.upsert([newest])
        result = await store.upsert([message(1, "older", edited_at=START + timedelta(hours=1))])
        assert result.unchanged == (1,)
        assert (await store.upsert([message(1, "oldest")])).unchanged == (1,)
        assert (await store.load(scope(), [1]))[1].message == newest

    async def test_of_one_id_in_a_batch_the_latest_edit_counts(self, store: MemoryStore) -> None:
        newest = message(1, "newest", edited_at=START + timedelta(hours=2))
        result = await store.upsert([message(1, "first"), newest, message(1, "older", edited_at=START)])
        assert result.inserted == (1,)
        assert (await store.load(scope(), [1]))[1].message == newest

    async def test_an_id_that_another_guild_claims_is_not_touched(self, store: MemoryStore) -> None:
        await store.upsert([message(1, "mine")])
        result = await store.upsert([message(1, "taken over", guild_id=OTHER_GUILD), message(2)])
        assert 2 in result.inserted
        assert (await store.load(scope(), [1]))[1].message == message(1, "mine")
        assert await found(store, "mine") == {1, 2}, "message 2 follows message 1"
        assert await found(store, "mine", where=scope(guild=OTHER_GUILD)) == set()
        await store.delete(OTHER_GUILD, [1])
        assert set(await store.load(scope(), [1])) == {1}

    async def test_half_a_character_is_refused_with_the_whole_batch(self, store: MemoryStore) -> None:
        for field in ("content", "author_name", "author_handle", "extra"):
            with pytest.raises(ValueError, match="not Unicode"):
                await store.upsert([message(1), message(2, **{"content": "ok", field: "\ud800"})])
        assert (await store.stats()).messages == 0

    async def test_nothing_is_nothing(self, store: MemoryStore) -> None:
        result = await store.upsert([])
        assert (result.inserted, result.changed, result.unchanged, result.refused) == ((), (), (), ())
        assert await store.put_embeddings([]) == 0
        assert await store.delete(GUILD, []) == 0
        await store.put_channels([])

    async def test_a_cancelled_caller_does_not_halve_a_write(self, store: MemoryStore) -> None:
        await fill(store, [message(i) for i in range(1, 50)])
        writing = asyncio.create_task(store.delete(GUILD, range(1, 49)))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await store.upsert([message(50)])
        assert (await store.stats()).messages == 2
        assert ids(await store.dense(scope(), vector(49), 99)) == [49]


class TestDelete:
    async def test_a_deleted_message_is_found_by_nothing(self, store: MemoryStore) -> None:
        await fill(store, [message(1, "first"), message(2, "zebra", reply_to=1), message(3, "last", reply_to=2)])
        assert await store.delete(GUILD, [2, 77]) == 1
        assert set(await store.load(scope(), [1, 2, 3])) == {1, 3}
        assert await store.filter(scope(), [1, 2, 3]) == {1, 3}
        assert await found(store, "zebra") == set()
        assert await found(store, "first") == {1, 3}, "message 3 now follows message 1"
        assert set(ids(await store.dense(scope(), vector(2), 9))) == {1, 3}
        around = await store.neighbours(scope(), [1, 2, 3])
        assert around == {1: Neighbours(next=3), 3: Neighbours(previous=1)}

    async def test_a_deleted_message_is_never_stored_again(self, store: MemoryStore) -> None:
        await store.upsert([message(1)])
        await store.delete(GUILD, [1, 2])
        result = await store.upsert([message(1), message(2), message(3)])
        assert (set(result.refused), result.inserted) == ({1, 2}, (3,))
        assert (await store.stats()).tombstones == 2

    async def test_a_guild_deletes_only_its_own(self, store: MemoryStore) -> None:
        await store.upsert([message(1)])
        assert await store.delete(OTHER_GUILD, [1, 2]) == 0
        assert (await store.upsert([message(1), message(2)])).refused == ()

    async def test_a_number_that_is_no_id_is_refused(self, store: MemoryStore) -> None:
        for wrong in (0, -1, 2**63):
            with pytest.raises(ValueError, match="an id must be"):
                await store.delete(GUILD, [1, wrong])
        assert (await store.stats()).tombstones == 0

    async def test_a_vector_that_comes_after_the_deletion_is_refused(self, store: MemoryStore) -> None:
        await store.upsert([message(1), message(2)])
        await store.delete(GUILD, [1])
        assert await store.put_embeddings([embedding(message(1)), embedding(message(2))]) == 1
        assert ids(await store.dense(scope(), vector(1), 9)) == [2]


class TestErase:
    async def test_a_forgotten_author_is_gone_and_his_past_stays_out(self, store: MemoryStore) -> None:
        await fill(store, [message(1, "before"), message(2, "pineapple", **BOB), message(3, "after")])
        assert await store.erase(GUILD, author_id=200) == 1
        assert await found(store, "pineapple") == set()
        assert await found(store, "Bob") == set()
        assert set(await store.authors(GUILD)) == {100}
        future = datetime.now(UTC) + timedelta(days=1)
        result = await store.upsert(
            [message(2, "pineapple", **BOB), message(4, "never seen", **BOB), message(5, created_at=future, **BOB)]
        )
        assert (set(result.refused), result.inserted) == ({2, 4}, (5,))

    async def test_his_words_elsewhere_are_not_touched(self, store: MemoryStore) -> None:
        await store.upsert([message(1, **BOB), message(2, guild_id=OTHER_GUILD, **BOB), message(3)])
        assert await store.erase(GUILD, author_id=200) == 1
        assert (await store.upsert([message(4, guild_id=OTHER_GUILD, **BOB)])).inserted == (4,)
        assert set(await store.load(scope(guild=OTHER_GUILD), [1, 2, 4])) == {2, 4}

    async def test_a_channel(self, store: MemoryStore) -> None:
        await store.put_channels([ChannelInfo(GARDEN, GUILD, "garden"), ChannelInfo(LOBBY, GUILD, "lobby")])
        await fill(store, [message(1), message(2, channel_id=GARDEN), message(3, channel_id=GARDEN, author_id=5)])
        assert await store.erase(GUILD, author_id=5, channel_id=GARDEN) == 1
        assert await store.erase(GUILD, channel_id=GARDEN) == 1
        assert await store.channels(GUILD) == [ChannelInfo(LOBBY, GUILD, "lobby")]
        assert ids(await store.dense(scope(), vector(2), 9)) == [1]
        assert (await store.upsert([message(2, channel_id=GARDEN), message(4, author_id=5)])).refused == (2,)

    async def test_a_guild(self, store: MemoryStore) -> None:
        await fill(store, [message(1), message(2, channel_id=GARDEN), message(3, guild_id=OTHER_GUILD)])
        await store.put_channels([ChannelInfo(GARDEN, GUILD, "garden")])
        assert await store.erase(GUILD) == 2
        assert await store.channels(GUILD) == []
        assert (await store.stats(GUILD)).messages == 0
        assert (await store.stats()).messages == 1


class TestEmbeddings:
    async def test_the_newest_are_claimed_first_until_they_have_vectors(self, store: MemoryStore) -> None:
        await store.upsert([message(i) for i in (3, 1, 5, 2, 4)])
        assert [m.id for m in await store.claim_unembedded(2)] == [5, 4]
        assert await store.put_embeddings([embedding(message(5)), embedding(message(3))]) == 2
        assert [m.id for m in await store.claim_unembedded(9)] == [4, 2, 1]
        assert await store.claim_unembedded(0) == []

    async def test_vector_and_sketch_come_back_as_they_were(self, store: MemoryStore) -> None:
        await store.upsert([message(1)])
        await store.put_embeddings([embedding(message(1))])
        row = (await store.load(scope(), [1]))[1]
        assert row.vector is not None
        assert np.array_equal(row.vector, vector(1).astype(np.float16))
        assert row.sketch == (1).to_bytes(8, "big")

    @pytest.mark.parametrize("lengths", [(0,), (0, 0), (0, 3, 1), (2, 0, 1, 0)])
    async def test_sketches_are_as_long_as_they_were(self, store: MemoryStore, lengths: tuple[int, ...]) -> None:
        messages = {number: message(number) for number in range(1, len(lengths) + 1)}
        await store.upsert(list(messages.values()))
        sketches = {i: bytes([i]) * (length * SPACE.sketch_dim // 8) for i, length in enumerate(lengths, start=1)}
        await store.put_embeddings([replace(embedding(m), sketch=sketches[i]) for i, m in messages.items()])
        rows = await store.load(scope(), list(messages))
        assert {i: row.sketch for i, row in rows.items()} == sketches
        for i, row in rows.items():
            assert row.vector is not None
            assert np.array_equal(row.vector, vector(i).astype(np.float16))

    async def test_a_vector_of_a_text_that_changed_is_refused(self, store: MemoryStore) -> None:
        stale = embedding(message(1, "as it was"))
        await store.upsert([message(1, "as it was")])
        await store.upsert([message(1, "as it is", edited_at=START)])
        assert await store.put_embeddings([stale, embedding(message(99))]) == 0
        assert [m.id for m in await store.claim_unembedded(9)] == [1]

    async def test_a_bad_vector_is_refused_with_the_whole_batch(self, store: MemoryStore) -> None:
        await store.upsert([message(1), message(2)])
        good = embedding(message(1))
        not_a_number = vector(2).astype(np.float16)
        not_a_number[3] = np.nan
        for bad in (not_a_number, np.full(DIM, np.inf, np.float16), vector(2, DIM + 1).astype(np.float16)):
            with pytest.raises(ValueError, match="vector"):
                await store.put_embeddings([good, replace(embedding(message(2)), vector=bad)])
        with pytest.raises(ValueError, match="sketch"):
            await store.put_embeddings([good, replace(embedding(message(2)), sketch=b"123")])
        assert (await store.stats()).awaiting == 2

    async def test_vectors_of_another_space_are_invisible(self, store: MemoryStore) -> None:
        await fill(store, [message(1), message(2)])
        await store.use_space(OTHER_SPACE)
        assert await store.dense(scope(), vector(1), 9) == []
        assert (await store.load(scope(), [1]))[1].vector is None
        assert [m.id for m in await store.claim_unembedded(9)] == [2, 1]
        await store.put_embeddings([embedding(message(2), seed=7)])
        assert ids(await store.dense(scope(), vector(7), 9)) == [2]
        assert [m.id for m in await store.claim_unembedded(9)] == [1]

    async def test_a_space_that_is_used_again_needs_only_what_it_lacks(self, store: MemoryStore) -> None:
        await fill(store, [message(1), message(2)])
        await store.use_space(OTHER_SPACE)
        await store.put_embeddings([embedding(message(2), seed=7)])
        await store.use_space(SPACE)
        await embed_all(store)
        assert ids(await store.dense(scope(), vector(2), 1)) == [2]
        assert ids(await store.dense(scope(), vector(1), 1)) == [1]

    async def test_a_space_of_other_dimensions(self, store: MemoryStore) -> None:
        await fill(store, [message(1)])
        await store.use_space(replace(SPACE, dim=3, model="small"))
        with pytest.raises(ValueError, match="shape"):
            await store.put_embeddings([embedding(message(1))])
        await store.put_embeddings([replace(embedding(message(1)), vector=vector(1, 3).astype(np.float16))])
        assert ids(await store.dense(scope(), vector(1, 3), 9)) == [1]
