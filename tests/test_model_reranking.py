"""Scoring with a model: deadlines, chunks, coalescing, turns and refusals."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cogs.memory.model_cache import ModelCache
from cogs.memory.model_reranking import ModelReranking
from cogs.memory.rerank_queue import MAX_CALLS, MAX_CALLS_PER_GUILD
from cogs.memory.worker import ModelWorker, Priority
from tests.plugin_rerankers import PROFILE, TOKENS, Loader, WordReranker, documents, expected, pairs_for, serving
from tests.virtual_time import in_virtual_time
from tests.waiting import until

if TYPE_CHECKING:
    from tests.virtual_time import VirtualTime

EXACTLY = 1e-6
"""Milliseconds that sums of fractions may be off."""


# --- scores


async def test_all_pairs_are_scored_in_their_places_without_a_deadline() -> None:
    async with serving(WordReranker()) as reranking:
        pairs = pairs_for("which release?", documents(200))
        scores = await reranking.score(pairs, deadline_ms=None)
    assert scores.log_odds.dtype == np.float32
    assert scores.log_odds.tolist() == expected(pairs)
    assert (scores.scored, scores.from_cache, scores.total) == (200, 0, 200)
    assert (scores.model, scores.reason, scores.degraded) == ("words", None, None)


async def test_no_pairs_are_no_work() -> None:
    async with serving(WordReranker()) as reranking:
        scores = await reranking.score([], deadline_ms=0)
    assert (scores.total, scores.scored, scores.reason, scores.log_odds.shape) == (0, 0, None, (0,))


async def test_equal_pairs_are_scored_once_and_count_as_often_as_they_stand_there() -> None:
    reranker = WordReranker()
    async with serving(reranker) as reranking:
        pairs = pairs_for("release", ["a release", "lunch", "a release", "a release"])
        scores = await reranking.score(pairs, deadline_ms=None)
    assert scores.log_odds.tolist() == expected(pairs)
    assert (scores.scored, scores.total) == (4, 4)
    assert sum(map(len, reranker.batches)) == 2


async def test_pairs_of_many_queries_go_in_one_call() -> None:
    reranker = WordReranker()
    async with serving(reranker) as reranking:
        pairs = [pair for query in ("one", "two", "three") for pair in pairs_for(query, documents(5))]
        scores = await reranking.score(pairs, deadline_ms=None)
    assert scores.log_odds.tolist() == expected(pairs)
    assert len(reranker.batches) == 1


async def test_odd_texts_are_survived() -> None:
    async with serving(WordReranker()) as reranking:
        pairs = pairs_for("\udc80?", ["", " ", "\x00", "\ud800 lone", "🦜" * 4000])
        scores = await reranking.score(pairs, deadline_ms=None)
        again = await reranking.score(pairs, deadline_ms=None)
    assert scores.log_odds.tolist() == expected(pairs)
    assert again.from_cache == 5


# --- deadline and chunks


@in_virtual_time
async def test_a_call_returns_at_its_deadline_with_the_best_scored(clock: VirtualTime) -> None:
    reranker = WordReranker(ms_per_token=1.0)
    async with serving(reranker, clock=clock) as reranking:
        for query in ("first", "second", "third", "fourth"):
            pairs = pairs_for(query, documents(100))  # a second's work
            scores = await reranking.score(pairs, deadline_ms=250)
            assert scores.milliseconds <= 250 + EXACTLY
            assert 15 <= scores.scored <= 25
            assert np.isfinite(scores.log_odds[: scores.scored]).all()
            assert np.isnan(scores.log_odds[scores.scored :]).all()
            assert scores.reason == f"the deadline of 0.25 s came after {scores.scored} of 100"
        assert reranking.get_statistics()["timeouts"] == 4


@in_virtual_time
async def test_a_deadline_is_kept_by_a_model_that_became_a_hundred_times_slower(clock: VirtualTime) -> None:
    reranker = WordReranker(ms_per_token=0.03)
    async with serving(reranker, clock=clock) as reranking:
        await reranking.score(pairs_for("warm", documents(50)), deadline_ms=1000)
        reranker.ms_per_token = 3.0
        slow = [await reranking.score(pairs_for(f"q{i}", documents(40)), deadline_ms=150) for i in range(8)]
    assert max(scores.milliseconds for scores in slow) <= 150 + EXACTLY
    assert any(scores.scored for scores in slow[4:])  # it has learnt how little fits


@in_virtual_time
async def test_a_deadline_is_kept_by_a_model_that_hangs(clock: VirtualTime) -> None:
    reranker = WordReranker(ms_per_token=0.01)
    async with serving(reranker, clock=clock) as reranking:
        reranker.ms_per_token = 1e6
        scores = await reranking.score(pairs_for("q", documents(5)), deadline_ms=80)
        assert scores.milliseconds == pytest.approx(80)
        assert (scores.scored, scores.reason) == (0, "the deadline of 0.08 s left no time for any of 5")


async def test_a_late_chunk_does_not_change_an_answer_that_was_given_but_is_kept() -> None:
    reranker = WordReranker()
    async with serving(reranker) as reranking:
        reranker.gate.clear()
        pairs = pairs_for("q", documents(3))
        scores = await reranking.score(pairs, deadline_ms=50)
        reranker.gate.set()
        await until(lambda: reranking.get_statistics()["score_cache_size"] == 3)
        assert np.isnan(scores.log_odds).all()
        assert (await reranking.score(pairs, deadline_ms=50)).from_cache == 3


@in_virtual_time
async def test_a_hopeless_deadline_is_not_tried(clock: VirtualTime) -> None:
    reranker = WordReranker(ms_per_token=5.0)
    async with serving(reranker, clock=clock) as reranking:
        scores = await reranking.score(pairs_for("q", documents(5)), deadline_ms=20)
    assert not reranker.batches
    assert scores.milliseconds == 0
    assert (scores.scored, scores.reason) == (0, "the deadline of 0.02 s left no time for any of 5")


@pytest.mark.parametrize("deadline_ms", [0, -5])
async def test_a_deadline_that_has_passed_scores_nothing(deadline_ms: int) -> None:
    async with serving(WordReranker()) as reranking:
        scores = await reranking.score(pairs_for("q", documents(5)), deadline_ms=deadline_ms)
    assert scores.scored == 0
    assert scores.reason is not None


@in_virtual_time
async def test_what_seems_hopeless_is_tried_again_after_half_a_minute(clock: VirtualTime) -> None:
    reranker = WordReranker(ms_per_token=5.0)
    async with serving(reranker, clock=clock) as reranking:
        reranker.ms_per_token = 0.0  # the machine has become free, but nobody knows
        assert (await reranking.score(pairs_for("q", documents(5)), deadline_ms=45)).scored == 0
        await asyncio.sleep(31)
        assert (await reranking.score(pairs_for("q", documents(5)), deadline_ms=45)).scored == 5


@in_virtual_time
async def test_chunks_grow_to_the_budget_in_order_of_retrieval(clock: VirtualTime) -> None:
    reranker = WordReranker(ms_per_token=0.01)
    async with serving(reranker, clock=clock) as reranking:
        pairs = pairs_for("q", documents(200))
        await reranking.score(pairs, deadline_ms=5000)
    sizes = [len(batch) for batch in reranker.batches]
    assert sizes[0] == 512 // 4 // TOKENS
    assert sizes[1] == 2 * sizes[0]
    assert max(sizes) <= 512 // TOKENS
    assert [pair for batch in reranker.batches for pair in batch] == pairs


async def test_other_model_work_gets_in_between_chunks() -> None:
    reranker = WordReranker()
    async with serving(reranker) as reranking:
        worker = reranking._dispatcher._worker
        reranker.gate.clear()
        call = asyncio.create_task(reranking.score(pairs_for("q", documents(250)), deadline_ms=None))
        await until(reranker.entered.is_set)
        other = worker.submit_at(Priority.QUESTION, lambda: len(reranker.batches))
        reranker.gate.set()
        assert await asyncio.wrap_future(other) == 1  # it went after the chunk that ran
        assert (await call).scored == 250
        assert len(reranker.batches) > 3


async def test_models_work_on_the_worker_thread_only() -> None:
    reranker = WordReranker()
    async with serving(reranker) as reranking:
        reranker.threads.clear()
        await reranking.score(pairs_for("q", documents(30)), deadline_ms=None)
    assert reranker.threads == {"test-worker"}


# --- many callers


async def test_concurrent_calls_share_chunks_and_get_their_own_scores() -> None:
    reranker = WordReranker()
    async with serving(reranker) as reranking:
        reranker.gate.clear()
        calls = [pairs_for(f"query {i}", documents(10, start=i)) for i in range(12)]
        tasks = [
            asyncio.create_task(reranking.score(call, deadline_ms=None, guild_id=i)) for i, call in enumerate(calls)
        ]
        await until(reranker.entered.is_set)
        reranker.gate.set()
        for call, task in zip(calls, tasks, strict=True):
            assert (await task).log_odds.tolist() == expected(call)
    assert len(reranker.batches) <= 4  # 120 documents, about 50 to a chunk, and the first went alone or not
    assert any(len({pair.query for pair in batch}) > 5 for batch in reranker.batches)


async def test_guilds_take_turns() -> None:
    reranker = WordReranker(ms_per_token=0.1)
    async with serving(reranker) as reranking:
        many = [
            asyncio.create_task(reranking.score(pairs_for(f"many {i}", documents(50)), deadline_ms=None, guild_id=1))
            for i in range(8)
        ]
        await until(reranker.entered.is_set)
        one = await reranking.score(pairs_for("one", documents(20)), deadline_ms=None, guild_id=2)
        ended_before = sum(task.done() for task in many)
        await asyncio.gather(*many)
    assert one.scored == 20
    assert ended_before <= 2


async def test_a_call_too_many_is_told_at_once() -> None:
    reranker = WordReranker()
    async with serving(reranker) as reranking:
        known = pairs_for("known", documents(3))
        await reranking.score(known, deadline_ms=None)
        reranker.gate.clear()
        waiting = [
            asyncio.create_task(reranking.score(pairs_for(f"q{i}", documents(3)), deadline_ms=30_000, guild_id=i))
            for i in range(MAX_CALLS)
        ]
        await until(lambda: reranking.get_statistics()["waiting_calls"] == MAX_CALLS)
        refused = await reranking.score(pairs_for("q", documents(3)), deadline_ms=30_000, guild_id=99)
        assert (refused.scored, refused.reason) == (0, "busy, not reranked")
        half = await reranking.score([*known, *pairs_for("q", ["new"])], deadline_ms=30_000, guild_id=99)
        assert (half.scored, half.reason) == (3, "busy, only 3 of 4 were known from before")
        assert (await reranking.score(known, deadline_ms=30_000)).reason is None
        reranker.gate.set()
        assert [scores.scored for scores in await asyncio.gather(*waiting)] == [3] * MAX_CALLS
        assert reranking.get_statistics()["busy"] == 2


async def test_one_guild_cannot_take_every_place() -> None:
    reranker = WordReranker()
    async with serving(reranker) as reranking:
        reranker.gate.clear()
        calls = [
            asyncio.create_task(reranking.score(pairs_for(f"q{i}", documents(2)), deadline_ms=30_000, guild_id=1))
            for i in range(MAX_CALLS)
        ]
        await asyncio.sleep(0.02)
        other = asyncio.create_task(reranking.score(pairs_for("other", documents(2)), deadline_ms=30_000, guild_id=2))
        await asyncio.sleep(0.02)
        reranker.gate.set()
        assert (await other).scored == 2
        assert sum(scores.scored == 2 for scores in await asyncio.gather(*calls)) == MAX_CALLS_PER_GUILD


async def test_callers_without_a_deadline_wait_instead_of_being_refused() -> None:
    async with serving(WordReranker()) as reranking:
        calls = [reranking.score(pairs_for(f"q{i}", documents(5)), deadline_ms=None) for i in range(3 * MAX_CALLS)]
        assert {scores.scored for scores in await asyncio.gather(*calls)} == {5}


async def test_a_cancelled_callers_pairs_are_dropped() -> None:
    reranker = WordReranker()
    async with serving(reranker) as reranking:
        reranker.gate.clear()
        left = asyncio.create_task(reranking.score(pairs_for("left", documents(100)), deadline_ms=None))
        await until(reranker.entered.is_set)
        stays = asyncio.create_task(reranking.score(pairs_for("stays", documents(5)), deadline_ms=None))
        await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        reranker.gate.set()
        assert (await stays).scored == 5
        assert reranking.get_statistics()["waiting_calls"] == 0
    assert sum(pair.query == "left" for batch in reranker.batches for pair in batch) <= 51  # the chunk that ran


async def test_pairs_cancelled_before_their_turn_are_never_scored() -> None:
    reranker = WordReranker()
    worker, models = ModelWorker("test-worker"), ModelCache()
    started, gate = threading.Event(), threading.Event()
    reranking = ModelReranking(PROFILE, worker, models, load=Loader(reranker))
    await reranking.start()
    await reranking.ready()
    reranker.batches.clear()

    def other_work() -> None:
        started.set()
        gate.wait(5)

    working = worker.submit(other_work)
    await until(started.is_set)
    call = asyncio.create_task(reranking.score(pairs_for("left", documents(5)), deadline_ms=None))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    gate.set()
    await asyncio.wrap_future(working)
    assert (await reranking.score(pairs_for("stays", documents(5)), deadline_ms=None)).scored == 5
    assert {pair.query for batch in reranker.batches for pair in batch} == {"stays"}
    await reranking.close()
    worker.shutdown()
