"""Scoring with a model: deadlines, chunks, coalescing, turns, refusals, the cache, and failures."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cogs.memory.exceptions import ScoringFailed
from cogs.memory.model_cache import ModelCache
from cogs.memory.model_reranking import ModelReranking
from cogs.memory.rerank_queue import MAX_CALLS, MAX_CALLS_PER_GUILD
from cogs.memory.worker import ModelWorker
from profiles import MemoryProfile
from tests.plugin_rerankers import TOKENS, Loader, WordReranker, documents, pairs_for, word_score

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from cogs.memory.rerankers import Pair

PROFILE = MemoryProfile(name="test", reranker="cross_encoder", reranker_model="words", token_budget=512)
SLACK_MS = 60.0
"""What a busy machine may add to a timer."""


@asynccontextmanager
async def serving(reranker: WordReranker, profile: MemoryProfile = PROFILE) -> AsyncIterator[ModelReranking]:
    worker = ModelWorker("test-worker")
    models = ModelCache()
    reranking = ModelReranking(profile, worker, models, load=Loader(reranker))
    await reranking.start()
    await reranking.ready()
    reranker.batches.clear()
    reranker.entered.clear()
    try:
        yield reranking
    finally:
        reranker.gate.set()
        await reranking.close()
        models.close()
        worker.shutdown()


def expected(pairs: Sequence[Pair]) -> Any:
    return pytest.approx([word_score(pair) for pair in pairs], abs=1e-5)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.001)


def poison(word: str, error: Exception) -> Callable[[Sequence[Pair]], None]:
    def fault(pairs: Sequence[Pair]) -> None:
        if any(word in pair.document for pair in pairs):
            raise error

    return fault


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


async def test_a_call_returns_at_its_deadline_with_the_best_scored() -> None:
    reranker = WordReranker(ms_per_token=1.0)
    async with serving(reranker) as reranking:
        for query in ("first", "second", "third", "fourth"):
            pairs = pairs_for(query, documents(100))  # a second's work
            scores = await reranking.score(pairs, deadline_ms=250)
            assert scores.milliseconds <= 250 + SLACK_MS
            assert 8 <= scores.scored <= 25
            assert np.isfinite(scores.log_odds[: scores.scored]).all()
            assert np.isnan(scores.log_odds[scores.scored :]).all()
            assert scores.reason == f"the deadline of 0.25 s came after {scores.scored} of 100"
        assert reranking.get_statistics()["timeouts"] == 4


async def test_a_deadline_is_kept_by_a_model_that_became_a_hundred_times_slower() -> None:
    reranker = WordReranker(ms_per_token=0.03)
    async with serving(reranker) as reranking:
        await reranking.score(pairs_for("warm", documents(50)), deadline_ms=1000)
        reranker.ms_per_token = 3.0
        slow = [await reranking.score(pairs_for(f"q{i}", documents(40)), deadline_ms=150) for i in range(8)]
    assert max(scores.milliseconds for scores in slow) <= 150 + SLACK_MS
    assert any(scores.scored for scores in slow[4:])  # it has learnt how little fits


async def test_a_deadline_is_kept_by_a_model_that_hangs() -> None:
    reranker = WordReranker()
    async with serving(reranker) as reranking:
        reranker.gate.clear()
        scores = await reranking.score(pairs_for("q", documents(5)), deadline_ms=80)
        assert scores.milliseconds <= 80 + SLACK_MS
        assert (scores.scored, scores.reason) == (0, "the deadline of 0.08 s left no time for any of 5")
        reranker.gate.set()


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


async def test_a_hopeless_deadline_is_not_tried() -> None:
    reranker = WordReranker(ms_per_token=5.0)
    async with serving(reranker) as reranking:
        scores = await reranking.score(pairs_for("q", documents(5)), deadline_ms=20)
    assert not reranker.batches
    assert scores.milliseconds < 20
    assert (scores.scored, scores.reason) == (0, "the deadline of 0.02 s left no time for any of 5")


@pytest.mark.parametrize("deadline_ms", [0, -5])
async def test_a_deadline_that_has_passed_scores_nothing(deadline_ms: int) -> None:
    async with serving(WordReranker()) as reranking:
        scores = await reranking.score(pairs_for("q", documents(5)), deadline_ms=deadline_ms)
    assert scores.scored == 0
    assert scores.reason is not None


async def test_what_seems_hopeless_is_tried_again_after_half_a_minute() -> None:
    now = 0.0
    reranker = WordReranker(ms_per_token=5.0)
    worker, models = ModelWorker("test-worker"), ModelCache()
    reranking = ModelReranking(PROFILE, worker, models, load=Loader(reranker), clock=lambda: now)
    await reranking.start()
    await reranking.ready()
    reranker.ms_per_token = 0.0  # the machine has become free, but nobody knows
    assert (await reranking.score(pairs_for("q", documents(5)), deadline_ms=20)).scored == 0
    now = 31.0
    assert (await reranking.score(pairs_for("q", documents(5)), deadline_ms=20)).scored > 0
    await reranking.close()
    worker.shutdown()


async def test_chunks_grow_to_the_budget_in_order_of_retrieval() -> None:
    reranker = WordReranker(ms_per_token=0.01)
    async with serving(reranker) as reranking:
        pairs = pairs_for("q", documents(200))
        await reranking.score(pairs, deadline_ms=5000)
    sizes = [len(batch) for batch in reranker.batches]
    assert sizes[0] == 512 // 4 // TOKENS
    assert sizes[1] == 2 * sizes[0]
    assert max(sizes) <= 512 // TOKENS
    assert [pair for batch in reranker.batches for pair in batch] == pairs


async def test_other_model_work_gets_in_between_chunks() -> None:
    reranker = WordReranker(ms_per_token=0.2)
    worker, models = ModelWorker("test-worker"), ModelCache()
    reranking = ModelReranking(PROFILE, worker, models, load=Loader(reranker))
    await reranking.start()
    await reranking.ready()
    reranker.entered.clear()
    call = asyncio.create_task(reranking.score(pairs_for("q", documents(250)), deadline_ms=None))  # half a second
    await until(reranker.entered.is_set)
    start = time.monotonic()
    await worker.run(lambda: None)
    assert (time.monotonic() - start) * 1000 <= 512 * 0.2 + SLACK_MS
    assert not call.done()
    await call
    await reranking.close()
    worker.shutdown()


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
        assert refused.milliseconds < 5
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
    worker, models, gate = ModelWorker("test-worker"), ModelCache(), threading.Event()
    reranking = ModelReranking(PROFILE, worker, models, load=Loader(reranker))
    await reranking.start()
    await reranking.ready()
    reranker.batches.clear()
    other_work = worker.submit(gate.wait, 5)
    call = asyncio.create_task(reranking.score(pairs_for("left", documents(5)), deadline_ms=None))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    gate.set()
    await asyncio.wrap_future(other_work)
    assert (await reranking.score(pairs_for("stays", documents(5)), deadline_ms=None)).scored == 5
    assert {pair.query for batch in reranker.batches for pair in batch} == {"stays"}
    await reranking.close()
    worker.shutdown()


# --- cache


async def test_what_was_scored_before_costs_no_time_and_no_turn() -> None:
    reranker = WordReranker()
    async with serving(reranker) as reranking:
        pairs = pairs_for("q", documents(50))
        first = await reranking.score(pairs, deadline_ms=None)
        reranker.gate.clear()
        blocking = asyncio.create_task(reranking.score(pairs_for("other", documents(5)), deadline_ms=None))
        await until(reranker.entered.is_set)
        again = [await reranking.score(pairs, deadline_ms=1) for _ in range(20)]
        reranker.gate.set()
        await blocking
        statistics = reranking.get_statistics()
    assert min(scores.milliseconds for scores in again) <= 1.0
    assert all(scores.from_cache == scores.scored == 50 for scores in again)
    assert all((scores.log_odds == first.log_odds).all() for scores in again)
    assert statistics["score_cache_hits"] == 1000
    assert statistics["score_cache_misses"] == 55
    assert statistics["score_cache_size"] == 55


async def test_query_document_and_instruction_each_make_another_key() -> None:
    async with serving(WordReranker()) as reranking:
        await reranking.score(pairs_for("q", ["text"], "one"), deadline_ms=None)
        for other in (
            pairs_for("q2", ["text"], "one"),
            pairs_for("q", ["text2"], "one"),
            pairs_for("q", ["text"], "two"),
        ):
            scores = await reranking.score(other, deadline_ms=None)
            assert scores.from_cache == 0
            assert scores.log_odds.tolist() == expected(other)


async def test_the_cache_is_bounded() -> None:
    profile = MemoryProfile(name="t", reranker="cross_encoder", reranker_model="words", score_cache_size=10)
    async with serving(WordReranker(), profile) as reranking:
        await reranking.score(pairs_for("q", documents(25)), deadline_ms=None)
        statistics = reranking.get_statistics()
    assert (statistics["score_cache_size"], statistics["score_cache_evictions"]) == (10, 15)


async def test_a_cache_of_size_zero_keeps_nothing() -> None:
    profile = MemoryProfile(name="t", reranker="cross_encoder", reranker_model="words", score_cache_size=0)
    async with serving(WordReranker(), profile) as reranking:
        pairs = pairs_for("q", documents(5))
        await reranking.score(pairs, deadline_ms=None)
        assert (await reranking.score(pairs, deadline_ms=None)).from_cache == 0


# --- failures


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            ScoringFailed("The reranker model gave scores that are no numbers."),
            "the reranker model gave scores that are no numbers",
        ),
        (ZeroDivisionError("secret message text"), "the reranker failed (ZeroDivisionError)"),
    ],
)
async def test_a_failing_model_gives_no_scores_and_says_why(
    error: Exception, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    reranker = WordReranker()
    async with serving(reranker) as reranking:
        reranker.fault = poison("", error)
        for query in ("one", "two", "three"):
            scores = await reranking.score(pairs_for(query, documents(40)), deadline_ms=5000)
            assert (scores.scored, scores.reason) == (0, reason)
            assert np.isnan(scores.log_odds).all()
        assert reranking.get_statistics()["failures"] == 6  # two chunks each
        reranker.fault = lambda _: None
        assert (await reranking.score(pairs_for("four", documents(40)), deadline_ms=5000)).scored == 40
    assert len([record for record in caplog.records if type(error).__name__ in record.message]) == 1
    assert "secret" not in caplog.text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
async def test_scores_that_are_no_numbers_never_get_out(value: float) -> None:
    class NonFinite(WordReranker):
        def score(self, pairs: Sequence[Pair]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
            scores = super().score(pairs)
            return np.where(["poison" in pair.document for pair in pairs], np.float32(value), scores)

    async with serving(NonFinite()) as reranking:
        pairs = pairs_for("q", ["poison", *documents(60)])
        scores = await reranking.score(pairs, deadline_ms=5000)
        statistics = reranking.get_statistics()
        again = await reranking.score(pairs[:1], deadline_ms=None)
    first_chunk = 512 // 4 // TOKENS
    assert np.isnan(scores.log_odds[:first_chunk]).all()
    assert scores.log_odds[first_chunk:].tolist() == expected(pairs[first_chunk:])
    assert scores.reason == f"{first_chunk} of 61 could not be scored; the reranker gave scores that are no numbers"
    assert statistics["non_finite"] == 1
    assert again.scored == 0


async def test_a_model_that_returns_too_few_scores_is_not_believed() -> None:
    class Short(WordReranker):
        def score(self, pairs: Sequence[Pair]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
            return super().score(pairs)[: -1 if pairs[0].query == "q" else None]

    async with serving(Short()) as reranking:
        scores = await reranking.score(pairs_for("q", documents(5)), deadline_ms=None)
    assert (scores.scored, scores.reason) == (0, "the reranker gave scores of shape (4,) for 5 documents")


async def test_a_poisoned_document_harms_no_other_call() -> None:
    reranker = WordReranker()
    async with serving(reranker) as reranking:
        reranker.fault = poison("poison", ValueError())
        reranker.gate.clear()
        calls = [pairs_for(f"q{i}", documents(5, start=i)) for i in range(6)]
        calls[2][1] = calls[2][1]._replace(document="poison")
        tasks = [
            asyncio.create_task(reranking.score(call, deadline_ms=None, guild_id=i)) for i, call in enumerate(calls)
        ]
        await asyncio.sleep(0.02)
        reranker.gate.set()
        results = [await task for task in tasks]
    assert [scores.scored for scores in results] == [5, 5, 0, 5, 5, 5]
    assert results[2].reason == "the reranker failed (ValueError)"


async def test_a_worker_that_is_shut_down_ends_the_calls() -> None:
    reranker = WordReranker()
    worker = ModelWorker("test-worker")
    reranking = ModelReranking(PROFILE, worker, ModelCache(), load=Loader(reranker))
    await reranking.start()
    await reranking.ready()
    reranker.gate.clear()
    reranker.entered.clear()
    running = asyncio.create_task(reranking.score(pairs_for("q", documents(100)), deadline_ms=None))
    await until(reranker.entered.is_set)
    worker.shutdown(wait=False, cancel_futures=True)
    reranker.gate.set()
    scores = await running
    assert scores.scored > 0
    assert scores.reason == "the bot is shutting down"
    await reranking.close()


async def test_closing_ends_the_calls_with_what_they_have() -> None:
    reranker = WordReranker()
    async with serving(reranker) as reranking:
        reranker.gate.clear()
        call = asyncio.create_task(reranking.score(pairs_for("q", documents(100)), deadline_ms=None))
        await until(reranker.entered.is_set)
        closing = asyncio.create_task(reranking.close())
        scores = await call
        assert (scores.scored, scores.reason) == (0, "the reranker has been shut down")
        reranker.gate.set()
        await closing
        await reranking.close()
        after = await reranking.score(pairs_for("q", documents(1)), deadline_ms=None)
        assert (after.scored, after.reason) == (0, "the reranker has been shut down")
        assert reranking.state == "absent"
