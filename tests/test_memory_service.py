"""Recall end to end: real store, real index, real embedder, real ranking."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cogs.memory.exceptions import InvalidQuery
from cogs.memory.recall_pipeline import AT_ONCE, CROWD, CROWDED
from cogs.memory.records import Scope
from tests.conftest import CHANNEL, GUILD, said
from tests.waiting import until

if TYPE_CHECKING:
    from cogs.memory.embedders import EncodedQuery
    from cogs.memory.memory_service import MemoryService
    from cogs.memory.records import Space
    from cogs.memory.reranker_service import Order
    from cogs.memory.rerankers.candidate_pool import CandidatePool, Shortlist

OTHER = 21
SCOPE = Scope(GUILD, frozenset([CHANNEL]))
CHAT = [
    said(1, "who broke the samovar?", author="Tess"),
    said(2, "me, sorry. dropped it while cleaning", author="dunk"),
    said(3, "we meet on thursday at eight for the board game evening", author="Tess"),
    said(4, "the router needs port 8443 open, otherwise the vpn drops", author="Mia"),
    said(5, "my sister is allergic to hazelnuts, so no nutella cake please", author="Mia"),
    said(6, "ok, lemon cake then", author="dunk", reply_to=5),
    said(7, "das Treffen ist jetzt am Freitag", author="Jörg"),
    said(8, "the secret password is swordfish", author="Tess", channel_id=OTHER),
]


@pytest.fixture
async def filled(memory: MemoryService) -> MemoryService:
    await memory.remember(CHAT)
    await memory.queue.embedded()
    return memory


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("when is the board game evening", 3),
        ("which port has to be open for the vpn?", 4),
        ("who has a nut allergy", 5),
        ("wann ist das Treffen", 7),
    ],
)
async def test_the_answer_comes_first(filled: MemoryService, query: str, answer: int) -> None:
    recall = await filled.recall(query, SCOPE)
    assert recall.results[0].message.id == answer


async def test_only_the_scope_is_searched_and_shown(filled: MemoryService) -> None:
    found = await filled.recall("what is the secret password", SCOPE, limit=50)
    assert 8 not in {i for r in found.results for i in (r.message.id, *(m.id for m in (*r.before, *r.after)))}
    nothing = await filled.recall("password", Scope(GUILD, frozenset()))
    assert nothing.results == ()
    elsewhere = await filled.recall("password", Scope(GUILD + 1, frozenset([CHANNEL, OTHER])))
    assert elsewhere.results == ()


async def test_a_filter_holds_for_every_result(filled: MemoryService) -> None:
    mia = CHAT[4].author_id
    recall = await filled.recall("cake", Scope(GUILD, frozenset([CHANNEL]), author_ids=frozenset([mia])), limit=50)
    assert {result.message.author_id for result in recall.results} == {mia}
    later = await filled.recall("cake", Scope(GUILD, frozenset([CHANNEL]), after=CHAT[5].created_at), limit=50)
    assert min(result.message.id for result in later.results) >= 6


async def test_results_come_with_what_was_said_around_them(filled: MemoryService) -> None:
    recall = await filled.recall("nut allergy", SCOPE)
    [result] = [r for r in recall.results if r.message.id == 5]
    assert [m.id for m in result.before] == [3, 4]
    assert [m.id for m in result.after] == [6]


async def test_the_trace_tells_what_was_done(filled: MemoryService) -> None:
    trace = (await filled.recall("nut allergy", SCOPE)).trace
    assert [stage.name for stage in trace.stages] == [*("vector and keyword", "late_interaction", "load", "structure")]
    assert trace.candidates == 7
    assert trace.reranker == "structure"
    assert trace.reaches_back_to == CHAT[0].created_at
    assert trace.degraded == ()
    assert not trace.cached


async def test_in_a_crowd_less_is_looked_at_and_the_answer_says_so(memory: MemoryService) -> None:
    await memory.remember([said(n, f"the {n}th harvest report from the northern orchard") for n in range(1, 150)])
    await memory.remember([said(200, "my lighthouse key hangs behind the pantry door")])
    await memory.queue.embedded()
    crowd = await asyncio.gather(*(memory.recall(f"lighthouse key {n}", SCOPE) for n in range(CROWD + 12)))
    assert {recall.results[0].message.id for recall in crowd} == {200}
    alone, pressed = crowd[0].trace, crowd[-1].trace
    assert (alone.degraded, pressed.degraded) == ((), (CROWDED,))
    assert [CROWDED in recall.trace.degraded for recall in crowd].count(True) == 12
    assert pressed.candidates < alone.candidates
    later = await memory.recall(f"lighthouse key {CROWD + 11}", SCOPE)
    assert not later.trace.cached
    assert later.trace.degraded == ()


async def test_questions_are_looked_up_a_few_at_a_time_in_their_order(
    filled: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    under_way: list[int] = []
    pool, load, at_work = filled.retrieval.pool, filled.retrieval.load, 0

    async def counted_pool(query: str, *arguments: Any) -> CandidatePool:
        nonlocal at_work
        at_work += 1
        begun.append(query)
        under_way.append(at_work)
        return await pool(query, *arguments)

    async def counted_load(*arguments: Any) -> Shortlist:
        nonlocal at_work
        found = await load(*arguments)
        at_work -= 1
        return found

    monkeypatch.setattr(filled.retrieval, "pool", counted_pool)
    monkeypatch.setattr(filled.retrieval, "load", counted_load)
    asked = [f"nut allergy {n}" for n in range(3 * AT_ONCE)]
    answers = await asyncio.gather(*(filled.recall(query, SCOPE) for query in asked))
    assert all(answer.results[0].message.id == 5 for answer in answers)
    assert begun == asked
    assert max(under_way) == AT_ONCE


async def test_questions_that_wait_for_their_turn_are_embedded_meanwhile(
    filled: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[str] = []
    encode_query, pool, may_look = filled.embedding.encode_query, filled.retrieval.pool, asyncio.Event()

    async def noted(text: str) -> tuple[EncodedQuery, Space]:
        encoded = await encode_query(text)
        embedded.append(text)
        return encoded

    async def held_pool(*arguments: Any) -> CandidatePool:
        await may_look.wait()
        return await pool(*arguments)

    monkeypatch.setattr(filled.embedding, "encode_query", noted)
    monkeypatch.setattr(filled.retrieval, "pool", held_pool)
    asked = [asyncio.create_task(filled.recall(f"nut allergy {n}", SCOPE)) for n in range(2 * AT_ONCE)]
    await until(lambda: len(embedded) == 2 * AT_ONCE)
    may_look.set()
    assert all(answer.results[0].message.id == 5 for answer in await asyncio.gather(*asked))
    assert len(embedded) == 2 * AT_ONCE


async def test_an_answer_is_kept_until_the_guild_changes(filled: MemoryService) -> None:
    first = await filled.recall("nut allergy", SCOPE)
    again = await filled.recall("nut allergy", SCOPE)
    assert again.trace.cached
    assert again.results == first.results
    await filled.forget(GUILD, [5])
    await filled.queue.stored()
    after = await filled.recall("nut allergy", SCOPE)
    assert not after.trace.cached
    assert 5 not in {result.message.id for result in after.results}


async def test_a_wider_scope_is_never_served_to_a_narrower_one(filled: MemoryService) -> None:
    wide = await filled.recall("secret password", Scope(GUILD, frozenset([CHANNEL, OTHER])))
    narrow = await filled.recall("secret password", SCOPE)
    assert wide.results[0].message.id == 8
    assert 8 not in {result.message.id for result in narrow.results}


async def test_the_same_words_are_shown_once(memory: MemoryService) -> None:
    await memory.remember([said(n, "Join my  server NOW friends", author=f"spam{n}") for n in range(1, 51)])
    await memory.remember([said(60, "my server runs debian stable")])
    await memory.queue.embedded()
    recall = await memory.recall("which server do friends join", SCOPE, limit=5)
    assert len(recall.results) == 2
    [copy] = [r for r in recall.results if "NOW" in r.message.content]
    assert copy.duplicates > 10


@pytest.mark.parametrize("query", ["", "   ", "\x00\x01", "🎉🎉", "?!…", "\ud800"])
async def test_a_question_without_a_word_is_refused(memory: MemoryService, query: str) -> None:
    with pytest.raises(InvalidQuery, match="at least one word"):
        await memory.recall(query, SCOPE)


async def test_a_question_of_6000_characters_is_refused(memory: MemoryService) -> None:
    with pytest.raises(InvalidQuery, match="6,000 characters"):
        await memory.recall("a b " * 1500, SCOPE)


@pytest.mark.parametrize(
    "query", ["c++", '"unbalanced', "author:x OR NEAR(", "a\x00b", "x\ud800y", "100%*", "NOT", "日本語", "a" * 2000]
)
async def test_odd_questions_are_answered(filled: MemoryService, query: str) -> None:
    await filled.recall(query, SCOPE)


async def test_orders_without_reranking_can_be_asked_for(filled: MemoryService) -> None:
    orders: tuple[Order, ...] = ("rrf", "vector", "keyword", "late_interaction")
    for order in orders:
        recall = await filled.recall("nut allergy cake", SCOPE, order=order)
        assert recall.trace.reranker == order
        assert recall.results


async def test_what_was_said_a_moment_ago_stands_before_what_is_merely_embedded(filled: MemoryService) -> None:
    await filled.store.upsert([said(90, "the samovar costs twenty now")])
    recall = await filled.recall("what does the samovar cost", SCOPE, limit=2)
    assert 90 in {result.message.id for result in recall.results}


async def test_messages_can_be_found_by_words_before_they_are_embedded(memory: MemoryService) -> None:
    await memory.store.upsert(CHAT)
    recall = await memory.recall("hazelnuts", SCOPE)
    assert recall.results[0].message.id == 5
