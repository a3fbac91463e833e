"""What every store engine must do, asked through the protocol alone."""

from __future__ import annotations

import asyncio
import random
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cogs.memory.exceptions import StoreError
from cogs.memory.records import MAX_ID, ChannelInfo, Neighbours, Scope, StoredMessage
from tests.stores.samples import (
    BOB,
    CELLAR,
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
    message,
    scope,
    vector,
)

if TYPE_CHECKING:
    from cogs.memory.records import Hit
    from cogs.memory.stores import MemoryStore


def ids(hits: list[Hit]) -> list[int]:
    return [hit.message_id for hit in hits]


async def found(store: MemoryStore, *terms: str, where: Scope | None = None) -> set[int]:
    return set(ids(await store.lexical(where or scope(), terms, 100)))


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

    async def test_an_id_of_another_guild_is_refused(self, store: MemoryStore) -> None:
        await store.upsert([message(1)])
        result = await store.upsert([message(1, "taken over", guild_id=OTHER_GUILD), message(2)])
        assert (result.refused, result.inserted) == ((1,), (2,))
        assert (await store.load(scope(), [1]))[1].message == message(1)
        assert await store.load(scope(guild=OTHER_GUILD), [1]) == {}

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


class TestDense:
    async def test_scores_are_cosines_and_best_comes_first(self, store: MemoryStore) -> None:
        await fill(store, [message(i) for i in range(1, 40)])
        hits = await store.dense(scope(), 5 * vector(7), 10)
        assert (hits[0].message_id, len(hits)) == (7, 10)
        assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
        for hit in hits:
            assert hit.score == pytest.approx(float(vector(7) @ vector(hit.message_id)), abs=2e-3)

    async def test_it_agrees_with_brute_force_in_every_scope(self, store: MemoryStore) -> None:
        rng = random.Random(0)
        everyone = [
            message(
                i,
                "`code` https://x.y" if rng.random() < 0.1 else "plain",
                channel_id=rng.choice((LOBBY, GARDEN, CELLAR)),
                author_id=rng.choice((1, 1, 1, 2, 3)),
            )
            for i in range(1, 400)
        ]
        await fill(store, everyone)
        scopes = [
            scope(),
            scope(GARDEN),
            scope(author_ids=frozenset({2, 3})),
            scope(LOBBY, CELLAR, author_ids=frozenset({2})),
            scope(after=START + timedelta(minutes=390)),
            scope(before=START + timedelta(minutes=100), has=frozenset({"code", "link"})),
            scope(author_ids=frozenset()),
        ]
        for where in scopes:
            query = vector(rng.randrange(10**6))
            inside = [m.id for m in everyone if _in_scope(m, where)]
            best = sorted(inside, key=lambda i: -float(vector(i).astype(np.float16).astype(np.float32) @ query))[:25]
            assert ids(await store.dense(where, query, 25)) == best
            assert await store.filter(where, [m.id for m in everyone]) == set(inside)

    async def test_a_bad_query_vector_is_refused(self, store: MemoryStore) -> None:
        await fill(store, [message(1)])
        for bad in (vector(1, DIM + 1), np.zeros(DIM, np.float32), np.full(DIM, np.nan, np.float32)):
            with pytest.raises(ValueError, match="query vector"):
                await store.dense(scope(), bad, 5)


