"""Proof of life, where people look for it: `/memory status` and `doctor`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cogs.memory.ab_test import ABTest
from cogs.memory.memory_service import MemoryService
from cogs.memory.model_loading import ModelSources
from cogs.memory.records import Scope
from cogs.memory.surface.cli import output
from cogs.memory.surface.cli.reranker_check import check_reranker
from cogs.memory.surface.commands.memory_texts import MemoryTexts
from cogs.memory.surface.commands.memory_texts_german import GERMAN
from cogs.memory.surface.commands.reranker_status import reranker_lines
from cogs.memory.surface.recall.judgements import Judgement
from profiles import load_profile
from tests.conftest import CHANNEL, GUILD, said
from tests.plugin_rerankers import PROFILE, WordReranker, too_large
from tests.tiny_models import chat_lines, make_qwen3

if TYPE_CHECKING:
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder

SCOPE = Scope(GUILD, frozenset([CHANNEL]))


async def test_status_shows_what_the_model_changes_its_scores_and_its_failures(
    tmp_path: Path, load_shared: LoadEncoder
) -> None:
    profile = replace(PROFILE, reranked_share=0.5, rerank_deadline_ms=None)
    a, b = (next(u for u in range(1, 99) if ABTest(0.5).side(u) == side) for side in "AB")
    model = WordReranker(is_remote=True)
    async with MemoryService.on_folder(
        profile, tmp_path / "m", load=load_shared, load_reranker=lambda _: model
    ) as memory:
        await memory.remember([said(n, text) for n, text in enumerate(chat_lines(30), start=1)])
        await memory.queue.embedded()
        await memory.reranker.ready()
        for query in ("bot server", "release deploy", "pizza lunch"):
            await memory.recall(query, SCOPE, asker_id=b)
        await memory.recall("pizza lunch", SCOPE, asker_id=a)
        model.fault = too_large(0)
        await memory.recall("red planet", SCOPE, asker_id=b)
        judgements = [Judgement("q", 1, CHANNEL, b, good=True), Judgement("q", 2, CHANNEL, a, good=False)]
        lines = reranker_lines(MemoryTexts(), memory, judgements)
        german = reranker_lines(GERMAN, memory, judgements)
        figures = memory.reranker.get_statistics()
    assert lines[0] == "decided by words"
    share = f"{figures['model_top1_changed_share']:.0%}"
    assert lines[1].startswith(f"the model changed the first result in {share} of the last 4 questions")
    assert lines[2].startswith(f"P(yes) from {figures['model_score_min']:.2f} to {figures['model_score_max']:.2f}")
    assert lines[3] == "model calls: 4 · out of time: 0 · turned away: 0 · failures: " + str(figures["model_failures"])
    assert figures["model_failures"] or figures["model_out_of_memory"]
    assert lines[4:] == [
        "A/B test, without the reranker: 1 questions, 👍 0 👎 1",
        "A/B test, with the reranker: 4 questions, 👍 1 👎 0",
    ]
    assert len(german) == len(lines)
    assert not set(german) & set(lines)


async def test_a_model_that_cannot_be_loaded_is_shown_with_its_reason(tmp_path: Path, load_shared: LoadEncoder) -> None:
    profile = replace(load_profile("cpu"), reranker_model="nobody/unknown-model")
    async with MemoryService.on_folder(profile, tmp_path / "m", load=load_shared) as memory:
        await memory.reranker.start()
        with pytest.raises(Exception, match="not on the list"):
            await memory.reranker.ready()
        lines = reranker_lines(MemoryTexts(), memory, [])
    assert lines[0] == "decided by structure"
    assert lines[1].startswith("the model is not in full service (failed):")
    assert "not on the list" in lines[1]


async def test_the_built_in_ranking_has_its_line_too(memory: MemoryService) -> None:
    await memory.remember([said(1, "the samovar is broken")])
    await memory.queue.embedded()
    await memory.recall("samovar", SCOPE)
    assert reranker_lines(MemoryTexts(), memory, []) == [
        "decided by structure",
        "another first result than plain search in 0% of 1 questions",
    ]


async def test_doctor_loads_tries_and_times_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output.console, "width", 300)
    folder = make_qwen3(tmp_path / "tiny")
    profile = replace(
        load_profile("cpu"), reranker_model=str(folder), dtype="float32", rerank_deadline_ms=None, max_length=1024
    )
    problems = await check_reranker(profile, ModelSources(tmp_path / "models"))
    printed = capsys.readouterr().out
    assert "of 6 examples, moved" in printed
    assert "ms a text, path packed, 0 out of time" in printed
    assert all("is not to be trusted" in problem for problem in problems)  # random weights order by luck
    (folder / "model.safetensors").write_bytes(b"short")
    [problem] = await check_reranker(profile, ModelSources(tmp_path / "models"))
    assert "safetensors" in problem


async def test_doctor_downloads_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await check_reranker(load_profile("cpu"), ModelSources(tmp_path / "models")) == []
    assert "not on this machine yet" in " ".join(capsys.readouterr().out.split())
