"""Rerankers as a user might plug them in, with known scores, costs and faults, and what puts them in service."""

from __future__ import annotations

import re
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import pytest

from cogs.memory.model_cache import ModelCache
from cogs.memory.model_reranking import ModelReranking
from cogs.memory.rerankers import Pair
from cogs.memory.worker import ModelWorker
from profiles import MemoryProfile
from tests.virtual_time import VirtualWorker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from numpy.typing import NDArray

    from tests.virtual_time import VirtualTime


PROFILE = MemoryProfile(name="test", reranker="cross_encoder", reranker_model="words", token_budget=512)

TOKENS = 10
"""What every document of `documents` costs here."""


def documents(count: int, *, start: int = 0) -> list[str]:
    """Return messages that differ."""
    return [f"message number {number} about the release" for number in range(start, start + count)]


def pairs_for(query: str, texts: Sequence[str], instruction: str = "Find the answer.") -> list[Pair]:
    return [Pair(query, text, instruction) for text in texts]


def word_score(pair: Pair, *, offset: float = 0.0) -> float:
    """Shared words count, and a checksum of the pair keeps scores apart."""
    query, document = (set(re.findall(r"\w+", text.lower())) for text in (pair.query, pair.document))
    return 3.0 * len(query & document) / max(1, len(query)) - 1.0 + crc32(repr(pair).encode()) / 2**34 + offset


@dataclass
class WordReranker:
    """Scores by shared words and sleeps as long as a model would compute.

    Attributes:
        ms_per_token: may be changed at any time.
        fault: called with each batch after the load; what it raises is what the model raises.
        batches: what was scored since the load, batch by batch.
        entered: set whenever a batch begins.
        gate: cleared to hold every batch until it is set again.
    """

    key: str = "words:1"
    is_remote: bool = False
    ms_per_token: float = 0.0
    offset: float = 0.0
    fault: Callable[[Sequence[Pair]], None] = lambda _: None
    batches: list[list[Pair]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    closed: int = 0
    entered: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)
    scoring: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def token_counts(self, pairs: Sequence[Pair]) -> list[int]:
        return [TOKENS for _ in pairs]

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        assert not self.closed, "scored after it was unloaded"
        self.scoring += 1
        assert self.scoring == 1, "two calls at a time"
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        self.gate.wait(60)
        time.sleep(self.ms_per_token * TOKENS * len(pairs) / 1000)
        self.scoring -= 1
        self.fault(pairs)
        self.batches.append(list(pairs))
        return np.array([word_score(pair, offset=self.offset) for pair in pairs], dtype=np.float32)

    def close(self) -> None:
        assert not self.scoring, "unloaded while it scored"
        self.closed += 1


class Loader:
    """A ``load`` that hands out prepared rerankers in turn, the last one again and again, and notes the profiles.

    It stands still while ``gate`` is not set.
    """

    def __init__(self, *results: WordReranker | Exception) -> None:
        self.results = list(results)
        self.gate = threading.Event()
        self.gate.set()
        self.profiles: list[MemoryProfile] = []
        self.threads: set[str] = set()

    def __call__(self, profile: MemoryProfile) -> WordReranker:
        self.profiles.append(profile)
        self.threads.add(threading.current_thread().name)
        self.gate.wait(60)
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        return result


@asynccontextmanager
async def serving(
    reranker: WordReranker, profile: MemoryProfile = PROFILE, clock: VirtualTime | None = None
) -> AsyncIterator[ModelReranking]:
    """A service whose model is there; with a clock in virtual time."""
    worker = VirtualWorker(clock) if clock else ModelWorker("test-worker")
    models = ModelCache()
    reranking = ModelReranking(profile, worker, models, load=Loader(reranker), clock=clock or time.monotonic)
    await reranking.start()
    await reranking.ready()
    reranker.batches.clear()
    reranker.entered.clear()
    try:
        yield reranking
    finally:
        reranker.gate.set()
        await reranking.close()
        models.close()
        worker.shutdown()


def expected(pairs: Sequence[Pair]) -> Any:
    return pytest.approx([word_score(pair) for pair in pairs], abs=1e-5)


@asynccontextmanager
async def reranking_with(
    load: Loader,
    profile: MemoryProfile = PROFILE,
    models: ModelCache | None = None,
    clock: VirtualTime | None = None,
    **options: Any,
) -> AsyncIterator[ModelReranking]:
    """A service that begins to load its model; with a clock in virtual time."""
    worker = VirtualWorker(clock) if clock else ModelWorker("test-worker")
    reranking = ModelReranking(
        profile, worker, models or ModelCache(), load=load, clock=clock or time.monotonic, **options
    )
    await reranking.start()
    try:
        yield reranking
    finally:
        await reranking.close()
        worker.shutdown()


def too_large(limit: int) -> Callable[[Sequence[Pair]], None]:
    def fault(pairs: Sequence[Pair]) -> None:
        if len(pairs) > limit:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    return fault
