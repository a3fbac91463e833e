"""The reranker without a bot: texts, dicts and objects in, the right record with the right score out."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from cogs.memory.exceptions import ModelError, ModelNotAllowed, ModelUnavailable, ScoringFailed
from cogs.memory.record_reranking import probability, text_of
from cogs.memory.reranker_service import RerankerService
from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.qwen3_prompt import DEFAULT_INSTRUCTION
from cogs.memory.reranking_library import (
    CrossEncoderReranker,
    MemoryReranker,
    rerank_memories,
    reranker_from_settings,
)
from profiles import load_settings
from tests.plugin_rerankers import PROFILE, WordReranker, word_score
from tests.rerankers.official_qwen3 import OfficialQwen3
from tests.tiny_models import chat_lines, make_cross_encoder, make_qwen3

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

QUERY = "who said that we should fix it"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_qwen3(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cross_encoder(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture
async def service() -> AsyncIterator[RerankerService]:
    async with RerankerService(PROFILE, load=lambda _: WordReranker()) as service:
        yield service


@pytest.fixture
async def failing() -> AsyncIterator[RerankerService]:
    """One whose model breaks after its test."""
    model = WordReranker()
    async with RerankerService(PROFILE, load=lambda _: model) as service:
        await service.ready()

        def fault(_: Sequence[Pair]) -> None:
            raise ScoringFailed("The reranker model broke.")

        model.fault = fault
        yield service


@dataclass(frozen=True)
class Memory:
    content: str
    score: float = 0.0


def expected_score(text: str, query: str = QUERY, instruction: str = DEFAULT_INSTRUCTION) -> Any:
    return pytest.approx(probability(word_score(Pair(query, text, instruction))), abs=1e-6)


async def test_texts_come_back_with_the_official_probabilities_best_first(folder: Path) -> None:
    texts = ["", *chat_lines(8), "lunch?", "lunch?"]
    async with MemoryReranker(str(folder), dtype="float32") as reranker:
        result = await reranker.rerank_memories(QUERY, texts, instruction="Find it.")
    official = OfficialQwen3(folder).probabilities([Pair(QUERY, text, "Find it.") for text in texts])
    assert sorted(text for text, _ in result) == sorted(texts)
    assert [score for _, score in result] == sorted((score for _, score in result), reverse=True)
    for text, score in result:
        assert score == pytest.approx(official[texts.index(text)], abs=1e-5)


async def test_a_single_question_sets_up_and_cleans_up_by_itself(folder: Path) -> None:
    [(first, score), *rest] = await rerank_memories(QUERY, chat_lines(3), model_path=str(folder), dtype="float32")
    assert first in chat_lines(3)
    assert 0 <= rest[-1][1] <= score <= 1


async def test_records_in_any_order_keep_their_own_fields(service: RerankerService) -> None:
    records = [{"id": n, "content": text, "tags": [n]} for n, text in enumerate(chat_lines(30, seed=4))]
    random.Random(5).shuffle(records)
    before = [dict(record) for record in records]
    result = await service.rerank_memory_results(QUERY, records)
    assert records == before
    assert [record["rerank_rank"] for record in result] == list(range(1, 31))
    assert [r["rerank_score"] for r in result] == sorted((r["rerank_score"] for r in result), reverse=True)
    for record in result:
        assert record["tags"] == [record["id"]]
        assert record["rerank_score"] == expected_score(str(record["content"]))


async def test_the_text_is_found_wherever_it_stands(service: RerankerService) -> None:
    memory = Memory("we should fix it")
    records = [{"content": "fix it"}, {"text": "who said"}, memory, "that", {"other": 1}, 7, {"content": None}]
    result = await service.rerank_memory_results(QUERY, records)
    assert len(result) == 7
    assert next(r for r in result if r.get("memory") is memory)["content"] == memory.content
    assert [text_of(record) for record in records] == ["fix it", "who said", memory.content, "that", "", "", ""]
    assert {text for text, _ in await service.rerank_memories(QUERY, records)} == {text_of(r) for r in records}


async def test_a_batch_gives_what_single_calls_give(service: RerankerService) -> None:
    queries = ["who broke it", "lunch", "release"]
    texts = [chat_lines(count, seed=count) for count in (4, 0, 7)]
    assert await service.batch_rerank(queries, texts) == [
        await service.rerank_memories(query, batch) for query, batch in zip(queries, texts, strict=True)
    ]
    records = [[{"content": text} for text in batch] for batch in texts]
    assert await service.batch_rerank(queries, records, top_k=2) == [
        await service.rerank_results(query, batch, top_k=2) for query, batch in zip(queries, records, strict=True)
    ]
    with pytest.raises(ValueError, match="1 queries but 2 lists"):
        await service.batch_rerank(["a"], [["b"], ["c"]])


async def test_concurrent_calls_do_not_mix(service: RerankerService) -> None:
    queries = [f"question {number} about lunch" for number in range(20)]
    results = await asyncio.gather(*(service.rerank_memories(query, chat_lines(5, seed=9)) for query in queries))
    for query, result in zip(queries, results, strict=True):
        assert all(score == expected_score(text, query) for text, score in result)


async def test_an_instruction_changes_scores_and_their_cache(service: RerankerService) -> None:
    [(_, plain)] = await service.rerank_memories(QUERY, ["tea"])
    [(_, told)] = await service.rerank_memories(QUERY, ["tea"], instruction="Find drinks.")
    assert plain == expected_score("tea")
    assert told == expected_score("tea", instruction="Find drinks.") != plain


async def test_two_stages_retrieve_many_and_keep_the_best(service: RerankerService) -> None:
    asked: list[tuple[str, int]] = []
    memories = [Memory(text) for text in ["noise", "we should fix it", *chat_lines(30), QUERY]]

    async def retrieve(query: str, count: int) -> list[Memory]:
        asked.append((query, count))
        return memories

    result = await service.retrieve_with_rerank(QUERY, 3, retrieve=retrieve)
    assert asked == [(QUERY, 100)]
    assert [each["final_rank"] for each in result] == [1, 2, 3]
    assert result[0]["document"] is memories[-1]
    for each in result:
        assert memories[each["original_rank"] - 1] is each["document"]
        assert each["score"] == expected_score(each["document"].content)


async def test_failure_gives_retrieval_order_and_says_so(
    failing: RerankerService, caplog: pytest.LogCaptureFixture
) -> None:
    texts = chat_lines(6)
    for _ in range(2):
        assert await failing.rerank_memories(QUERY, texts) == [(text, 0.5) for text in texts]
    results = await failing.rerank_memory_results(QUERY, texts)
    assert [(r["content"], r["rerank_score"], r["rerank_rank"]) for r in results] == [
        (text, 0.5, rank) for rank, text in enumerate(texts, start=1)
    ]
    assert results[0]["rerank_degraded"] == "the reranker model broke"
    [plain] = await failing.rerank_results(QUERY, [{"content": "a"}])
    assert (plain["rerank_score"], plain["rerank_degraded"]) == (None, "the reranker model broke")
    assert len([record for record in caplog.records if "failed" in record.message]) == 1


async def test_nothing_in_nothing_out_without_a_model() -> None:
    def load(_: object) -> WordReranker:
        raise AssertionError("loaded for nothing")

    async with RerankerService(PROFILE, load=load) as service:
        assert await service.rerank_memories(QUERY, []) == []
        assert await service.rerank_memory_results(QUERY, []) == []
        assert await service.batch_rerank(["a", "b"], [[], []]) == [[], []]


async def test_cleanup_may_be_called_twice_and_ends_the_service(folder: Path) -> None:
    reranker = MemoryReranker(str(folder), dtype="float32")
    await reranker.rerank_memories(QUERY, ["a"])
    await reranker.cleanup()
    await reranker.cleanup()
    with pytest.raises(ModelUnavailable, match="shut down"):
        await reranker.rerank_memories(QUERY, ["a"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model_path": "./missing"}, ModelUnavailable, "no folder"),
        ({"model_path": "../../nobody-made-this"}, (ModelUnavailable, ModelNotAllowed), "folder"),
        ({"model_path": "https://host/model"}, ModelNotAllowed, "owner/name"),
        ({"model_path": "nobody/unknown"}, ModelNotAllowed, "Qwen/Qwen3-Reranker-0.6B"),
        ({"max_length": 9000}, ValueError, "from 32 to 8192"),
        ({"token_budget": -1}, ValueError, "from 32 to"),
        ({"memory_share": 2.0}, ValueError, "from 0.01 to 1"),
        ({"device": "tpu"}, ValueError, "cpu, cuda, mps"),
    ],
)
def test_bad_options_are_refused_with_what_is_allowed(
    options: dict[str, Any], error: type[Exception] | tuple[type[Exception], ...], message: str
) -> None:
    with pytest.raises(error, match=message):
        MemoryReranker(**options)


@pytest.mark.parametrize("top_k", [-1, "3", 2.5, True])
async def test_a_top_k_that_is_no_count_is_refused(service: RerankerService, top_k: Any) -> None:
    with pytest.raises(ValueError, match="whole number from 0 up"):
        await service.rerank_memories(QUERY, ["a"], top_k=top_k)


@pytest.mark.parametrize("one", ["a text", b"bytes", {"content": "a record"}])
async def test_one_text_where_several_are_meant_is_refused(service: RerankerService, one: Any) -> None:
    for call in (service.rerank_memories, service.rerank_memory_results, service.rerank_results):
        with pytest.raises(TypeError, match="several texts or records are expected"):
            await call(QUERY, one)
    with pytest.raises(TypeError, match="several texts"):
        await service.batch_rerank("ab", [["x"], ["y"]])
    with pytest.raises(TypeError, match="several texts"):
        await service.batch_rerank(["a", "b"], one)


@pytest.mark.parametrize("top_n", [-1, 2.5, True])
def test_a_cross_encoder_names_the_option_that_is_wrong(top_n: Any) -> None:
    with pytest.raises(ValueError, match="top_n must be a whole number from 0 up"):
        CrossEncoderReranker(top_n=top_n)


@pytest.mark.parametrize("candidates", [["text"], [None], [["a"]]])
async def test_candidates_that_are_no_mappings_are_refused(service: RerankerService, candidates: Any) -> None:
    with pytest.raises(TypeError, match="must be a mapping"):
        await service.rerank_results(QUERY, candidates)
    with pytest.raises(TypeError, match="a query must be a text, not a NoneType"):
        await service.rerank_results(None, [])  # type: ignore[arg-type]


async def test_a_cross_encoder_keeps_the_score_of_the_first_stage(bert: Path) -> None:
    documents = [{"content": text, "score": n / 10, "id": n} for n, text in enumerate(chat_lines(9))]
    async with CrossEncoderReranker(str(bert), top_n=4, batch_size=2) as reranker:
        results = await reranker.rerank("the bot", documents)
        everything = await reranker.rerank("the bot", documents, top_n=50)
        memories = await reranker.rerank("the bot", [Memory("the bot broke", score=0.7), "lunch"])
    assert everything[:4] == results
    assert len(everything) == 9
    for rank, result in enumerate(results, start=1):
        assert result["rerank_rank"] == rank
        assert (result["original_score"], result["original_rank"]) == (result["id"] / 10, result["id"] + 1)
        assert 0 < result["rerank_score"] < 1
        assert all(isinstance(key, str) and key.isidentifier() for key in result)
    by_rank = {memory["original_rank"]: memory for memory in memories}
    assert by_rank[1]["document"] == Memory("the bot broke", score=0.7)
    assert (by_rank[1]["original_score"], by_rank[2]["original_score"]) == (0.7, None)


@pytest.mark.parametrize(("log_odds", "score"), [(8.5, 0.9998), (0.0, 0.5), (-5.0, 0.0067)])
def test_a_logit_becomes_a_share_by_the_sigmoid(log_odds: float, score: float) -> None:
    assert probability(log_odds) == pytest.approx(score, abs=5e-5)


async def test_settings_make_a_reranker(folder: Path) -> None:
    settings = load_settings(env_file=None, memory_profile="cpu", reranker_model=str(folder), models_folder=None)
    async with reranker_from_settings(settings) as reranker:
        assert len(await reranker.rerank_memories(QUERY, ["a", "b"])) == 2


async def test_a_reranker_that_is_off_keeps_retrieval_order() -> None:
    settings = load_settings(env_file=None, memory_profile="cpu", reranker_enabled=False)
    async with reranker_from_settings(settings) as reranker:
        results = await reranker.rerank_results(QUERY, [{"content": "noise"}, {"content": QUERY}])
    assert [r["content"] for r in results] == ["noise", QUERY]
    assert {r["rerank_degraded"] for r in results} == {"reranking is turned off"}


async def test_a_model_that_is_missing_is_an_error_and_no_score() -> None:
    async with MemoryReranker() as reranker:
        with pytest.raises(ModelError, match="not on this machine yet"):
            await reranker.rerank_memories(QUERY, ["a"])