class TestLexical:
    async def test_words_phrases_and_forms(self, store: MemoryStore) -> None:
        await store.upsert(
            [
                message(1, "We deployed the server to Zürich"),
                message(2, "nothing here", channel_id=GARDEN, extra="invoice.pdf"),
                message(3, "server new york, not york new", channel_id=CELLAR),
            ]
        )
        assert await found(store, "deploying") == {1}
        assert await found(store, "ZURICH") == {1}
        assert await found(store, "servers") == {1, 3}
        assert await found(store, "invoice") == {2}
        assert await found(store, "new york") == {3}
        assert await found(store, "york server") == set()
        assert await found(store, "zurich", "invoice", "nowhere") == {1, 2}

    async def test_scores_are_positive_and_best_comes_first(self, store: MemoryStore) -> None:
        await store.upsert([message(i, "filler words only", channel_id=GARDEN) for i in range(10, 40)])
        await store.upsert([message(1, "apple"), message(2, "apple and pear"), message(3, "just a pear now")])
        hits = await store.lexical(scope(), ["apple", "pear"], 10)
        assert ids(hits)[0] == 2
        assert all(hit.score > 0 for hit in hits)
        assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
        assert ids(await store.lexical(scope(), ["apple", "pear"], 1)) == [2]

    async def test_the_author_and_the_message_before_count_too(self, store: MemoryStore) -> None:
        await store.upsert(
            [
                message(1, "what is the wifi password?"),
                message(2, "swordfish", author_name="Bobby", author_handle="bob_99"),
                message(3, "unrelated", channel_id=GARDEN),
            ]
        )
        assert await found(store, "wifi") == {1, 2}
        assert await found(store, "bobby") == {2}
        assert await found(store, "bob_99") == {2}

    async def test_history_that_is_imported_backwards_finds_its_order(self, store: MemoryStore) -> None:
        for i in (5, 3, 1, 4, 2):
            await store.upsert([message(i, f"word{i}")])
        for i in range(1, 5):
            assert await found(store, f"word{i}") == {i, i + 1}
        await store.delete(GUILD, [3])
        assert await found(store, "word2") == {2, 4}

    @pytest.mark.parametrize(
        ("content", "term"),
        [
            ("昨天我们升级了服务器，今天没有问题", "服务器"),
            ("昨天我们升级了服务器", "升级"),
            ("昨天我们升级了服务器", "器"),
            ("昨日サーバーを再起動しました", "再起動"),
            ("昨日サーバーを再起動しました", "サーバー"),
            ("ฉันรักแมวและกาแฟ", "กาแฟ"),
            ("서버가 느려요", "서버"),
            ("use Docker部署 please", "docker部署"),
            ("𠮷野家で食べた", "𠮷野家"),
        ],
    )
    async def test_scripts_without_spaces(self, store: MemoryStore, content: str, term: str) -> None:
        await store.upsert([message(1, content), message(2, "Latin only", channel_id=GARDEN)])
        assert await found(store, term) == {1}
        assert await found(store, "猫猫") == set()

    async def test_an_author_named_in_such_a_script(self, store: MemoryStore) -> None:
        await store.upsert([message(1, "hi", author_name="田中太郎"), message(2, "no", channel_id=GARDEN)])
        assert await found(store, "太郎") == {1}

    async def test_a_message_that_moves_leaves_no_trace_where_it_was(self, store: MemoryStore) -> None:
        await fill(store, [message(i, f"word{i}") for i in range(1, 5)] + [message(6, "x", channel_id=GARDEN)])
        await store.upsert([message(2, "word2", channel_id=GARDEN)])
        assert await found(store, "word1") == {1, 3}
        assert await found(store, "word2") == {2, 6}
        assert ids(await store.dense(scope(LOBBY), vector(2), 9)).count(2) == 0
        await store.delete(GUILD, [1, 2, 3])
        assert await found(store, "word1", "word2", "word3") == set()

    async def test_the_scope_holds(self, store: MemoryStore) -> None:
        await store.upsert(
            [
                message(1, "apple"),
                message(2, "apple", channel_id=GARDEN, **BOB),
                message(3, "apple https://a.b", channel_id=CELLAR, attachments=("a.PNG",)),
                message(4, "apple", guild_id=OTHER_GUILD),
            ]
        )
        assert await found(store, "apple") == {1, 2, 3}
        assert await found(store, "apple", where=scope(GARDEN, CELLAR)) == {2, 3}
        assert await found(store, "apple", where=scope(author_ids=frozenset({200}))) == {2}
        assert await found(store, "apple", where=scope(after=START + timedelta(minutes=2))) == {2, 3}
        assert await found(store, "apple", where=scope(before=START + timedelta(minutes=2))) == {1}
        assert await found(store, "apple", where=scope(has=frozenset({"link", "image", "file"}))) == {3}
        assert await found(store, "apple", where=scope(has=frozenset({"code"}))) == set()
        with pytest.raises(ValueError, match="has must be of"):
            await found(store, "apple", where=scope(has=frozenset({"sound"})))

    async def test_no_input_breaks_the_query(self, store: MemoryStore) -> None:
        await store.upsert([message(1, 'c++ and "quotes" author:x NEAR(a b) -not'), message(2, "a* OR ^b")])
        rng = random.Random(0)
        alphabet = string.printable + "\x00\ud800\udfff“”´`ßİıé\u0301猫猫の\u0e31\u200d🎉" + '"*^:(){}-+' * 6
        words = ["AND", "OR", "NOT", "NEAR", '"', "author", "content:", "segments", "猫"]

        def hostile() -> str:
            if rng.random() < 0.3:
                return " ".join(rng.choices(words, k=rng.randrange(6)))
            return "".join(rng.choices(alphabet, k=rng.randrange(40)))

        for _ in range(600):
            await store.lexical(scope(), [hostile() for _ in range(32)], 10)
        for _ in range(800):
            await store.lexical(scope(), [hostile()], 10)
        assert await found(store, "c++") == {1, 2}
        assert await found(store, 'and "quotes"') == {1, 2}
        assert await found(store, "x" * 6000, "quotes " * 1000) == set()

    async def test_nothing_to_look_for_finds_nothing(self, store: MemoryStore) -> None:
        await store.upsert([message(1, "🎉 !!! 🎉")])
        for terms in ([], [""], ["  "], ["🎉"], ["!!!"], ["\x00"], ["\ud800"]):
            assert await store.lexical(scope(), terms, 9) == []
        assert await store.lexical(scope(), ["alice"], 0) == []


