"""Whatever its reranker model does, recall answers and says how; ``make soak`` walks the same states."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cogs.memory import rerank_dispatch
from cogs.memory.memory_service import MemoryService
from cogs.memory.worker import ModelWorker, Priority
from tests.conftest import said
from tests.soak.models import PROFILE, SCOPE, Hanging, State, ask_in_state, is_right, reload_under_questions, states
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder


@pytest.mark.parametrize("state", states(), ids=lambda state: state.name)
async def test_recall_answers_and_says_how(
    state: State, tmp_path: Path, load_shared: LoadEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    if state.name == "hanging":
        monkeypatch.setattr(rerank_dispatch, "HANG_S", 0.5)
    recalls, _ = await ask_in_state(state, tmp_path, load_shared)
    assert is_right(state, recalls), [recall.trace for recall in recalls]


async def test_reload_during_twenty_recalls_fails_nobody_and_mixes_no_scores(
    tmp_path: Path, load_shared: LoadEncoder
) -> None:
    assert await reload_under_questions(tmp_path, rounds=2, load=load_shared) == (40, 0)


async def test_questions_wait_neither_for_a_model_that_hangs_nor_is_it_given_up_before_its_time(
    tmp_path: Path, load_shared: LoadEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerank_dispatch, "HANG_S", 3600.0)  # so only what comes before it can help
    model = Hanging()
    profile = replace(PROFILE, rerank_deadline_ms=200)
    async with MemoryService.on_folder(profile, tmp_path, load=load_shared, load_reranker=lambda _: model) as memory:
        await memory.remember([said(n, f"the samovar is broken, part {n}") for n in range(1, 5)])
        await memory.queue.embedded()
        await memory.reranker.ready()
        model.in_service = True
        try:
            while not model.hangs.is_set():  # the deadline may pass before its turn comes
                await asyncio.wait_for(memory.recall("samovar", SCOPE), PATIENCE_S)
            for question in ("what is broken", "which part"):
                recall = await asyncio.wait_for(memory.recall(question, SCOPE), PATIENCE_S)
                assert recall.results
                assert recall.trace.degraded
            assert memory.reranker.get_statistics()["model_score_cache_size"] == 0
        finally:
            model.released.set()
        await until(lambda: memory.reranker.get_statistics()["model_score_cache_size"])  # it was only slow


def test_a_worker_goes_on_without_a_call_that_never_ends_and_keeps_its_result_if_it_does() -> None:
    worker, begun, release = ModelWorker(), threading.Event(), threading.Event()
    threads: list[int] = []

    def hang() -> str:
        begun.set()
        release.wait(60)
        return "after all"

    stuck = worker.submit_at(Priority.QUESTION, hang)
    waiting = worker.submit(lambda: threads.append(threading.get_ident()))
    assert begun.wait(60)
    assert not worker.abandon(waiting)
    assert worker.abandon(stuck)
    waiting.result(timeout=60)
    assert not worker.abandon(stuck)
    release.set()
    assert stuck.result(timeout=60) == "after all"
    for _ in range(20):
        worker.submit(lambda: threads.append(threading.get_ident())).result(timeout=60)
    worker.shutdown()
    assert len(set(threads)) == 1, "the abandoned thread takes nothing further"
