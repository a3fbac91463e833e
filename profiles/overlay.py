"""The operator's settings laid over a profile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from profiles.errors import SettingsError
from profiles.loading import apply_preset
from profiles.memory_profile import RERANKERS_WITH_MODEL, MemoryProfile

if TYPE_CHECKING:
    from profiles.settings import Settings

USUAL_MODELS: Final = {
    "qwen3": "Qwen/Qwen3-Reranker-0.6B",
    "cross_encoder": "cross-encoder/ms-marco-MiniLM-L6-v2",
    "remote": "Qwen/Qwen3-Reranker-0.6B",
}
"""Reranker type → its model when neither the settings nor a profile of that type name one."""

_PLAIN: Final = {
    "reranker_top_n": "recall_limit",
    "reranker_batch_size": "rerank_batch",
    "retriever_type": "retriever",
    "vector_top_k": "vector_candidates",
    "keyword_top_k": "keyword_candidates",
}
"""Setting → the field of the profile that it replaces."""


def apply_settings(profile: MemoryProfile, settings: Settings) -> MemoryProfile:
    """Return the profile with the preset applied and every set variable in place of its own value.

    Raises:
        SettingsError: variables contradict each other, or one would have no effect.
    """
    profile = apply_preset(profile, settings.reranker_preset)
    changes: dict[str, Any] = {
        field: value for name, field in _PLAIN.items() if (value := getattr(settings, name)) is not None
    }
    if settings.reranker_ab_test is not None:
        changes["reranked_share"] = 0.5 if settings.reranker_ab_test else 1.0
    changes.update(_deadlines(profile, settings))
    changes.update(_embedder(profile, settings))
    changes.update(_reranker(profile, settings))
    return replace(profile, **changes)


def _embedder(profile: MemoryProfile, settings: Settings) -> dict[str, Any]:
    url = settings.embedder_url or profile.embedder_url
    model = settings.embedder_model or (profile.embedder if profile.embedder_url else None)
    dim = settings.embedder_dim or profile.embedding_dim
    if url is None:
        if settings.embedder_model or settings.embedder_dim or settings.embedder_api_key:
            raise SettingsError("EMBEDDER_MODEL, EMBEDDER_DIM and EMBEDDER_API_KEY need EMBEDDER_URL")
        return {}
    if model is None or dim is None:
        raise SettingsError("EMBEDDER_URL needs EMBEDDER_MODEL, the server's name for its model, and EMBEDDER_DIM")
    return {"embedder_url": url, "embedder": model, "embedding_dim": dim}


def _deadlines(profile: MemoryProfile, settings: Settings) -> dict[str, int | None]:
    deadline, injection = settings.reranker_deadline_ms, profile.injection_deadline_ms
    if deadline is None:
        return {}
    if deadline == "none":
        return {"rerank_deadline_ms": None}
    return {
        "rerank_deadline_ms": deadline,
        "injection_deadline_ms": None if injection is None else min(injection, deadline),
    }


def _reranker(profile: MemoryProfile, settings: Settings) -> dict[str, str | None]:
    """Choose the reranker. Model and address wait unused for their type when RERANKER_TYPE names another."""
    if settings.reranker_enabled is False:
        return {"reranker": "none"}
    kind = _reranker_type(profile, settings)
    if settings.reranker_type is None:
        _refuse_idle(settings, kind)
    if kind == "custom":
        return {"reranker": kind, "reranker_model": settings.reranker_model or _own_class(settings)}
    if kind not in RERANKERS_WITH_MODEL:
        return {"reranker": kind}
    inherited = profile.reranker_model if profile.reranker == kind else None
    url = settings.reranker_url or profile.reranker_url
    if kind == "remote" and not url:
        raise SettingsError("RERANKER_TYPE=remote needs RERANKER_URL, the address of the rerank server")
    return {
        "reranker": kind,
        "reranker_model": settings.reranker_model or inherited or USUAL_MODELS[kind],
        "reranker_url": url if kind == "remote" else None,
    }


def _reranker_type(profile: MemoryProfile, settings: Settings) -> str:
    kind = settings.reranker_type or ("custom" if settings.reranker_class else profile.reranker)
    if kind != "none" or not settings.reranker_enabled:
        return kind
    if settings.reranker_type == "none":
        raise SettingsError("RERANKER_ENABLED=true contradicts RERANKER_TYPE=none: leave one of them out")
    return "late_interaction"  # the profile says none, the operator says true, and this one is always there


def _own_class(settings: Settings) -> str:
    if settings.reranker_class is None:
        raise SettingsError("RERANKER_TYPE=custom needs RERANKER_CLASS, written package.module:Class")
    return settings.reranker_class


def _refuse_idle(settings: Settings, kind: str) -> None:
    if settings.reranker_model and kind not in (*RERANKERS_WITH_MODEL, "custom"):
        types = ", ".join(RERANKERS_WITH_MODEL)
        raise SettingsError(
            f"RERANKER_MODEL has no effect on the profile's {kind}: set RERANKER_TYPE to one of {types}"
        )
    if settings.reranker_url and kind != "remote":
        raise SettingsError(f"RERANKER_URL has no effect on the profile's {kind}: set RERANKER_TYPE=remote")
    if settings.reranker_api_key and kind != "remote":
        raise SettingsError(f"RERANKER_API_KEY has no effect on the profile's {kind}: set RERANKER_TYPE=remote")
