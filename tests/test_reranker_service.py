"""The service that ranks: with real tiny Qwen3 weights, and with none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cogs.memory.exceptions import ModelError
from cogs.memory.memory_service import MemoryService
from cogs.memory.records import Scope
from cogs.memory.reranker_service import RerankerService
from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.qwen3_prompt import DEFAULT_INSTRUCTION
from profiles import load_profile
from tests.conftest import CHANNEL, GUILD, said
from tests.plugin_rerankers import WordReranker
from tests.rerankers.official_qwen3 import OfficialQwen3
from tests.tiny_models import chat_lines, make_qwen3

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder
    from profiles import MemoryProfile

SCOPE = Scope(GUILD, frozenset([CHANNEL]))
FLOAT32 = replace(load_profile("cpu"), dtype="float32", rerank_deadline_ms=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_qwen3(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
async def service(folder: Path) -> AsyncIterator[RerankerService]:
    service = RerankerService(FLOAT32, reranker_model=str(folder))
    yield service
    await service.close()


async def test_scores_are_the_official_probabilities_in_their_order(service: RerankerService, folder: Path) -> None:
    records = [{"id": n, "content": text, "n": [n]} for n, text in enumerate(["", *chat_lines(20), *chat_lines(3)])]
    before = [dict(record) for record in records]
    query = "who fixed the router?"
    result = await service.rerank_results(query, records, score_field="content", top_k=None, instruction="Find it.")
    pairs = [Pair(query, str(record["content"]), "Find it.") for record in records]
    expected = OfficialQwen3(folder).probabilities(pairs)
    assert records == before
    assert sorted(r["id"] for r in result) == list(range(len(records)))
    for record in result:
        assert record["rerank_score"] == pytest.approx(expected[record["id"]], abs=1e-5)
        assert record["n"] == [record["id"]]
    scores = [record["rerank_score"] for record in result]
    assert scores == sorted(scores, reverse=True)


async def test_several_queries_in_one_run_score_as_alone(service: RerankerService) -> None:
    batches = [[{"content": text} for text in chat_lines(count, seed=count)] for count in (3, 1, 5)]
    queries = ["one?", "two?", "three?"]
    together = await service.batch_rerank(queries, batches)
    for query, batch, result in zip(queries, batches, together, strict=True):
        alone = await service.rerank_results(query, batch)
        np.testing.assert_allclose([r["rerank_score"] for r in result], [r["rerank_score"] for r in alone], atol=1e-6)


async def test_the_default_instruction_is_the_one_the_model_was_trained_with(service: RerankerService) -> None:
    records = [{"content": "tea"}]
    assert await service.rerank_results("q", records) == await service.rerank_results(
        "q", records, instruction=DEFAULT_INSTRUCTION
    )


async def test_bad_input_is_refused_and_missing_text_survived(service: RerankerService) -> None:
    assert await service.rerank_results("q", []) == []
    with pytest.raises(ValueError, match="top_k must be a whole number from 0 up"):
        await service.rerank_results("q", [{"content": "a"}], top_k=-1)
    with pytest.raises(ValueError, match="2 queries but 1 lists"):
        await service.batch_rerank(["a", "b"], [[]])
    result = await service.rerank_results("q", [{"id": 1}, {"content": None}, {"content": 5}], top_k=2)
    assert len(result) == 2


@pytest.mark.parametrize("model", ["missing/folder/here", "../outside", "http://host/model", "nobody/unknown-model"])
async def test_a_model_that_cannot_be_had_is_a_clear_error(model: str) -> None:
    service = RerankerService(FLOAT32, reranker_model=model)
    with pytest.raises(ModelError):
        await service.rerank_results("q", [{"content": "a"}])
    await service.close()


async def test_without_a_model_late_interaction_orders_the_textbook_examples() -> None:
    service = RerankerService(load_profile("embedded"))
    cold = await service.rerank_results(
        "how to cure a cold",
        [{"content": t} for t in ("The weather is cold today.", "To cure a cold, rest and drink plenty of fluids.")],
    )
    csv = await service.rerank_results(
        "how do I read a CSV file in Python",
        [
            {"content": t}
            for t in (
                "Python is a snake that lives in Asia.",
                "JSON files are easy to write.",
                "Use pandas.read_csv to read a CSV file in Python.",
            )
        ],
    )
    await service.close()
    assert cold[0]["content"].startswith("To cure")
    assert csv[0]["content"].startswith("Use pandas")
    assert all(0 <= record["rerank_score"] <= 1 for record in (*cold, *csv))


def memory_with(profile: MemoryProfile, folder: Path, load: LoadEncoder, **options: Any) -> MemoryService:
    return MemoryService.on_folder(profile, folder, load=load, **options)


async def test_recall_is_reranked_by_the_model_and_says_so(tmp_path: Path, load_shared: LoadEncoder) -> None:
    profile = replace(FLOAT32, rerank_candidates=20)
    async with memory_with(profile, tmp_path / "m", load_shared, load_reranker=lambda _: WordReranker()) as memory:
        await memory.remember([said(n, text) for n, text in enumerate(chat_lines(40), start=1)])
        await memory.queue.embedded()
        await memory.reranker.ready()
        recall = await memory.recall("router fixed backup", SCOPE, limit=10)
        plain = await memory.recall("router fixed backup", SCOPE, limit=10, order="structure")
        statistics = memory.reranker.get_statistics()
    assert recall.trace.reranked == recall.trace.rerank_of == 20
    assert all(result.rerank_score is not None for result in recall.results)
    assert all(result.rerank_score is None for result in plain.results)
    assert [r.message.id for r in recall.results] != [r.message.id for r in plain.results]
    assert statistics["calls"] == 2
    assert statistics["model_state"] == "ready"


async def test_recall_answers_while_the_model_cannot_be_loaded(tmp_path: Path, load_shared: LoadEncoder) -> None:
    profile = replace(FLOAT32, reranker_model="nobody/unknown-model")
    async with memory_with(profile, tmp_path / "m", load_shared) as memory:
        await memory.remember([said(1, "the samovar is broken")])
        await memory.queue.embedded()
        with pytest.raises(ModelError):
            await memory.reranker.ready()
        recall = await memory.recall("samovar", SCOPE)
    assert recall.results[0].message.id == 1
    assert recall.results[0].rerank_score is None
    assert (recall.trace.reranked, recall.trace.rerank_of) == (0, 1)
    assert "Not all reranked" in recall.trace.degraded[0]
