"""Scores that a model gave before: the same question over the same messages costs nothing.

A key is one digest over model, instruction, question and document. So the cache holds no text of anybody, and a
message that was edited or a model that was exchanged can never be served an old score.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from cachetools import LRUCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.rerankers import Pair

_DIGEST_BYTES = 16


class _CountingLRU(LRUCache[bytes, float]):
    evictions = 0

    def popitem(self) -> tuple[bytes, float]:
        self.evictions += 1
        return super().popitem()


class ScoreCache:
    """At most ``size`` log-odds, least recently used out first; 0 keeps none. For use by one thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._scores = _CountingLRU(max(1, size))
        self._hits = 0
        self._misses = 0

    def get(self, digest: bytes) -> float | None:
        """Return the log-odds kept under a digest of `digests`."""
        score = self._scores.get(digest)
        if score is None:
            self._misses += 1
        else:
            self._hits += 1
        return score

    def put(self, digest: bytes, log_odds: float) -> None:
        """Keep a score."""
        if self._size:
            self._scores[digest] = log_odds

    def clear(self) -> None:
        """Forget all scores; the counts stay."""
        evictions = self._scores.evictions
        self._scores = _CountingLRU(self._scores.maxsize)
        self._scores.evictions = evictions

    def get_statistics(self) -> dict[str, float | int]:
        """``hits``, ``misses``, ``evictions``, ``size``: int; ``hit_rate``: 0.0 before the first question."""
        asked = self._hits + self._misses
        return {
            "hits": self._hits,
            "misses": self._misses,
            "evictions": self._scores.evictions,
            "hit_rate": self._hits / asked if asked else 0.0,
            "size": len(self._scores),
        }


def digests(model_key: str, pairs: Sequence[Pair]) -> list[bytes]:
    """Return one key per pair; equal pairs, and in practice only those, have equal keys."""
    questions: dict[tuple[str, str], blake2b] = {}
    result = []
    for query, document, instruction in pairs:
        question = questions.get((query, instruction))
        if question is None:
            question = blake2b(digest_size=_DIGEST_BYTES)
            for part in (model_key, instruction, query):
                data = _encoded(part)
                question.update(len(data).to_bytes(8, "big"))  # else "ab" + "c" would equal "a" + "bc"
                question.update(data)
            questions[query, instruction] = question
        whole = question.copy()
        whole.update(_encoded(document))
        result.append(whole.digest())
    return result


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
