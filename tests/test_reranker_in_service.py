"""The reranker where it works: plugged into recall and replies, on time, and never on the event loop."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cogs.memory.memory_service import MemoryService
from cogs.memory.record_reranking import probability
from cogs.memory.records import Scope
from cogs.memory.reranker_service import CHAT_INSTRUCTION
from cogs.memory.rerankers import Pair
from profiles import load_profile
from tests.conftest import CHANNEL, GUILD, said
from tests.plugin_rerankers import PROFILE, WordReranker, word_score
from tests.tiny_models import chat_lines, make_qwen3

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder
    from profiles import MemoryProfile

SCOPE = Scope(GUILD, frozenset([CHANNEL]))


@asynccontextmanager
async def opened(
    profile: MemoryProfile, folder: Path, load: LoadEncoder, *, messages: int, **options: Any
) -> AsyncIterator[MemoryService]:
    async with MemoryService.on_folder(profile, folder, load=load, **options) as memory:
        await memory.remember([said(n, text) for n, text in enumerate(chat_lines(messages), start=1)])
        await memory.queue.embedded()
        await memory.reranker.ready()
        yield memory


# --- unplug the model anywhere between the question and the answer, and these fail


async def test_what_recall_shows_carries_the_model_s_own_scores_and_its_order(
    tmp_path: Path, load_shared: LoadEncoder
) -> None:
    model = WordReranker()
    async with opened(
        replace(PROFILE, rerank_deadline_ms=None), tmp_path, load_shared, messages=60, load_reranker=lambda _: model
    ) as memory:
        query = "bot server release deploy"
        recall = await memory.recall(query, SCOPE, limit=20)
        without = await memory.recall(query, SCOPE, limit=20, order="structure")
    for result in recall.results:
        document = f"{result.message.author_name}: {result.message.text}"
        assert result.rerank_score == pytest.approx(
            probability(word_score(Pair(query, document, CHAT_INSTRUCTION))), abs=1e-6
        )
    assert [r.message.id for r in recall.results] != [r.message.id for r in without.results]
    assert recall.trace.reranker == "words"
    assert recall.trace.reranked == recall.trace.rerank_of > 20


async def test_what_a_reply_is_given_went_through_the_model(tmp_path: Path, load_shared: LoadEncoder) -> None:
    model = WordReranker()
    profile = replace(PROFILE, injection_deadline_ms=None)
    async with opened(profile, tmp_path, load_shared, messages=60, load_reranker=lambda _: model) as memory:
        model.batches.clear()
        context = await memory.build_context("bot server release deploy", SCOPE)
        first = memory.reranker.get_statistics()
    read = [pair.document for batch in model.batches for pair in batch]
    assert context.text
    assert len(read) > 20
    assert first["model_rankings"] == 1


# --- on time


async def test_a_recall_ends_at_its_deadline_though_the_model_became_a_hundred_times_slower(
    tmp_path: Path, load_shared: LoadEncoder
) -> None:
    model = WordReranker(ms_per_token=0.05)
    profile = replace(PROFILE, rerank_deadline_ms=200, rerank_candidates=100)
    async with opened(profile, tmp_path, load_shared, messages=110, load_reranker=lambda _: model) as memory:
        model.ms_per_token *= 100
        model.batches.clear()
        for number in range(3):
            recall = await memory.recall(f"bot server release {number}", SCOPE)
            assert recall.results
        assert any("deadline" in reason for reason in recall.trace.degraded)
        assert memory.reranker.get_statistics()["model_timeouts"] == 3
    assert sum(map(len, model.batches)) < 50, "of 300: nobody waited for more than a chunk or two"


# --- off the event loop


async def longest_work(stop: asyncio.Event) -> tuple[float, float]:
    """Seconds that the event loop's thread computed without giving the turn to others, and that all threads computed.

    What other programs take is in neither.
    """
    longest, began = 0.0, time.process_time()
    while not stop.is_set():
        start = time.thread_time()
        await asyncio.sleep(0.005)
        longest = max(longest, time.thread_time() - start)
    return longest, time.process_time() - began


async def test_the_event_loop_is_free_while_a_rerank_a_reload_and_an_ingest_run_together(
    tmp_path: Path, load_shared: LoadEncoder
) -> None:
    folder = make_qwen3(tmp_path / "tiny", layers=2)
    profile = replace(
        load_profile("cpu"), reranker_model=str(folder), dtype="float32", rerank_deadline_ms=None, max_length=2048
    )
    async with opened(profile, tmp_path / "m", load_shared, messages=40) as memory:
        numbers = itertools.count(1000)
        stop = asyncio.Event()

        async def ingest() -> None:
            while not stop.is_set():
                batch = [said(next(numbers), f"{text} {n}") for n, text in enumerate(chat_lines(5, seed=7))]
                await memory.remember(batch)
                await asyncio.sleep(0.05)

        async def ask() -> None:
            for number in itertools.count():
                if stop.is_set():
                    return
                await memory.recall(f"who said release {number}", SCOPE)

        async def reload() -> None:
            for _ in range(2):
                await memory.reranker.reload()
            stop.set()

        gc.disable()  # a collection would take longer than all that is measured
        try:
            (longest, computed), *_ = await asyncio.gather(longest_work(stop), ingest(), ask(), reload())
        finally:
            gc.enable()
        figures = memory.reranker.get_statistics()
    assert figures["model_reloads"] == 2
    assert longest < computed / 25  # one question's scoring would be twice that
