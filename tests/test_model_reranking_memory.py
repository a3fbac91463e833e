"""Running out of memory: smaller chunks, then the CPU."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cogs.memory.exceptions import OutOfMemory
from cogs.memory.model_cache import ModelCache
from cogs.memory.serving_model import MIN_BUDGET
from tests.plugin_rerankers import (
    PROFILE,
    TOKENS,
    Loader,
    WordReranker,
    documents,
    pairs_for,
    reranking_with,
    too_large,
    word_score,
)
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.rerankers import Pair

GPU = dataclasses.replace(PROFILE, device="cuda", dtype="float16", token_budget=4096)


async def test_less_memory_means_smaller_chunks_from_then_on() -> None:
    reranker = WordReranker()
    async with reranking_with(Loader(reranker)) as reranking:
        await reranking.ready()
        reranker.batches.clear()
        reranker.fault = too_large(15)
        pairs = pairs_for("q", documents(100))
        scores = await reranking.score(pairs, deadline_ms=None)
        statistics = reranking.get_statistics()
    assert (scores.scored, scores.reason) == (100, None)
    assert statistics["out_of_memory"] == 2  # 51 documents, then 25, then 12
    assert statistics["token_budget"] == 250 // 2
    assert max(map(len, reranker.batches)) <= 15
    assert statistics["device"] == "cpu"


async def test_a_rerankers_own_budget_shrinks_along() -> None:
    class Budgeted(WordReranker):
        token_budget = 8192

    reranker = Budgeted()
    async with reranking_with(Loader(reranker)) as reranking:
        await reranking.ready()
        reranker.fault = too_large(30)
        await reranking.score(pairs_for("q", documents(100)), deadline_ms=None)
    assert reranker.token_budget == 51 * TOKENS // 2


async def test_no_memory_at_all_moves_the_model_to_the_cpu() -> None:
    on_gpu, on_cpu = WordReranker(key="gpu"), WordReranker(key="cpu", offset=5.0)
    load, models = Loader(on_gpu, on_cpu), ModelCache()
    async with reranking_with(load, GPU, models) as reranking:
        await reranking.ready()
        on_gpu.fault = too_large(0)
        load.gate.clear()
        pairs = pairs_for("q", documents(40))
        patient = asyncio.create_task(reranking.score(pairs, deadline_ms=None))
        hurried = await reranking.score(pairs_for("h", documents(40)), deadline_ms=60_000)
        meanwhile = await reranking.score(pairs, deadline_ms=60_000)
        assert (hurried.scored, hurried.reason) == (0, "the reranker ran out of memory")
        assert meanwhile.reason == "the reranker ran out of memory on cuda and moves to the CPU"
        load.gate.set()
        scores = await patient
        assert scores.log_odds.tolist() == [pytest.approx(word_score(pair) + 5.0, abs=1e-5) for pair in pairs]
        statistics = reranking.get_statistics()
        await until(lambda: on_gpu.closed == 1)
    assert (load.profiles[-1].device, load.profiles[-1].dtype) == ("cpu", "float32")
    assert (statistics["device"], statistics["moves_to_cpu"], statistics["state"]) == ("cpu", 1, "ready")


async def test_a_model_that_does_not_fit_on_the_device_is_loaded_on_the_cpu() -> None:
    load = Loader(OutOfMemory("The reranker ran out of memory."), WordReranker())
    async with reranking_with(load, GPU) as reranking:
        await reranking.ready()
        statistics = reranking.get_statistics()
    assert [profile.device for profile in load.profiles] == ["cuda", "cpu"]
    assert (statistics["device"], statistics["moves_to_cpu"]) == ("cpu", 1)


async def test_one_huge_document_does_not_move_the_model_to_the_cpu() -> None:
    class Huge(WordReranker):
        def token_counts(self, pairs: Sequence[Pair]) -> list[int]:
            return [4000 if "huge" in pair.document else TOKENS for pair in pairs]

    def fault(pairs: Sequence[Pair]) -> None:
        if any("huge" in pair.document for pair in pairs):
            raise MemoryError

    reranker = Huge()
    async with reranking_with(Loader(reranker), GPU) as reranking:
        await reranking.ready()
        reranker.fault = fault
        scores = await reranking.score(
            pairs_for("q", [*documents(20), "huge", *documents(20, start=50)]), deadline_ms=None
        )
        statistics = reranking.get_statistics()
    assert np.isnan(scores.log_odds).tolist() == [number == 20 for number in range(41)]
    assert scores.reason == "1 of 41 could not be scored; the reranker ran out of memory"
    assert (statistics["device"], statistics["moves_to_cpu"]) == ("cuda", 0)


async def test_no_memory_on_the_cpu_ends_the_call_and_the_next_one_tries_again() -> None:
    reranker = WordReranker()
    async with reranking_with(Loader(reranker)) as reranking:
        await reranking.ready()
        reranker.fault = too_large(0)
        scores = await reranking.score(pairs_for("q", documents(100)), deadline_ms=None)
        assert (scores.scored, scores.reason) == (0, "the reranker ran out of memory")
        assert reranking.get_statistics()["token_budget"] == MIN_BUDGET
        reranker.fault = lambda _: None
        assert (await reranking.score(pairs_for("q", documents(100)), deadline_ms=None)).scored == 100
