"""What every store engine must find, asked through the protocol alone."""

from __future__ import annotations

import random
import string
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cogs.memory.records import Scope
from tests.stores.samples import (
    BOB,
    CELLAR,
    DIM,
    GARDEN,
    GUILD,
    LOBBY,
    OTHER_GUILD,
    START,
    embedding,
    fill,
    found,
    ids,
    in_scope,
    message,
    scope,
    vector,
)

if TYPE_CHECKING:
    from cogs.memory.stores import MemoryStore


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
            inside = [m.id for m in everyone if in_scope(m, where)]
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
