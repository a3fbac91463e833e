"""Finding models on the disk."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import pytest

from cogs.memory.exceptions import ModelNotAllowed, ModelUnavailable
from cogs.memory.model_names import PINNED_REVISIONS
from cogs.memory.model_source import (
    damage,
    find_model,
    fingerprint,
    locate_model,
)
from tests.hub_server import HubServer
from tests.model_source.model_files import ALLOWED, NAME, model_files, put, put_in_cache, weights

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("place", [NAME, "Qwen3-Reranker-0.6B"])
def test_a_model_in_the_models_folder_is_found_with_or_without_its_owner(folder: Path, place: str) -> None:
    put(folder / place, model_files())
    assert find_model(NAME, folder) == folder / place


def test_a_model_is_found_under_the_name_it_had_before(folder: Path) -> None:
    clone = put(folder / "ms-marco-MiniLM-L-6-v2", model_files())
    assert find_model("cross-encoder/ms-marco-MiniLM-L6-v2", folder) == clone
    assert find_model("cross-encoder/ms-marco-MiniLM-L-6-v2", folder) == clone


def test_what_is_not_here_is_none_and_asks_no_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HubServer(NAME, model_files()) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        assert find_model(NAME, folder) is None
        assert find_model(NAME, None) is None
        assert hub.hits == []


def test_the_cache_is_searched_at_the_pinned_commit_first_then_at_main(cache: Path) -> None:
    other = put_in_cache(cache, NAME, "a" * 40, model_files(), "main")
    assert find_model(NAME, None) == other
    pinned = PINNED_REVISIONS[NAME]
    assert pinned is not None
    exact = put_in_cache(cache, NAME, pinned, model_files())
    assert find_model(NAME, None) == exact
    assert find_model(f"{NAME}@{'a' * 40}", None) == other
    assert find_model(f"{NAME}@{'b' * 40}", None) is None


def test_a_half_downloaded_model_in_the_cache_is_not_found(cache: Path) -> None:
    files = model_files()
    put_in_cache(cache, NAME, "a" * 40, {"config.json": files["config.json"]}, "main")
    assert find_model(NAME, None) is None


@pytest.mark.parametrize(
    ("missing", "message"),
    [("model.safetensors", "model.safetensors is missing"), ("tokenizer.json", "no tokenizer")],
)
def test_an_incomplete_model_in_the_models_folder_is_named(folder: Path, missing: str, message: str) -> None:
    put(folder / NAME, {path: content for path, content in model_files().items() if path != missing})
    with pytest.raises(ModelUnavailable, match=message):
        find_model(NAME, folder)


@pytest.mark.parametrize("size", [0, 4, 8, 50, 500])
def test_truncated_weights_are_noticed_before_anything_loads_them(tmp_path: Path, size: int) -> None:
    files = model_files()
    files["model.safetensors"] = files["model.safetensors"][:size]
    assert "truncated" in damage(put(tmp_path / "m", files))


@pytest.mark.parametrize(
    "content",
    [b"\xff" * 64, b"PK\x03\x04" * 40, struct.pack("<Q", 2) + b"[]", b"x" * 3, struct.pack("<Q", 8) + b'{"w": 1}'],
)
def test_weights_that_are_no_safetensors_are_noticed(tmp_path: Path, content: bytes) -> None:
    assert damage(put(tmp_path / "m", {**model_files(), "model.safetensors": content}))


def test_every_shard_that_the_index_names_must_be_there(tmp_path: Path) -> None:
    files = model_files()
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    files |= {"model.safetensors.index.json": json.dumps(index).encode(), "model-1.safetensors": weights()}
    del files["model.safetensors"]
    model = put(tmp_path / "m", files)
    assert damage(model) == "model-2.safetensors is missing"
    put(model, {"model-2.safetensors": weights()})
    assert damage(model) == ""
    put(model, {"model.safetensors.index.json": b"not JSON"})
    assert "cannot be read" in damage(model)


def test_a_folder_that_the_operator_names_is_taken_and_a_name_must_be_on_the_list(folder: Path) -> None:
    own = put(folder / "own", model_files())
    assert locate_model(str(own), None, ALLOWED) == own
    with pytest.raises(ModelUnavailable, match="no folder"):
        locate_model(str(folder / "nowhere"), None, ALLOWED)
    with pytest.raises(ModelUnavailable, match="no folder"):
        locate_model("./nowhere", None, ALLOWED)
    with pytest.raises(ModelNotAllowed, match=NAME):
        locate_model("some/other", None, ALLOWED)
    with pytest.raises(ModelUnavailable, match="not on this machine"):
        locate_model(NAME, folder, ALLOWED)


def test_a_fingerprint_follows_the_weights_and_not_the_place(tmp_path: Path) -> None:
    first = put(tmp_path / "a", model_files())
    second = put(tmp_path / "b" / "c", {**model_files(), "README.md": b"other"})
    assert fingerprint(first) == fingerprint(second)
    put(second, {"model.safetensors": weights()[:-1] + b"\0"})
    assert fingerprint(first) != fingerprint(second)
