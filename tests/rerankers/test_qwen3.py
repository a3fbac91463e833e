"""Scores equal to the authors' own code, on random weights of many shapes."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cogs.memory.exceptions import NonFiniteScores, ScoringFailed
from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.qwen3 import Qwen3Reranker
from cogs.memory.rerankers.qwen3_prompt import CHAT_TEMPLATE
from tests.rerankers.official_qwen3 import OfficialQwen3
from tests.tiny_models import chat_lines, make_qwen3

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

FIND = "Given a question about a chat, find the messages that answer it"

SHAPES: dict[str, dict[str, Any]] = {
    "tied, grouped heads": {},
    "untied": {"tie_word_embeddings": False},
    "one key head for all": {"kv_heads": 1, "heads": 8, "head_dim": 16},
    "a key head for each": {"kv_heads": 4, "heads": 4, "layers": 3},
    "wide heads": {"head_dim": 64, "hidden": 48, "heads": 2, "kv_heads": 1},
    "one layer": {"layers": 1},
    "other rotation": {"rope_theta": 10_000.0, "intermediate": 200},
    "sharded": {"max_shard_size": "60KB"},
    "no word borders": {"pre_tokenizer": "none"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_qwen3(tmp_path_factory.mktemp("models") / "tiny", layers=3)


@pytest.fixture(scope="module")
def official(folder: Path) -> OfficialQwen3:
    return OfficialQwen3(folder)


@pytest.fixture(scope="module")
def reranker(folder: Path) -> Qwen3Reranker:
    return Qwen3Reranker.load(str(folder))


def probabilities(scores: NDArray[np.float32]) -> list[float]:
    return [1.0 / (1.0 + math.exp(-score)) for score in scores.tolist()]


def assert_official(scores: NDArray[np.float32], expected: Sequence[float]) -> None:
    """P within 1e-5 and the same order, but for what lies closer together than float32 can tell."""
    ours = probabilities(scores)
    assert ours == pytest.approx(expected, abs=1e-5)
    ranked = [expected[i] for i in sorted(range(len(ours)), key=lambda i: -ours[i])]
    assert all(b <= a + 5e-6 for a, b in itertools.pairwise(ranked))


def varied_documents() -> list[str]:
    """One token, 400 tokens, empty, blank, equal ones, and chat."""
    return ["yes", "", " ", "server " * 400, "lunch?", "lunch?", "\n\n  x", "我不知道 😀", *chat_lines(10), "", "yes"]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_scores_are_the_official_ones_for_every_shape(tmp_path: Path, shape: dict[str, Any]) -> None:
    folder = make_qwen3(tmp_path, **shape)
    reranker = Qwen3Reranker.load(str(folder), token_budget=200)
    assert (reranker.path, reranker.path_reason) == ("packed", "")
    pairs = [Pair(query, text, FIND) for query in ("who broke the bot?", "lunch") for text in varied_documents()]
    scores = reranker.score(pairs)
    assert np.ptp(scores) > 0.5  # the weights tell documents apart, so agreement means something
    assert_official(scores, OfficialQwen3(folder).probabilities(pairs))


@pytest.mark.parametrize("count", [1, 2, 7, 50, 200])
def test_any_number_of_documents_scores_as_officially(
    reranker: Qwen3Reranker, official: OfficialQwen3, count: int
) -> None:
    pairs = [Pair("where is the screenshot", text, FIND) for text in chat_lines(count, seed=count)]
    assert_official(reranker.score(pairs), official.probabilities(pairs))


def test_several_questions_and_instructions_in_one_run_score_as_alone(
    reranker: Qwen3Reranker, official: OfficialQwen3
) -> None:
    documents = chat_lines(12, seed=5)
    pairs = [
        Pair(query, document, instruction)
        for document in documents  # questions and instructions alternate from pair to pair
        for query in ("who?", "when is the release", "")
        for instruction in (FIND, "Judge", "")
    ]
    together = reranker.score(pairs)
    assert_official(together, official.probabilities(pairs))
    alone = [float(reranker.score([pair])[0]) for pair in pairs[:9]]
    assert together[:9].tolist() == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("budget", [1, 64, 500, 100_000])
def test_the_token_budget_changes_passes_not_scores(reranker: Qwen3Reranker, budget: int) -> None:
    pairs = [Pair("who broke it", text, FIND) for text in varied_documents()]
    expected = reranker.score(pairs)
    before, reranker.token_budget = reranker.token_budget, budget
    try:
        chunks = list(reranker.score_chunks(pairs))
        np.testing.assert_allclose(reranker.score(pairs), expected, atol=2e-5)
    finally:
        reranker.token_budget = before
    assert sorted(place for places, _ in chunks for place in places) == list(range(len(pairs)))
    assert len(chunks) == {1: len(set(pairs)), 100_000: 1}.get(budget, len(chunks))


def test_chunks_come_in_the_order_given_and_equal_pairs_once(reranker: Qwen3Reranker) -> None:
    texts = ["a", "the bot broke", "a", "lunch", "the bot broke", "zzz"]
    pairs = [Pair("q", text, FIND) for text in texts]
    before, reranker.token_budget = reranker.token_budget, 1
    try:
        places = [places for places, _ in reranker.score_chunks(pairs)]
    finally:
        reranker.token_budget = before
    assert places == [[0, 2], [1, 4], [3], [5]]


def test_a_caller_may_stop_between_chunks(reranker: Qwen3Reranker) -> None:
    pairs = [Pair("q", text, FIND) for text in chat_lines(60)]
    chunks = reranker.score_chunks(pairs)
    places, scores = next(chunks)
    assert 0 < len(places) < len(pairs)
    np.testing.assert_allclose(scores, reranker.score(pairs)[places], atol=2e-5)


def test_documents_are_cut_where_the_official_code_cuts_them(folder: Path) -> None:
    pairs = [Pair("the bot", text, FIND) for text in ("server " * 500, "server " * 30, "the release " * 300)]
    expected = OfficialQwen3(folder, max_length=300).probabilities(pairs)
    assert_official(Qwen3Reranker.load(str(folder), max_length=300).score(pairs), expected)


def test_long_documents_are_attended_to_in_tiles(reranker: Qwen3Reranker, official: OfficialQwen3) -> None:
    pairs = [Pair("who " * 200, text, FIND) for text in ("bot " * 700, "lunch " * 257, "ok")]
    assert_official(reranker.score(pairs), official.probabilities(pairs))


def test_no_pairs_give_no_scores(reranker: Qwen3Reranker) -> None:
    assert reranker.score([]).shape == (0,)
    assert reranker.token_counts([]) == []


def test_scores_equal_those_of_sentence_transformers_with_our_template(folder: Path, reranker: Qwen3Reranker) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    theirs = CrossEncoder(
        str(folder),
        device="cpu",
        model_kwargs={"dtype": torch.float32},
        processor_kwargs={"chat_template": CHAT_TEMPLATE},
        activation_fn=torch.nn.Identity(),
    )
    pairs = [Pair("who broke the bot?", text, FIND) for text in varied_documents()]
    expected = theirs.predict([(pair.query, pair.document) for pair in pairs], prompt=FIND, show_progress_bar=False)
    np.testing.assert_allclose(reranker.score(pairs), expected, atol=2e-5)


@pytest.mark.parametrize("seed", [1, 2])
def test_bfloat16_is_no_farther_from_float32_than_the_official_code(tmp_path: Path, seed: int) -> None:
    import torch
    from transformers import Qwen3ForCausalLM

    folder = make_qwen3(tmp_path, layers=6, seed=seed)
    rounded = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    rounded.save_pretrained(folder)  # both sides start from the same weights
    pairs = [Pair("who broke the build", text, FIND) for text in chat_lines(48, seed=seed)]
    exact = np.array(OfficialQwen3(folder).log_odds(pairs))
    theirs = np.abs(np.array(OfficialQwen3(folder, "bfloat16").log_odds(pairs)) - exact)
    reranker = Qwen3Reranker.load(str(folder), dtype="bfloat16")
    assert reranker.path == "packed"
    ours = np.abs(reranker.score(pairs) - exact)
    assert ours.mean() <= theirs.mean()
    assert ours.max() <= theirs.max()


def test_a_question_asked_again_runs_only_the_documents(folder: Path) -> None:
    reranker = Qwen3Reranker.load(str(folder), token_budget=100)
    pairs = [Pair("who said that", text, FIND) for text in chat_lines(10)]
    first = list(reranker.score_chunks(pairs))
    again = list(reranker.score_chunks(pairs))
    assert len(again) < len(first)  # the budget that the shared tokens took is free
    np.testing.assert_allclose(reranker.score(pairs), np.concatenate([s for _, s in first]), atol=2e-5)


def test_a_closed_model_says_so(folder: Path) -> None:
    reranker = Qwen3Reranker.load(str(folder))
    reranker.close()
    reranker.close()
    with pytest.raises(ScoringFailed, match="unloaded"):
        reranker.score([Pair("q", "d", FIND)])


def test_keys_tell_weights_dtypes_and_lengths_apart(folder: Path, tmp_path: Path) -> None:
    other = make_qwen3(tmp_path, layers=3, seed=9)
    loaded = [
        Qwen3Reranker.load(str(folder)),
        Qwen3Reranker.load(str(folder), dtype="bfloat16"),
        Qwen3Reranker.load(str(folder), max_length=512),
        Qwen3Reranker.load(str(other)),
    ]
    assert len({reranker.key for reranker in loaded}) == 4
    assert loaded[0].key == Qwen3Reranker.load(str(folder)).key
    assert all("float" in reranker.key for reranker in loaded)


def test_a_document_that_overflows_raises_non_finite_scores(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_qwen3(tmp_path)
    weights = load_file(folder / "model.safetensors")
    poisoned = OfficialQwen3(folder).tokenizer.encode("§", add_special_tokens=False)[-1]
    weights["model.embed_tokens.weight"][poisoned] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    reranker = Qwen3Reranker.load(str(folder))
    assert np.isfinite(reranker.score([Pair("q", "lunch", FIND)])).all()
    with pytest.raises(NonFiniteScores):
        reranker.score([Pair("q", "§ 5", FIND)])
