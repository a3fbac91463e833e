"""The reranker where it works: plugged into recall and replies, on time, and never on the event loop."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cogs.memory.memory_service import MemoryService
from cogs.memory.record_reranking import probability
from cogs.memory.records import Scope
from cogs.memory.reranker_service import CHAT_INSTRUCTION
from cogs.memory.rerankers import Pair
from tests.conftest import CHANNEL, GUILD, said
from tests.plugin_rerankers import PROFILE, Loader, WordReranker, word_score
from tests.tiny_models import chat_lines
from tests.waiting import until

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


async def test_a_recall_ends_at_its_deadline_though_the_model_does_not_come_back(
    tmp_path: Path, load_shared: LoadEncoder
) -> None:
    model = WordReranker()
    profile = replace(PROFILE, rerank_deadline_ms=200, rerank_candidates=100)
    async with opened(profile, tmp_path, load_shared, messages=110, load_reranker=lambda _: model) as memory:
        model.batches.clear()
        model.gate.clear()
        recall = await memory.recall("bot server release", SCOPE)
        assert not model.batches
        model.gate.set()
    assert recall.results
    assert recall.trace.reranked == 0
    assert any("the deadline of" in reason for reason in recall.trace.degraded)


# --- off the event loop


async def test_the_event_loop_is_free_while_a_rerank_a_reload_and_an_ingest_are_under_way(
    tmp_path: Path, load_shared: LoadEncoder
) -> None:
    """Were one of them on the loop, nothing would ever let it go; how late the loop is, the benchmarks measure."""
    model = WordReranker()
    load = Loader(model, WordReranker(key="words:2"))
    profile = replace(PROFILE, rerank_deadline_ms=None)
    async with opened(profile, tmp_path, load_shared, messages=40, load_reranker=load) as memory:
        load.gate.clear()
        model.gate.clear()
        model.entered.clear()
        asking = asyncio.create_task(memory.recall("bot server release", SCOPE))
        reloading = asyncio.create_task(memory.reranker.reload())
        await until(lambda: model.entered.is_set() and len(load.profiles) == 2)
        await memory.remember([said(1000, "said while everything stands still")])
        await memory.queue.stored()
        assert not asking.done()
        assert not reloading.done()
        load.gate.set()
        model.gate.set()
        assert (await asking).trace.reranked > 0
        await reloading
        await memory.queue.embedded()
        assert memory.reranker.get_statistics()["model_reloads"] == 1
    assert threading.current_thread().name not in model.threads | load.threads
