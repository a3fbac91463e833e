from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from cogs.memory.model_cache import ModelCache
from tests.model_cache.doubles import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> ModelCache:
    return ModelCache(capacity=3, ttl_s=60.0, clock=clock)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


@pytest.fixture
def without_gc() -> Iterator[None]:
    """What is freed in the test is freed by reference counts alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
