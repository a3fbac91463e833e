"""Which rerankers are made from which names, and which names are refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cogs.memory.exceptions import ModelNotAllowed, ModelUnavailable
from cogs.memory.model_names import CURRENT_NAMES, PINNED_REVISIONS, ModelName
from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.cross_encoder import CrossEncoderModel
from cogs.memory.rerankers.factory import (
    DEFAULT_ALLOWED,
    check_model_name,
    create_reranker,
    load_reranker,
    register_reranker,
    reranker_types,
)
from cogs.memory.rerankers.qwen3 import Qwen3Reranker
from cogs.memory.rerankers.remote import RemoteReranker
from profiles.loading import load_profile
from tests.rerankers.rerank_server import RerankServer
from tests.tiny_models import make_qwen3

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from profiles.memory_profile import MemoryProfile, RerankerType

QWEN3 = "Qwen/Qwen3-Reranker-0.6B"

HOSTILE = (
    "http://evil.example/model",
    "https://huggingface.co/Qwen/Qwen3-Reranker-0.6B",
    "file:///etc/passwd",
    "s3://bucket/model",
    "git@evil.example:model",
    "//evil.example/share/model",
    "\\\\evil\\share\\model",
    "C:\\models\\model",
    "/etc/passwd",
    "~/model",
    ".",
    "..",
    "../../../etc/passwd",
    "Qwen/../../secret",
    f"{QWEN3}/../../../secret",
    f"{QWEN3}@../../secret",
    f"{QWEN3}@refs/pr/1",
    f"{QWEN3}@{'0' * 40}",
    f"{QWEN3}\x00.txt",
    f"{QWEN3}\n",
    "Qwen/Qwen3-Reranker-0.6B\u202e",
    "\uff31wen/Qwen3-Reranker-0.6B",  # a full-width Q
    "",
    " ",
    "a" * 10_000,
    "a/b/c",
    "evil/model",
    "Qwen/Qwen3-Reranker-0.6B-evil",
    "os:system",
    "subprocess:Popen",
    "@everyone",
    "%2e%2e%2fsecret",
    ".partial/Qwen--Qwen3-Reranker-0.6B",
    "outside",  # a link in the models folder that leads out of it
    "Qwen",  # a folder that is no model
)

_sockets: list[str] = []
_is_watching = False


def _audit(event: str, _arguments: tuple[Any, ...]) -> None:
    if _is_watching and event.startswith("socket."):
        _sockets.append(event)


sys.addaudithook(_audit)


@pytest.fixture
def sockets() -> Iterator[list[str]]:
    """What the interpreter itself reports of sockets."""
    global _is_watching  # noqa: PLW0603 - an audit hook cannot be taken out again
    _sockets.clear()
    _is_watching = True
    yield _sockets
    _is_watching = False


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with one model of the operator's, and no cache."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "config.json").write_text("{}")
    models = tmp_path / "models"
    for name in ("mine/reranker", "alone"):
        (models / name).mkdir(parents=True)
        (models / name / "config.json").write_text("{}")
    (models / "Qwen").mkdir()
    (models / "outside").symlink_to(tmp_path / "elsewhere")
    return models


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_qwen3(tmp_path_factory.mktemp("models") / "Qwen" / "Qwen3-Reranker-0.6B")


def profile(reranker: RerankerType, **changes: Any) -> MemoryProfile:
    base = replace(load_profile("embedded"), rerank_deadline_ms=None, injection_deadline_ms=None)
    return replace(base, reranker=reranker, **changes)


class OwnReranker:
    """What an operator may write."""

    key = "own"

    def __init__(self, profile: MemoryProfile | None = None, bonus: float = 0.0) -> None:
        self.profile = profile
        self.bonus = bonus

    def token_counts(self, pairs: Sequence[Pair]) -> list[int]:
        return [1] * len(pairs)

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        return np.full(len(pairs), self.bonus, dtype=np.float32)

    def close(self) -> None:
        """Nothing to free."""


def no_reranker(**_: Any) -> Any:
    return object()


# --- names


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_refused_without_a_socket(name: str, folder: Path, sockets: list[str]) -> None:
    with pytest.raises(ModelNotAllowed) as refusal:
        check_model_name(name, DEFAULT_ALLOWED, folder)
    assert sockets == []
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_in_a_profile_open_no_socket_either(name: str, folder: Path, sockets: list[str]) -> None:
    if not name.strip():
        pytest.skip("a profile does not take it")
    with pytest.raises((ModelNotAllowed, ModelUnavailable)):
        load_reranker(profile("cross_encoder", reranker_model=name), models_folder=folder)
    assert sockets == []


def test_the_audit_hook_sees_sockets(sockets: list[str]) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
    assert sockets


@pytest.mark.parametrize("name", sorted(DEFAULT_ALLOWED))
def test_every_model_that_the_project_names_is_allowed(name: str) -> None:
    assert check_model_name(name, DEFAULT_ALLOWED, None) == ModelName(name)
    pinned = PINNED_REVISIONS[name]
    if pinned is not None:
        assert len(pinned) == 40
        assert check_model_name(f"{name}@{pinned}", DEFAULT_ALLOWED, None) == ModelName(name, pinned)


def test_the_refusal_names_what_is_allowed() -> None:
    with pytest.raises(ModelNotAllowed) as refusal:
        check_model_name("evil/model", DEFAULT_ALLOWED, None)
    assert all(name in str(refusal.value) for name in DEFAULT_ALLOWED)


@pytest.mark.parametrize(("former", "current"), CURRENT_NAMES.items())
def test_a_former_name_means_the_current_one(former: str, current: str) -> None:
    assert check_model_name(former, DEFAULT_ALLOWED, None).repo == current


def test_what_lies_in_the_models_folder_is_allowed(folder: Path) -> None:
    assert check_model_name("mine/reranker", DEFAULT_ALLOWED, folder) == ModelName("mine/reranker")
    assert check_model_name("alone", DEFAULT_ALLOWED, folder) == ModelName("alone")
    with pytest.raises(ModelNotAllowed):
        check_model_name("alone", DEFAULT_ALLOWED, None)


def test_the_operator_adds_models_and_pins_them() -> None:
    allowed = DEFAULT_ALLOWED | {"mine/other", "mine/pinned@v1.0", f"{QWEN3}@abc123"}
    assert str(check_model_name("mine/other", allowed, None)) == "mine/other"
    assert str(check_model_name("mine/pinned", allowed, None)) == "mine/pinned@v1.0"
    assert str(check_model_name(QWEN3, allowed, None)) == f"{QWEN3}@abc123"
    with pytest.raises(ModelNotAllowed, match="pinned"):
        check_model_name("mine/pinned@v2.0", allowed, None)


# --- types


def test_an_unknown_type_names_the_known_ones() -> None:
    with pytest.raises(ModelNotAllowed, match=r"'bm25'; the types are qwen3, cross_encoder, remote"):
        create_reranker("bm25")


@pytest.mark.parametrize("path", ["os:system", f"{__name__}:OwnReranker", "", "none"])
def test_a_class_is_no_type(path: str) -> None:
    with pytest.raises(ModelNotAllowed, match="the types are"):
        create_reranker(path)


def test_an_unknown_option_names_the_known_ones() -> None:
    with pytest.raises(ModelNotAllowed, match=r"options are model, device, dtype, token_budget"):
        create_reranker("qwen3", model="x", top_n=3)
    with pytest.raises(ModelNotAllowed, match=r"'url'"):
        create_reranker("remote", model="x")


@pytest.mark.parametrize("kind", ["qwen3", "cross_encoder"])
def test_a_folder_that_is_not_there_is_unavailable(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable):
        create_reranker(kind, model=str(tmp_path / "nowhere"))


def test_a_registered_type_is_made_with_its_own_options() -> None:
    register_reranker("own", OwnReranker)
    assert "own" in reranker_types()
    made = create_reranker("own", bonus=2.5)
    assert made.score([Pair("q", "d", "i")]).tolist() == [2.5]
    with pytest.raises(ModelNotAllowed, match="bonus"):
        create_reranker("own", malus=1)


@pytest.mark.parametrize("name", ["qwen3", "remote", "two words", "", "a:b"])
def test_a_built_in_type_cannot_be_replaced(name: str) -> None:
    with pytest.raises(ValueError, match="must be a word other than"):
        register_reranker(name, OwnReranker)


def test_what_is_no_reranker_fails_when_it_is_made() -> None:
    register_reranker("broken", no_reranker)
    with pytest.raises(ModelUnavailable, match="it lacks token_counts, score, close, key"):
        create_reranker("broken")


@pytest.mark.parametrize(
    "path", ["nowhere_at_all:Class", f"{__name__}:Nothing", f"{__name__}:no_reranker", "no colon", "subprocess:Popen"]
)
def test_what_is_no_class_of_a_reranker_is_unavailable(path: str) -> None:
    with pytest.raises(ModelUnavailable):
        load_reranker(profile("none"), own_class=path)


# --- profiles


def test_a_profile_loads_its_model_from_the_models_folder(tiny: Path) -> None:
    models_folder = tiny.parents[1]
    reranker = load_reranker(
        profile("qwen3", reranker_model=QWEN3, token_budget=300, max_length=256), models_folder=models_folder
    )
    assert isinstance(reranker, Qwen3Reranker)
    assert reranker.token_budget == 300
    assert np.isfinite(reranker.score([Pair("who", "me", "find")])).all()
    reranker.close()


def test_a_profile_may_name_any_folder(tiny: Path) -> None:
    reranker = load_reranker(profile("qwen3", reranker_model=str(tiny)), allowed=frozenset())
    assert isinstance(reranker, Qwen3Reranker)
    reranker.close()


def test_a_model_of_another_family_is_unavailable(tiny: Path) -> None:
    with pytest.raises(ModelUnavailable):
        load_reranker(profile("cross_encoder", reranker_model=str(tiny)))


def test_a_model_that_is_not_here_yet_is_unavailable_and_not_fetched(folder: Path, sockets: list[str]) -> None:
    with pytest.raises(ModelUnavailable, match="not on this machine"):
        load_reranker(profile("qwen3", reranker_model=QWEN3), models_folder=folder)
    assert sockets == []


def test_a_name_that_is_not_on_the_list_is_refused(folder: Path) -> None:
    with pytest.raises(ModelNotAllowed, match="MODELS_ALLOWED"):
        load_reranker(profile("qwen3", reranker_model="evil/model"), models_folder=folder)


def test_a_remote_profile_reaches_its_server_with_the_key() -> None:
    with RerankServer(api_key="s3cret") as server:
        settings = profile("remote", reranker_model="tiny", reranker_url=server.url, rerank_batch=2)
        reranker = load_reranker(settings, api_key="s3cret")
        assert isinstance(reranker, RemoteReranker)
        server.requests.clear()
        reranker.score([Pair("q", f"d{i}", "i") for i in range(3)])
        assert [len(request["documents"]) for request in server.requests] == [2, 1]
        assert {request["model"] for request in server.requests} == {"tiny"}
        reranker.close()


def test_the_operators_own_class_gets_the_profile() -> None:
    reranker = load_reranker(settings := profile("none"), own_class=f"{__name__}:OwnReranker")
    assert isinstance(reranker, OwnReranker)
    assert reranker.profile is settings


@pytest.mark.parametrize("kind", ["none", "late_interaction"])
def test_a_profile_without_a_reranker_model_has_none_to_load(kind: RerankerType) -> None:
    with pytest.raises(ModelUnavailable, match=f"is {kind}, which has no model"):
        load_reranker(profile(kind))


def test_the_protocol_is_implemented_by_every_family() -> None:
    for family in (Qwen3Reranker, CrossEncoderModel, RemoteReranker):
        assert all(callable(getattr(family, method)) for method in ("token_counts", "score", "score_chunks", "close"))
