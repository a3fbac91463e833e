"""Loading, proof of life, hot reload, and what is told about all that."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cogs.memory.exceptions import ModelError, ModelNotAllowed, ModelUnavailable, ScoringFailed
from cogs.memory.model_cache import ModelCache
from cogs.memory.model_reranking import ModelReranking
from cogs.memory.proof_of_life import Proof
from cogs.memory.worker import ModelWorker
from profiles import MemoryProfile
from tests.plugin_rerankers import PROFILE, Loader, WordReranker, documents, pairs_for, reranking_with, too_large
from tests.virtual_time import in_virtual_time
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cogs.memory.rerankers import Pair
    from tests.virtual_time import VirtualTime


class BackwardReranker(WordReranker):
    """Puts the test questions in the wrong order."""

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        return -super().score(pairs)


# --- loading and proof of life


async def test_it_answers_while_the_model_loads_and_scores_afterwards() -> None:
    load = Loader(WordReranker())
    load.gate.clear()
    async with reranking_with(load) as reranking:
        early = await reranking.score(pairs_for("q", documents(3)), deadline_ms=None)
        assert (early.scored, early.reason, early.model) == (0, "the reranker is still loading", "")
        assert reranking.state == "loading"
        load.gate.set()
        await reranking.ready()
        assert reranking.get_statistics()["state"] == "ready"
        assert (await reranking.score(pairs_for("q", documents(3)), deadline_ms=None)).scored == 3
        await reranking.start()
    assert len(load.profiles) == 1
    assert "test-worker" not in load.threads
    assert threading.main_thread().name not in load.threads


async def test_without_a_start_there_is_no_model() -> None:
    worker = ModelWorker("test-worker")
    reranking = ModelReranking(PROFILE, worker, ModelCache(), load=Loader(WordReranker()))
    assert reranking.state == "absent"
    assert (
        await reranking.score(pairs_for("q", ["d"]), deadline_ms=None)
    ).reason == "the reranker has not been started"
    with pytest.raises(ModelUnavailable, match="not been started"):
        await reranking.ready()
    await reranking.close()
    worker.shutdown()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModelUnavailable("The folder is missing."), "The folder is missing."),
        (KeyError("x"), r"The reranker could not be loaded \(KeyError\)."),
        (MemoryError(), "The reranker ran out of memory."),
    ],
)
async def test_a_load_that_fails_is_told_and_reload_tries_again(error: Exception, message: str) -> None:
    async with reranking_with(Loader(error, WordReranker())) as reranking:
        with pytest.raises(ModelError, match=message):
            await reranking.ready()
        assert reranking.state == "failed"
        scores = await reranking.score(pairs_for("q", ["d"]), deadline_ms=None)
        assert scores.scored == 0
        assert scores.reason == reranking.reason
        assert str(reranking.reason).lower() in message.replace("\\", "").lower()
        await reranking.reload()
        assert reranking.get_statistics()["state"] == "ready"
        assert (await reranking.score(pairs_for("q", ["d"]), deadline_ms=None)).scored == 1


@in_virtual_time
async def test_a_load_that_fails_is_tried_again_by_itself_later_and_later(clock: VirtualTime) -> None:
    gone = ModelUnavailable("The hub is away.")
    load = Loader(gone, gone, WordReranker(ms_per_token=0.01))
    async with reranking_with(load, clock=clock, retry_after_s=60) as reranking:
        for failures, wait in enumerate((60, 120), start=1):
            with pytest.raises(ModelUnavailable, match="The hub is away"):
                await reranking.ready()
            statistics = reranking.get_statistics()
            assert (statistics["state"], statistics["load_failures"]) == ("failed", failures)
            assert statistics["retry_in_s"] == pytest.approx(wait)
            await asyncio.sleep(wait)
        await reranking.ready()
        statistics = reranking.get_statistics()
        assert (statistics["load_failures"], statistics["loads"], statistics["retry_in_s"]) == (2, 1, None)


async def test_a_name_that_is_not_allowed_is_not_tried_again() -> None:
    async with reranking_with(Loader(ModelNotAllowed("No such name.")), retry_after_s=0.001) as reranking:
        with pytest.raises(ModelNotAllowed):
            await reranking.ready()
        assert reranking.get_statistics()["retry_in_s"] is None


@in_virtual_time
async def test_nothing_is_tried_again_after_the_end_or_once_a_model_serves(clock: VirtualTime) -> None:
    gone = ModelUnavailable("The hub is away.")
    load = Loader(gone, WordReranker(ms_per_token=0.01))
    async with reranking_with(load, clock=clock, retry_after_s=60) as reranking:
        with pytest.raises(ModelUnavailable):
            await reranking.ready()
        await reranking.reload()
        await asyncio.sleep(600)
    assert len(load.profiles) == 2
    load = Loader(gone)
    async with reranking_with(load, clock=clock, retry_after_s=60) as reranking:
        with pytest.raises(ModelUnavailable):
            await reranking.ready()
    await asyncio.sleep(600)
    assert len(load.profiles) == 1


async def test_a_model_that_cannot_score_known_texts_never_serves() -> None:
    reranker = WordReranker(fault=too_large(0))
    async with reranking_with(Loader(reranker)) as reranking:
        with pytest.raises(ModelError, match="out of memory"):
            await reranking.ready()
    assert reranker.closed == 1


async def test_a_model_that_orders_wrongly_scores_but_says_so() -> None:
    async with reranking_with(Loader(BackwardReranker())) as reranking:
        await reranking.ready()
        scores = await reranking.score(pairs_for("q", documents(3)), deadline_ms=None)
        assert reranking.state == "degraded"
    assert scores.scored == 3
    assert scores.reason is None
    assert scores.degraded is not None
    assert scores.degraded.startswith("the reranker does not order the test questions: Order not proven: 0 of 6")


async def test_a_model_that_says_the_same_to_everything_is_degraded() -> None:
    class Constant(WordReranker):
        def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
            return np.zeros(len(pairs), dtype=np.float32)

    async with reranking_with(Loader(Constant())) as reranking:
        await reranking.ready()
        assert reranking.state == "degraded"


async def test_a_rerankers_own_test_decides_where_there_is_one() -> None:
    class Proven(BackwardReranker):
        def self_test(self) -> Proof:
            return Proof(ok=True, detail="The published scores are met.")

    async with reranking_with(Loader(Proven())) as reranking:
        await reranking.ready()
        assert (reranking.state, reranking.reason) == ("ready", "the published scores are met")


# --- reload


async def test_reload_during_twenty_calls_mixes_nothing_and_fails_nobody() -> None:
    old, new = (WordReranker(key=f"words:{i}", offset=100.0 * i, ms_per_token=0.02) for i in range(2))
    load = Loader(old, new)
    other = dataclasses.replace(PROFILE, reranker_model="words 2")
    answers: list[tuple[str, set[bool]]] = []
    async with reranking_with(load) as reranking:
        await reranking.ready()
        is_over = False

        async def ask(i: int) -> None:
            for number in itertools.count():
                is_last = is_over
                pairs = pairs_for(f"q{i} {number}", documents(40))
                scores = await reranking.score(pairs, deadline_ms=None, guild_id=i % 3)
                assert (scores.scored, scores.reason) == (40, None)
                answers.append((scores.model, {bool(score > 50) for score in scores.log_odds}))
                if is_last:
                    return

        load.gate.clear()
        reloading = asyncio.create_task(reranking.reload(other))
        calls = [asyncio.create_task(ask(i)) for i in range(20)]
        await until(lambda: len(answers) > 5)
        load.gate.set()
        said = await reloading
        is_over = True
        await asyncio.gather(*calls)
        statistics = reranking.get_statistics()
    assert said.startswith("words 2 was loaded in ")
    assert "s. Order proven: 6 of 6 examples in the right order" in said
    assert {model for model, _ in answers} == {"words", "words 2"}
    assert all(by_new == {model == "words 2"} for model, by_new in answers)
    assert (old.closed, new.closed) == (1, 0)
    assert (statistics["model_key"], statistics["reloads"], statistics["loads"]) == ("words:1", 1, 2)


async def test_calls_are_served_while_another_model_loads() -> None:
    load = Loader(WordReranker(), WordReranker())
    async with reranking_with(load) as reranking:
        await reranking.ready()
        load.gate.clear()
        reloading = asyncio.create_task(reranking.reload())
        await until(lambda: len(load.profiles) == 2)
        for number in range(20):
            scores = await reranking.score(pairs_for(f"q{number}", documents(5)), deadline_ms=None)
            assert scores.scored == 5
        assert not reloading.done()
        load.gate.set()
        await reloading


@pytest.mark.parametrize("result", [ModelUnavailable("The file is truncated."), BackwardReranker()])
async def test_a_failed_reload_keeps_the_old_model(result: WordReranker | Exception) -> None:
    old = WordReranker()
    async with reranking_with(Loader(old, result)) as reranking:
        await reranking.ready()
        with pytest.raises(ModelError, match=r"truncated|failed its test and was not taken: Order not proven: 0 of 6"):
            await reranking.reload()
        assert (reranking.state, old.closed) == ("ready", 0)
        assert (await reranking.score(pairs_for("q", documents(3)), deadline_ms=None)).scored == 3
        statistics = reranking.get_statistics()
        assert (statistics["reloads"], statistics["load_failures"]) == (0, 1)
    if isinstance(result, WordReranker):
        assert result.closed == 1


async def test_a_reload_serves_no_score_of_the_old_model() -> None:
    old, new = WordReranker(key="same"), WordReranker(key="same", offset=7.0)
    async with reranking_with(Loader(old, new)) as reranking:
        await reranking.ready()
        pairs = pairs_for("q", documents(5))
        before = await reranking.score(pairs, deadline_ms=None)
        await reranking.reload()
        after = await reranking.score(pairs, deadline_ms=None)
    assert after.from_cache == 0
    np.testing.assert_allclose(after.log_odds - before.log_odds, 7.0, rtol=1e-5)


async def test_a_late_chunk_of_the_old_model_leaves_no_score_behind() -> None:
    old, new = WordReranker(key="same"), WordReranker(key="same", offset=7.0)
    async with reranking_with(Loader(old, new)) as reranking:
        await reranking.ready()
        old.gate.clear()
        old.entered.clear()
        pairs = pairs_for("q", documents(5))
        under_way = asyncio.create_task(reranking.score(pairs, deadline_ms=None))
        await until(old.entered.is_set)
        await reranking.reload()
        old.gate.set()
        before = await under_way
        after = await reranking.score(pairs, deadline_ms=None)
        statistics = reranking.get_statistics()
    assert (before.scored, after.from_cache) == (5, 0)
    np.testing.assert_allclose(after.log_odds - before.log_odds, 7.0, rtol=1e-5)
    assert statistics["score_min"] is not None
    assert float(statistics["score_min"]) > 0.99  # of the new one alone
    assert old.closed == 1


async def test_a_cancelled_caller_does_not_stop_a_reload() -> None:
    old, new = WordReranker(key="old"), WordReranker(key="new")
    load = Loader(old, new)
    async with reranking_with(load) as reranking:
        await reranking.ready()
        load.gate.clear()
        reloading = asyncio.create_task(reranking.reload())
        await until(lambda: len(load.profiles) == 2)
        reloading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reloading
        load.gate.set()
        await until(lambda: reranking.get_statistics()["model_key"] == "new")


async def test_closing_during_a_load_lets_go_of_what_it_brings() -> None:
    reranker, models = WordReranker(), ModelCache()
    load = Loader(reranker)
    load.gate.clear()
    async with reranking_with(load, models=models) as reranking:
        await until(lambda: len(load.profiles) == 1)
        closing = asyncio.create_task(reranking.close())
        await until(lambda: reranking.state == "absent")
        load.gate.set()
        await closing
        with pytest.raises(ModelError, match="shut down"):
            await reranking.reload()
    assert all(model.in_use == 0 for model in models.get_statistics()["rerank_model_models"])
    models.close()
    assert reranker.closed == 1


async def test_a_second_service_gets_the_loaded_model_from_the_cache() -> None:
    load, models = Loader(WordReranker()), ModelCache()
    async with reranking_with(load, models=models) as first:
        await first.ready()
        async with reranking_with(load, models=models) as second:
            await second.ready()
            both = [
                service.score(pairs_for(f"q{i}", documents(30)), deadline_ms=None)
                for i, service in enumerate((first, second))
            ]
            assert [scores.scored for scores in await asyncio.gather(*both)] == [30, 30]
    assert len(load.profiles) == 1
    assert models.get_statistics()["rerank_model_hits"] == 1


async def test_the_model_in_service_outlives_its_time_in_the_cache() -> None:
    now = 0.0
    reranker, models = WordReranker(), ModelCache(ttl_s=60, clock=lambda: now)
    async with reranking_with(Loader(reranker), models=models) as reranking:
        await reranking.ready()
        now = 61.0
        assert models.expire() == 1
        assert (await reranking.score(pairs_for("q", documents(3)), deadline_ms=None)).scored == 3
    assert reranker.closed == 1


# --- statistics


@in_virtual_time
async def test_statistics_tell_what_happened(clock: VirtualTime) -> None:
    async with reranking_with(Loader(WordReranker(ms_per_token=0.1)), clock=clock) as reranking:
        await reranking.ready()
        before = reranking.get_statistics()
        assert before["top1_changed_share"] is None
        assert before["score_mean"] is None
        pairs = pairs_for("release", [*documents(20), "lunch"])
        scores = await reranking.score(pairs, deadline_ms=None)
        reranking.note_ranking([1, 2, 3], [3, 1, 2])
        reranking.note_ranking([1, 2, 3], [1, 2, 3])
        reranking.note_ranking([], [])
        statistics = reranking.get_statistics()
    p_yes = 1 / (1 + np.exp(-scores.log_odds.astype(np.float64)))
    assert statistics["calls"] == 1
    assert statistics["pairs_scored"] == 21
    assert statistics["top1_changed_share"] == 0.5
    assert statistics["mean_rank_move"] == pytest.approx((2 + 1 + 1) / 3 / 2)
    assert statistics["score_min"] == pytest.approx(p_yes.min())
    assert statistics["score_max"] == pytest.approx(p_yes.max())
    assert statistics["score_mean"] == pytest.approx(p_yes.mean())
    assert statistics["ms_per_document"] == pytest.approx(1.0)
    assert statistics["ms_per_token"] == pytest.approx(0.1)
    assert statistics["call_ms_p50"] == statistics["call_ms_p95"] == pytest.approx(21.0)
    assert (statistics["model"], statistics["model_key"], statistics["path"]) == ("words", "words:1", None)
    assert all(isinstance(value, int | float | str | None) for value in statistics.values())


# --- a real model


async def test_a_qwen3_scores_the_same_alone_and_among_others(tmp_path_factory: pytest.TempPathFactory) -> None:
    from cogs.memory.rerankers.qwen3 import Qwen3Reranker
    from tests.tiny_models import chat_lines, make_qwen3

    folder = str(make_qwen3(tmp_path_factory.mktemp("models") / "tiny"))
    profile = MemoryProfile(name="test", reranker="qwen3", reranker_model=folder, token_budget=256)

    def load(wanted: MemoryProfile) -> Qwen3Reranker:
        return Qwen3Reranker.load(folder, dtype=wanted.dtype, token_budget=wanted.token_budget)

    worker, models = ModelWorker("test-worker"), ModelCache()
    reranking = ModelReranking(profile, worker, models, load=load)
    await reranking.start()
    await reranking.ready()
    alone = await asyncio.to_thread(load, profile)
    calls = [pairs_for(f"who broke build {i}?", chat_lines(30, seed=i)) for i in range(4)]
    tasks = [reranking.score(call, deadline_ms=None, guild_id=i) for i, call in enumerate(calls)]
    for call, scores in zip(calls, await asyncio.gather(*tasks), strict=True):
        np.testing.assert_allclose(scores.log_odds, alone.score(call), atol=1e-4)
        assert scores.scored == 30
    statistics = reranking.get_statistics()
    assert statistics["state"] in {"ready", "degraded"}  # random weights
    assert statistics["path"] == alone.path
    assert (await reranking.score(calls[0], deadline_ms=0)).from_cache == 30
    alone.close()
    await reranking.close()
    models.close()
    with pytest.raises(ScoringFailed):
        alone.score(calls[0])
    worker.shutdown()
