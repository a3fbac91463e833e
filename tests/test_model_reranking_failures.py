"""The score cache, and what happens to answers when a model fails or the bot shuts down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cogs.memory.exceptions import ScoringFailed
from cogs.memory.model_cache import ModelCache
from cogs.memory.model_reranking import ModelReranking
from cogs.memory.worker import ModelWorker
from profiles import MemoryProfile
from tests.plugin_rerankers import PROFILE, TOKENS, Loader, WordReranker, documents, expected, pairs_for, serving
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cogs.memory.rerankers import Pair


def poison(word: str, error: Exception) -> Callable[[Sequence[Pair]], None]:
    def fault(pairs: Sequence[Pair]) -> None:
        if any(word in pair.document for pair in pairs):
            raise error

    return fault


# --- cache


async def test_what_was_scored_before_costs_no_time_and_no_turn() -> None:
    reranker = WordReranker()
    async with serving(reranker) as reranking:
        pairs = pairs_for("q", documents(50))
        first = await reranking.score(pairs, deadline_ms=None)
        reranker.gate.clear()
        blocking = asyncio.create_task(reranking.score(pairs_for("other", documents(5)), deadline_ms=None))
        await until(reranker.entered.is_set)
        again = [await reranking.score(pairs, deadline_ms=0) for _ in range(20)]
        reranker.gate.set()
        await blocking
        statistics = reranking.get_statistics()
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
            scores = await reranking.score(pairs_for(query, documents(40)), deadline_ms=600_000)
            assert (scores.scored, scores.reason) == (0, reason)
            assert np.isnan(scores.log_odds).all()
        assert reranking.get_statistics()["failures"] == 6  # two chunks each
        reranker.fault = lambda _: None
        assert (await reranking.score(pairs_for("four", documents(40)), deadline_ms=600_000)).scored == 40
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
        scores = await reranking.score(pairs, deadline_ms=600_000)
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


async def test_a_document_that_cannot_be_tokenised_costs_what_is_tokenised_with_it() -> None:
    class Picky(WordReranker):
        def token_counts(self, pairs: Sequence[Pair]) -> list[int]:
            if any("poison" in pair.document for pair in pairs):
                raise UnicodeError
            return [100 for _ in pairs]  # some are tokenised ahead of their chunk

    async with serving(Picky()) as reranking:
        texts = [f"{number} " + "x" * 90_000 for number in range(14)]
        texts[8] = "poison"
        pairs = pairs_for("q", texts)
        scores = await reranking.score(pairs, deadline_ms=600_000)
    lost = np.flatnonzero(np.isnan(scores.log_odds)).tolist()
    assert 8 in lost
    assert len(lost) <= 4
    assert scores.reason == f"{len(lost)} of 14 could not be scored; the reranker failed (UnicodeError)"


async def test_whatever_kills_the_dispatcher_reaches_the_callers_and_the_next_call_is_served() -> None:
    class Fatal(BaseException):
        pass

    reranker = WordReranker()
    async with serving(reranker) as reranking:

        def fault(_: Sequence[Pair]) -> None:
            raise Fatal

        reranker.fault = fault
        calls = [reranking.score(pairs_for(f"q{i}", documents(3)), deadline_ms=None) for i in range(3)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [Fatal] * 3
        reranker.fault = lambda _: None
        assert (await reranking.score(pairs_for("q", documents(3)), deadline_ms=None)).scored == 3


async def test_a_call_made_the_moment_another_ends_is_served() -> None:
    async def ask(reranking: ModelReranking, caller: int) -> None:
        for number in range(30):
            for _ in range((caller * 7 + number * 3) % 11):
                await asyncio.sleep(0)
            scores = await reranking.score(pairs_for(f"{caller} {number}", ["d"]), deadline_ms=None)
            assert scores.reason is None

    async with serving(WordReranker()) as reranking:
        await asyncio.gather(*(ask(reranking, caller) for caller in range(12)))


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
        await until(lambda: reranking.get_statistics()["waiting_calls"] == 6)
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
