"""Rerankers as a user might plug them in: written by hand, with known scores, costs and faults."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from cogs.memory.rerankers import Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from profiles import MemoryProfile

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
        self.gate.wait(10)
        time.sleep(self.ms_per_token * TOKENS * len(pairs) / 1000)
        self.scoring -= 1
        self.fault(pairs)
        self.batches.append(list(pairs))
        return np.array([word_score(pair, offset=self.offset) for pair in pairs], dtype=np.float32)

    def close(self) -> None:
        assert not self.scoring, "unloaded while it scored"
        self.closed += 1


class Loader:
    """A ``load`` that hands out prepared rerankers in turn, the last one again and again, and notes the profiles."""

    def __init__(self, *results: WordReranker | Exception, seconds: float = 0.0) -> None:
        self.results = list(results)
        self.seconds = seconds
        self.profiles: list[MemoryProfile] = []
        self.threads: set[str] = set()

    def __call__(self, profile: MemoryProfile) -> WordReranker:
        self.profiles.append(profile)
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        return result