class TestScope:
    async def test_an_empty_channel_set_reads_nothing(self, store: MemoryStore) -> None:
        await fill(store, [message(1, "apple"), message(2, reply_to=1)])
        nothing = Scope(GUILD, frozenset())
        assert await store.dense(nothing, vector(1), 9) == []
        assert await store.lexical(nothing, ["apple"], 9) == []
        assert await store.load(nothing, [1, 2]) == {}
        assert await store.filter(nothing, [1, 2]) == set()
        assert await store.neighbours(nothing, [1, 2]) == {}

    async def test_the_same_text_in_two_guilds_never_crosses(self, store: MemoryStore) -> None:
        here = [message(i, "the same words") for i in range(1, 20)]
        there = [message(100 + i, "the same words", guild_id=OTHER_GUILD) for i in range(1, 20)]
        await store.upsert(here + there)
        await store.put_embeddings([embedding(m, seed=5) for m in here + there])
        for guild, own in ((GUILD, here), (OTHER_GUILD, there)):
            expected = {m.id for m in own}
            every = [m.id for m in here + there]
            assert set(ids(await store.dense(scope(guild=guild), vector(5), 99))) == expected
            assert await found(store, "same", where=scope(guild=guild)) == expected
            assert set(await store.load(scope(guild=guild), every)) == expected
            assert await store.filter(scope(guild=guild), every) == expected
            around = await store.neighbours(scope(guild=guild), every)
            assert {i for n in around.values() for i in n.ids()} | set(around) == expected

    async def test_load_ignores_the_filters_but_not_the_channels(self, store: MemoryStore) -> None:
        await store.upsert([message(1), message(2, channel_id=GARDEN)])
        where = scope(LOBBY, author_ids=frozenset({999}), after=START + timedelta(days=9))
        assert set(await store.load(where, [1, 2])) == {1}

    async def test_numbers_that_are_no_ids_are_not_found(self, store: MemoryStore) -> None:
        await store.upsert([message(1)])
        assert set(await store.load(scope(), [1, 0, -5, 2**63, 2**70])) == {1}
        assert await store.filter(Scope(2**63, frozenset({LOBBY, 2**64})), [1]) == set()


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


def _in_scope(m: StoredMessage, where: Scope) -> bool:
    facts = {"code": "`" in m.content, "link": "https" in m.content}
    return (
        m.channel_id in where.channel_ids
        and (where.author_ids is None or m.author_id in where.author_ids)
        and (where.after is None or m.created_at >= where.after)
        and (where.before is None or m.created_at < where.before)
        and all(facts[name] for name in where.has)
    )
