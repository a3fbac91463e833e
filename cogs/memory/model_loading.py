"""From a profile to its models: what is on the machine first, else fetched while the embedded ones answer."""

from __future__ import annotations

import logging
import os
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cogs.memory.embedders.loading import load_encoder
from cogs.memory.exceptions import ModelUnavailable
from cogs.memory.model_names import DEFAULT_ALLOWED
from cogs.memory.model_source import fetch_model, find_model, locate_model, named_model
from cogs.memory.quiet_loading import quiet_loading
from cogs.memory.rerankers.factory import load_reranker
from profiles.memory_profile import EMBEDDED_MODEL

if TYPE_CHECKING:
    from cogs.memory.embedders import Encoder
    from cogs.memory.rerankers import Reranker
    from profiles import MemoryProfile, Settings

log = logging.getLogger(__name__)

REPORT_EVERY_S = 5.0
"""Seconds between two lines about a download."""


@dataclass(frozen=True, slots=True)
class ModelSources:
    """Where models come from. Its methods are slow: call them neither on the event loop nor on the model worker.

    Args:
        folder: where downloaded models are kept.
        allowed: names that may be loaded beside local folders.
        api_key: for a rerank server.
        embedder_api_key: for an embedding server.
        own_class: the operator's own reranker, ``package.module:Class``, for profiles of the type "custom".
    """

    folder: Path
    allowed: frozenset[str] = DEFAULT_ALLOWED
    api_key: str | None = field(default=None, repr=False)
    own_class: str | None = None
    embedder_api_key: str | None = field(default=None, repr=False)

    def has(self, model: str | None) -> bool:
        """Whether a model can be loaded without the network. Raises ModelError if it can be loaded in no way."""
        if model is None or model == EMBEDDED_MODEL:
            return True
        named = named_model(model, self.folder, self.allowed)
        return isinstance(named, Path) or find_model(str(named), self.folder) is not None

    def load_reranker(self, profile: MemoryProfile) -> Reranker:
        """Load the profile's reranker, fetching it first if need be. Raises the `ModelError` family."""
        is_local = profile.reranker in ("qwen3", "cross_encoder")
        if is_local:
            self._bring(profile.reranker_model)
        with quiet_loading(profile) if is_local else nullcontext():
            return load_reranker(
                profile,
                models_folder=self.folder,
                allowed=self.allowed,
                api_key=self.api_key,
                own_class=self.own_class if profile.reranker == "custom" else None,
            )

    def load_encoder(self, profile: MemoryProfile) -> Encoder:
        """Load the profile's embedder, fetching it first if need be. Raises the `ModelError` family."""
        if profile.embedder_url is None:
            self._bring(profile.embedder)
        with quiet_loading(profile) if profile.embedder_url is None else nullcontext():
            return load_encoder(profile, models_folder=self.folder, allowed=self.allowed, api_key=self.embedder_api_key)

    def bring(self, model: str) -> Path:
        """Return the folder of a model of any kind, fetching it first if need be. Raises the `ModelError` family."""
        named = named_model(model, self.folder, self.allowed)
        if not isinstance(named, Path):
            self._bring(str(named))
        return locate_model(model, self.folder, self.allowed)

    def _bring(self, model: str | None) -> None:
        if model is None or self.has(model):
            return
        if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
            raise ModelUnavailable(
                f"The model {model} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it; "
                "the embedded models answer meanwhile."
            )
        log.info("Fetching %s; the embedded models answer meanwhile", model)
        fetch_model(model, None, self.folder, _Progress(model))


def model_sources(settings: Settings) -> ModelSources:
    """What the operator's settings say: where models lie, which names he allows, his key and his own reranker."""
    folder = settings.models_folder or Path(settings.memory_data) / "models"
    key, embedder_key = settings.reranker_api_key, settings.embedder_api_key
    return ModelSources(
        folder,
        DEFAULT_ALLOWED | frozenset(settings.models_allowed),
        api_key=None if key is None else key.get_secret_value(),
        own_class=settings.reranker_class,
        embedder_api_key=None if embedder_key is None else embedder_key.get_secret_value(),
    )


class _Progress:
    """Logs share, rate and time left of a download."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last < REPORT_EVERY_S and done < total:
            return
        self._last = now
        rate = done / max(0.001, now - self._start)
        left = (total - done) / rate if rate else float("inf")
        share = done / total if total else 1.0
        log.info(
            "%s: %.0f %% of %.1f GB, %.1f MB/s, %.0f s left", self._model, 100 * share, total / 1e9, rate / 1e6, left
        )
