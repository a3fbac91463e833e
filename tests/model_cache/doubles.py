"""Models, loads and a clock that do what a test wants, and say what was done to them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from cogs.memory.model_cache import ModelCache, ModelKey

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT_S = 60.0


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Model:
    """A model that knows whether it was unloaded, and refuses to work afterwards."""

    def __init__(self, name: str = "model") -> None:
        self.name = name
        self.closes = 0

    def use(self) -> None:
        assert not self.closes, f"{self.name} used after its unload"

    def close(self) -> None:
        self.closes += 1


class Weights:
    """A model without any unload hook."""


class Loader:
    """Loads that stand still until they are let go."""

    def __init__(self, outcome: Model | BaseException) -> None:
        self.outcome = outcome
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.calls = 0

    def __call__(self) -> Model:
        self.calls += 1
        self.begun.set()
        assert self.may_end.wait(TIMEOUT_S)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def key(model: str = "a", **fields: str) -> ModelKey:
    return ModelKey("guild", "family", model, **fields)


def figures(cache: ModelCache, *names: str) -> list[Any]:
    found = cache.get_statistics()
    return [found[f"rerank_model_{name}"] for name in names]


def names_kept(cache: ModelCache) -> list[str]:
    return [model.key.model for model in figures(cache, "models")[0] if model.is_current]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def touch(cache: ModelCache, *names: str) -> list[Model]:
    """Acquire and release one after the other."""
    models = []
    for name in names:
        with cache.acquire(key(name), lambda name=name: Model(name)) as lease:  # type: ignore[misc]
            models.append(lease.model)
    return models


def must_not_load() -> Model:
    raise AssertionError("loaded")
