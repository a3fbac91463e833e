"""What the embedded engine finds, and the index that it rebuilds."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.memory.stores import sqlite_search, sqlite_vectors
from cogs.memory.stores.sqlite_connections import Connections
from cogs.memory.stores.sqlite_search import parse_terms
from cogs.memory.stores.term_budget import affordable
from cogs.memory.stores.unspaced_scripts import segments, split_term
from tests.stores.samples import GUILD, LOBBY, OTHER_GUILD, START, embedding, fill, message, scope, vector
from tests.stores.sqlite_folder import dense_ids, opened

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    import pytest


class TestIndexRebuild:
    async def test_changes_meanwhile_leave_neither_ghosts_nor_gaps(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = Connections.read

        async def read_slowly(self: Connections, sql: str, *arguments: Any, **options: Any) -> list[tuple[Any, ...]]:
            rows = await read(self, sql, *arguments, **options)
            if sql == sqlite_vectors._NEXT_BLOCK:
                await asyncio.sleep(0.003)  # time for others to change what was read
            return rows

        monkeypatch.setattr(sqlite_vectors, "_BLOCK", 25)
        monkeypatch.setattr(Connections, "read", read_slowly)
        rng = random.Random(0)
        async with opened(tmp_path) as store:
            await fill(store, [message(i, channel_id=rng.choice((LOBBY, 11, 12))) for i in range(1, 1500)])
        async with opened(tmp_path) as store:
            assert (await store.stats()).index_ready < 1
            assert len(await store.dense(scope(), vector(1), 5)) <= 5
            work: list[Coroutine[Any, Any, object]] = []
            for i in rng.sample(range(1, 1500), 300):
                if i % 3 == 0:
                    work.append(store.delete(GUILD, [i]))
                elif i % 3 == 1:
                    work.append(store.upsert([message(i, "edited", edited_at=START)]))
                else:
                    fresh = message(10_000 + i)
                    await store.upsert([fresh])
                    work.append(store.put_embeddings([embedding(fresh)]))
            await asyncio.gather(*work)
            waiting = {m.id for m in await store.claim_unembedded(10**6)}
            present = {m.id async for m in store.iterate(GUILD)}
            assert await dense_ids(store) == present - waiting
            index = store._vectors._current
            assert index is not None
            assert index[1].size() == len(present - waiting)
            assert waiting

    async def test_every_way_through_dense_agrees_with_brute_force(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_vectors, "EXACT_LIMIT", 10)
        monkeypatch.setattr(sqlite_vectors, "_OVERFETCH", (2, 3))
        async with opened(tmp_path) as store:
            everyone = [message(i, author_id=1 if i % 10 else 2, channel_id=10 + i % 3) for i in range(1, 600)]
            await fill(store, everyone)
            for author, after in ((1, 0), (2, 0), (2, 550), (1, 300)):
                where = scope(10, 12, author_ids=frozenset({author}), after=START + timedelta(minutes=after))
                inside = [
                    m.id for m in everyone if m.author_id == author and m.id >= after and m.channel_id in (10, 12)
                ]
                query = vector(after + author)
                best = sorted(inside, key=lambda i: -float(vector(i) @ query))[:20]
                hits = [hit.message_id for hit in await store.dense(where, query, 20)]
                assert set(hits) <= set(inside)
                assert len(hits) == len(best)
                assert len(set(hits) & set(best)) >= len(best) - 1

    async def test_an_entry_of_the_index_that_is_no_longer_true_is_not_shown(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as store:
            await fill(store, [message(1), message(2)])
            current = store._vectors._current
            assert current is not None
            ghost = vector(1)[None]
            current[1].add(GUILD, [LOBBY], [99], ghost)  # never stored
            current[1].add(GUILD, [LOBBY], [2], ghost)
            await store.upsert([message(3, channel_id=55)])
            await store.put_embeddings([embedding(message(3, channel_id=55), seed=1)])
            current[1].add(GUILD, [LOBBY], [3], ghost)  # stored, but in a channel that is not allowed
            assert {hit.message_id for hit in await store.dense(scope(LOBBY), vector(1), 5)} == {1, 2}


class TestQueries:
    async def test_an_id_of_another_guild_is_refused(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as store:
            await store.upsert([message(1)])
            result = await store.upsert([message(1, "taken over", guild_id=OTHER_GUILD), message(2)])
            assert (result.refused, result.inserted) == ((1,), (2,))
            assert await store.load(scope(guild=OTHER_GUILD), [1]) == {}

    async def test_the_work_list_and_the_neighbours_are_read_by_index(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as store:
            await fill(store, [message(1)])
            plans = {
                "SELECT m.id FROM messages m WHERE m.vector_space = 0 ORDER BY m.id DESC LIMIT 5": (
                    "messages_by_vector_space"
                ),
                "SELECT min(n.channel_id) FROM messages n WHERE n.guild_id = 1 AND n.channel_id > 5": (
                    "messages_by_channel"
                ),
            }
            for sql, index in plans.items():
                [row] = await store._connections.read(f"EXPLAIN QUERY PLAN {sql}")
                assert index in row[3]
                assert "SCAN" not in row[3]

    def test_rare_terms_are_asked_for_first_while_the_budget_lasts(self) -> None:
        assert affordable([900, 5, 0, 50], budget=100) == [1, 3]
        assert affordable([900, 800], budget=100) == [1]
        assert affordable([0, 0], budget=9) == []
        assert affordable([1] * 50, budget=100) == list(range(32))

    async def test_a_frequent_term_is_dropped_beside_a_rare_one_and_asked_for_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_search, "MATCH_BUDGET", 20)
        async with opened(tmp_path) as store:
            await store.upsert([message(i, "often", author_name=f"a{i}") for i in range(1, 100)])
            await store.upsert([message(200, "seldom", channel_id=11)])
            assert {h.message_id for h in await store.lexical(scope(), ["often", "seldom"], 99)} == {200}
            newest = {h.message_id for h in await store.lexical(scope(), ["often"], 99)}
            assert newest == set(range(80, 100))

    def test_terms_are_quoted_and_bounded(self) -> None:
        terms = parse_terms(['a"b', "a\x00b", *(f"w{i}" for i in range(99)), "", "!", "x" * 999])
        assert terms.words[:2] == ('"a""b"', '"a b"')
        assert len(terms.words) == 32
        assert parse_terms(["x" * 999]).words == ('"' + "x" * 200 + '"',)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.text(st.sampled_from("猫犬の手サーรัก 가a."), min_size=1, max_size=12), st.data())
    def test_every_part_of_a_run_is_found_in_its_segments(self, text: str, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, len(text) - 1))
        part = text[start : data.draw(st.integers(start + 1, len(text)))]
        tokens = segments(text).split()
        _, expressions = split_term(part)
        for expression in expressions:
            token = expression.strip('"* ')
            assert any(t.startswith(token) for t in tokens) if expression.endswith("*") else token in tokens
