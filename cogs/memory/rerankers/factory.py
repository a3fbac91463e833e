"""From a type or a profile to its reranker, with room for one of the operator's own.

    create_reranker("qwen3", model="models/Qwen3-Reranker-0.6B", dtype="bfloat16")
    load_reranker(profile, models_folder=settings.models_folder, allowed=DEFAULT_ALLOWED | {*settings.models_allowed})

A class of the operator's own comes in by `register_reranker`, or by its name, ``package.module:Class``, from the
settings. Names from a chat go through `check_model_name`, which lets no class and no path pass; no profile field can
name a class either. Nothing here touches the network, but for the server of the type "remote".
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cogs.memory.exceptions import ModelNotAllowed, ModelUnavailable
from cogs.memory.model_names import DEFAULT_ALLOWED, check_model_name
from cogs.memory.model_source import locate_model
from cogs.memory.out_of_memory import limit_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from cogs.memory.rerankers import Reranker
    from cogs.memory.rerankers.remote import Shape
    from profiles import MemoryProfile
    from profiles.memory_profile import DType

__all__ = [
    "DEFAULT_ALLOWED",
    "RerankerLoader",
    "check_model_name",
    "create_reranker",
    "import_reranker",
    "load_reranker",
    "register_reranker",
    "reranker_types",
]

RerankerLoader: TypeAlias = "Callable[..., Reranker]"
"""Makes a reranker from keyword arguments of its own, or raises `ModelUnavailable`; a class is one too."""

_CLASS: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_DEFAULT_LIMIT_S: Final = 10.0


def create_reranker(reranker_type: str, **config: Any) -> Reranker:
    """Make a reranker of a type.

    Args:
        reranker_type: one of `reranker_types`.
        config: what its loader takes: ``model`` and, by type, the options of `Qwen3Reranker.load`,
            `CrossEncoderModel.load` or `RemoteReranker.load`.

    Raises:
        ModelNotAllowed: there is no such type, or it takes no such option; the message says which there are.
        ModelUnavailable: its model cannot be loaded, or its server not be used.
    """
    loader = _loaders().get(reranker_type)
    if loader is None:
        known = ", ".join(reranker_types())
        raise ModelNotAllowed(f"There is no reranker type {reranker_type!r}; the types are {known}.")
    try:
        inspect.signature(loader).bind(**config)
    except TypeError as error:
        options = ", ".join(inspect.signature(loader).parameters)
        raise ModelNotAllowed(f"The reranker type {reranker_type}: {error}; its options are {options}.") from error
    reranker = loader(**config)
    _require_methods(reranker, f"What the type {reranker_type} makes")
    return reranker


def load_reranker(
    profile: MemoryProfile,
    *,
    models_folder: Path | None = None,
    allowed: Collection[str] = DEFAULT_ALLOWED,
    api_key: str | None = None,
    own_class: str | None = None,
) -> Reranker:
    """Load the reranker of a profile; slow, so call it on the worker thread.

    Args:
        profile: the operator's, or one whose ``reranker_model`` has passed `check_model_name`.
        models_folder: where the operator keeps models.
        allowed: names that may be loaded, see `check_model_name`.
        api_key: for the type "remote".
        own_class: the operator's own reranker in place of the profile's, see `import_reranker`.

    Raises:
        ModelNotAllowed: the model is not on the list.
        ModelUnavailable: it is not on this machine, damaged or of the wrong kind, or the profile's type has no model.
    """
    if own_class is not None:
        return import_reranker(own_class)(profile=profile)
    model = profile.reranker_model or ""
    if profile.reranker == "remote":
        deadlines = [ms / 1000 for ms in (profile.rerank_deadline_ms, profile.injection_deadline_ms) if ms is not None]
        return create_reranker(
            "remote",
            url=profile.reranker_url,
            model=model,
            api_key=api_key,
            batch=profile.rerank_batch,
            time_limit_s=max(deadlines, default=_DEFAULT_LIMIT_S),
            max_length=profile.max_length,
        )
    if profile.reranker == "custom":
        raise ModelUnavailable("The reranker is a class of the operator's own: RERANKER_CLASS must name it.")
    if profile.reranker not in ("qwen3", "cross_encoder"):
        raise ModelUnavailable(f"The profile's reranker is {profile.reranker}, which has no model to load.")
    limit_memory(profile.device, profile.memory_share)
    shared = {
        "model": str(locate_model(model, models_folder, allowed)),
        "device": profile.device,
        "dtype": profile.dtype,
        "max_length": profile.max_length,
    }
    own = {"token_budget": profile.token_budget} if profile.reranker == "qwen3" else {"batch": profile.rerank_batch}
    return create_reranker(profile.reranker, **shared, **own)


def register_reranker(reranker_type: str, loader: RerankerLoader) -> None:
    """Add a type to those that `create_reranker` knows, for the life of this process.

    Raises:
        ValueError: the name is no word, or one of the built-in types.
    """
    if not reranker_type.isidentifier() or reranker_type in _BUILT_IN:
        raise ValueError(f"a reranker type must be a word other than {', '.join(_BUILT_IN)}, not {reranker_type!r}")
    _registered[reranker_type] = loader


def reranker_types() -> tuple[str, ...]:
    """Return the types that `create_reranker` knows."""
    return tuple(_loaders())


def import_reranker(path: str) -> RerankerLoader:
    """Import the operator's own class, written ``package.module:Class``.

    `load_reranker` makes one of it with the keyword ``profile``; it must implement `Reranker`. Importing runs the
    module's code: the text must come from the settings, never from a chat.

    Raises:
        ModelUnavailable: there is no such module, or no such class in it, or it is no reranker.
    """
    if not _CLASS.fullmatch(path):
        raise ModelUnavailable(f"{path!r} is no class: write package.module:Class.")
    module_name, _, class_name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ModelUnavailable(f"The reranker {path} cannot be imported: {error}.") from error
    if not isinstance(found, type):
        raise ModelUnavailable(f"The reranker {path} is no class.")
    _require_methods(found, path)
    return found


def _load_qwen3(
    *,
    model: str,
    device: str = "cpu",
    dtype: DType = "float32",
    token_budget: int = 512,
    max_length: int = 8192,
    revision: str | None = None,
) -> Reranker:
    from cogs.memory.rerankers.qwen3 import Qwen3Reranker

    return Qwen3Reranker.load(
        model, device=device, dtype=dtype, token_budget=token_budget, max_length=max_length, revision=revision
    )


def _load_cross_encoder(
    *,
    model: str,
    device: str = "cpu",
    dtype: DType = "float32",
    batch: int = 8,
    max_length: int = 512,
    revision: str | None = None,
) -> Reranker:
    from cogs.memory.rerankers.cross_encoder import CrossEncoderModel

    return CrossEncoderModel.load(
        model, device=device, dtype=dtype, batch=batch, max_length=max_length, revision=revision
    )


def _load_remote(
    *,
    url: str,
    model: str,
    shape: Literal["auto"] | Shape = "auto",
    api_key: str | None = None,
    batch: int = 32,
    time_limit_s: float = 10.0,
    max_length: int = 8192,
) -> Reranker:
    from cogs.memory.rerankers.remote import RemoteReranker

    return RemoteReranker.load(
        url, model=model, shape=shape, api_key=api_key, batch=batch, time_limit_s=time_limit_s, max_length=max_length
    )


_BUILT_IN: Final[Mapping[str, RerankerLoader]] = {
    "qwen3": _load_qwen3,
    "cross_encoder": _load_cross_encoder,
    "remote": _load_remote,
}
_registered: dict[str, RerankerLoader] = {}


def _loaders() -> dict[str, RerankerLoader]:
    return {**_BUILT_IN, **_registered}


def _require_methods(reranker: object, name: str) -> None:
    """Refuse what is no reranker here, and not at the first question."""
    lacking = [method for method in ("token_counts", "score", "close") if not callable(getattr(reranker, method, None))]
    if not isinstance(reranker, type) and not isinstance(getattr(reranker, "key", None), str):
        lacking.append("key")
    if lacking:
        raise ModelUnavailable(f"{name} is no reranker: it lacks {', '.join(lacking)}.")
