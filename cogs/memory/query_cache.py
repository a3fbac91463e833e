"""Recent answers, kept only while nothing in their guild has changed."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from cachetools import TTLCache

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable


class _CountingCache(TTLCache["Hashable", Any]):
    """Counts what leaves by itself."""

    evictions = 0
    expired = 0

    def popitem(self) -> tuple[Hashable, Any]:
        self.evictions += 1
        return super().popitem()

    def expire(self, time: float | None = None) -> list[tuple[Hashable, Any]]:
        gone = list(super().expire(time))
        self.expired += len(gone)
        return gone


class QueryCache:
    """LRU with a time to live, keyed by a guild's generation: one change makes all of its answers invisible.

    That is coarser than hashing the contents of every result, and cannot serve a stale text or a deleted message.
    Keys must hold everything the answer depends on, the scope included: a hit tells nobody what others asked.

    Args:
        size: answers that are kept.
        ttl_s: seconds that each is kept.
        clock: seconds that never go back.
    """

    def __init__(self, size: int, ttl_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers = _CountingCache(max(1, size), ttl_s, clock)
        self._generation: defaultdict[int, int] = defaultdict(int)
        self.hits = 0
        self.misses = 0

    def get(self, guild_id: int, key: Hashable) -> Any | None:
        """Return what was put under ``key`` since the guild last changed."""
        answer = self._answers.get((guild_id, self._generation[guild_id], key))
        if answer is None:
            self.misses += 1
        else:
            self.hits += 1
        return answer

    def generation(self, guild_id: int) -> int:
        """The state of a guild: take it before computing an answer, to put the answer under."""
        return self._generation[guild_id]

    def put(self, guild_id: int, generation: int, key: Hashable, answer: object) -> None:
        """Keep an answer that was computed from one state of the guild; a newer state never sees it."""
        self._answers[guild_id, generation, key] = answer

    def invalidate(self, guild_ids: Iterable[int]) -> None:
        """Note that guilds have changed."""
        for guild_id in guild_ids:
            self._generation[guild_id] += 1

    def get_statistics(self) -> dict[str, float | int]:
        """Hits, misses, evictions, expired, hit rate (0–1) and size, named ``query_cache_…``."""
        asked = self.hits + self.misses
        size = len(self._answers)  # lets go of what has expired
        return {
            "query_cache_hits": self.hits,
            "query_cache_misses": self.misses,
            "query_cache_evictions": self._answers.evictions,
            "query_cache_expired": self._answers.expired,
            "query_cache_hit_rate": self.hits / asked if asked else 0.0,
            "query_cache_size": size,
        }

    def clear(self) -> None:
        """Forget all answers; the counts stay."""
        before = self._answers
        self._answers = _CountingCache(before.maxsize, before.ttl, self._clock)
        self._answers.evictions, self._answers.expired = before.evictions, before.expired
