"""What can be wrong with a model, and what is done about it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cogs.memory.exceptions import ModelUnavailable, OutOfMemory, ScoringFailed
from cogs.memory.out_of_memory import raises_out_of_memory
from cogs.memory.rerankers import Pair, qwen3
from cogs.memory.rerankers.proof import Golden, prove_golden
from cogs.memory.rerankers.qwen3 import GOLDEN, Qwen3Reranker, is_official
from tests.rerankers.official_qwen3 import OfficialQwen3
from tests.tiny_models import chat_lines, make_qwen3

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

PAIRS = [Pair(query, text, "Find it") for query in ("who?", "the red planet") for text in ["", *chat_lines(6)]]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_qwen3(tmp_path_factory.mktemp("models") / "tiny", tie_word_embeddings=False)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return shutil.copytree(original, tmp_path / "copy")


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


# --- models that cannot be used


@pytest.mark.parametrize("name", ["nobody/no-such-model", "https://example.org/model", "../model", "no such folder/x"])
def test_what_is_not_on_this_machine_is_named(name: str) -> None:
    with pytest.raises(ModelUnavailable, match="is not on this machine"):
        Qwen3Reranker.load(name)


def test_a_folder_without_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"no readable config\.json"):
        Qwen3Reranker.load(str(tmp_path))


def test_truncated_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelUnavailable, match="no complete safetensors weights"):
        Qwen3Reranker.load(str(folder))


def test_a_truncated_shard_is_refused(tmp_path: Path) -> None:
    folder = make_qwen3(tmp_path, max_shard_size="60KB")
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:500])
    with pytest.raises(ModelUnavailable, match="no complete safetensors weights"):
        Qwen3Reranker.load(str(folder))


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    folder = make_qwen3(tmp_path, max_shard_size="60KB")
    sorted(folder.glob("model-*.safetensors"))[1].unlink()
    with pytest.raises(ModelUnavailable, match="no complete safetensors weights"):
        Qwen3Reranker.load(str(folder))


def test_pickled_weights_are_refused(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match="no complete safetensors weights"):
        Qwen3Reranker.load(str(folder))


@pytest.mark.parametrize("name", ["lm_head.weight", "model.layers.1.mlp.up_proj.weight", "model.norm.weight"])
def test_missing_weights_are_not_made_up(folder: Path, name: str) -> None:
    change_weights(folder, lambda weights: weights.pop(name))
    with pytest.raises(ModelUnavailable, match=f"lacks 1 of its weights, such as {name}"):
        Qwen3Reranker.load(str(folder))


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    change_config(folder, intermediate_size=128)
    with pytest.raises(ModelUnavailable, match="other shapes"):
        Qwen3Reranker.load(str(folder))


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": ["Qwen3ForSequenceClassification"]},
        {"architectures": ["BertForSequenceClassification"], "model_type": "bert"},
        {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"},
        {"architectures": None},
    ],
)
def test_another_architecture_is_refused_by_name(folder: Path, changes: dict[str, Any]) -> None:
    change_config(folder, **changes)
    with pytest.raises(ModelUnavailable, match="not a Qwen3ForCausalLM"):
        Qwen3Reranker.load(str(folder))


def test_a_model_type_nobody_knows_is_refused(folder: Path) -> None:
    change_config(folder, model_type="mystery")
    with pytest.raises(ModelUnavailable, match=r"config\.json"):
        Qwen3Reranker.load(str(folder))


def test_a_model_without_tokenizer_is_refused(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelUnavailable, match="tokenizer"):
        Qwen3Reranker.load(str(folder))


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    change_config(folder, vocab_size=100)
    with pytest.raises(ModelUnavailable, match="more tokens than its weights know"):
        Qwen3Reranker.load(str(folder))


def test_a_device_that_is_not_there_is_named(original: Path) -> None:
    import torch

    absent = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(ModelUnavailable, match=f"cannot run on {absent}"):
        Qwen3Reranker.load(str(original), device=absent)


# --- models that packed scoring does not cover


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"attention_bias": True}, "attention bias"),
        ({"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0}, "sliding-window attention"),
        (
            {
                "rope_parameters": {
                    "rope_type": "yarn",
                    "rope_theta": 1e6,
                    "factor": 4.0,
                    "original_max_position_embeddings": 8192,
                }
            },
            "rotary embeddings of type yarn",
        ),
        ({"hidden_act": "gelu"}, "activation gelu"),
    ],
)
def test_what_packed_scoring_lacks_is_scored_plainly(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    folder = make_qwen3(tmp_path, **changes)
    reranker = Qwen3Reranker.load(str(folder))
    assert (reranker.path, reranker.path_reason) == ("plain", reason)
    assert reranker.score(PAIRS) == pytest.approx(OfficialQwen3(folder).log_odds(PAIRS), abs=2e-5)


def test_when_packed_and_plain_scores_differ_the_plain_ones_count(
    original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(qwen3._TOLERANCE, "float32", -1.0)
    reranker = Qwen3Reranker.load(str(original))
    assert reranker.path == "plain"
    assert "differ by" in reranker.path_reason
    assert reranker.score(PAIRS) == pytest.approx(OfficialQwen3(original).log_odds(PAIRS), abs=2e-5)


def test_when_packed_scoring_fails_the_plain_one_is_used(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise NotImplementedError("no such operator in this build")

    monkeypatch.setattr("torch.ops.mkldnn._linear_pointwise", lacking)
    reranker = Qwen3Reranker.load(str(original))
    assert reranker.path == "plain"
    assert "NotImplementedError" in reranker.path_reason
    assert reranker.score(PAIRS) == pytest.approx(OfficialQwen3(original).log_odds(PAIRS), abs=2e-5)


# --- scores that are none


def test_scores_that_are_no_numbers_fail(folder: Path) -> None:
    change_weights(folder, lambda weights: weights["model.norm.weight"].fill_(float("nan")))
    reranker = Qwen3Reranker.load(str(folder))
    with pytest.raises(ScoringFailed, match="no numbers"):
        reranker.score(PAIRS)


def test_an_allocation_that_fails_is_out_of_memory() -> None:
    import torch

    with pytest.raises(OutOfMemory, match="out of memory"), raises_out_of_memory():
        torch.empty(1 << 55, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="shape"), raises_out_of_memory():
        torch.ones(2, 3) @ torch.ones(2, 3)


# --- the self-test


def test_random_weights_load_and_prove_nothing(original: Path) -> None:
    result = Qwen3Reranker.load(str(original)).self_test()
    assert not result.ok
    assert result.detail.startswith("Not the official 0.6B weights. Order not proven: ")


def test_only_the_official_name_and_shape_are_held_to_the_published_values() -> None:
    from transformers import Qwen3Config

    config = Qwen3Config(num_hidden_layers=28, hidden_size=1024, intermediate_size=3072, num_attention_heads=16)
    assert is_official("Qwen/Qwen3-Reranker-0.6B", config)
    assert is_official("/models/qwen3-reranker-0.6b", config)
    assert not is_official("Qwen/Qwen3-Reranker-4B", config)
    config.num_hidden_layers = 36
    assert not is_official("Qwen/Qwen3-Reranker-0.6B", config)


@pytest.mark.parametrize(
    ("scores", "ok", "detail"),
    [
        ([-3.10, 7.12, -0.37, 3.55], True, "meets the published scores to 0.009"),
        ([-2.2, 7.12, -0.37, 3.55], False, "up to 0.91 from the published"),
        ([-3.1, 3.4, -0.37, 3.55], False, "orders the published examples wrongly"),
    ],
)
def test_the_published_values_must_be_met_in_order_and_size(scores: list[float], ok: bool, detail: str) -> None:
    def score(pairs: Sequence[Pair]) -> NDArray[np.float32]:
        assert [pair.document.split()[0] for pair in pairs] == ["Venus", "Mars,", "Jupiter,", "Saturn,"]
        return np.array(scores, dtype=np.float32)

    golden: Golden = GOLDEN
    result = prove_golden(score, golden, 0.75)
    assert result.ok is ok
    assert detail in result.detail


def test_nothing_is_drawn_amid_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_qwen3(tmp_path)
    capfd.readouterr()
    Qwen3Reranker.load(str(tmp_path)).close()
    assert capfd.readouterr() == ("", "")
