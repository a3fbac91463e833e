"""Sizes of guilds, counted once in a while and once for all who ask at the same time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cachetools import TTLCache

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from cogs.memory.records import StoreStats

GUILDS = 10_000


class KeptCounts:
    """Keeps what a store counted. Counting a big guild takes longer than a question, and questions come in crowds.

    Args:
        count: counts a guild. Raises StoreError.
        ttl_s: seconds for which a count is good enough.
    """

    def __init__(self, count: Callable[[int], Coroutine[Any, Any, StoreStats]], ttl_s: float) -> None:
        self._count = count
        self._kept: TTLCache[int, asyncio.Task[StoreStats]] = TTLCache(GUILDS, ttl_s)

    async def get(self, guild_id: int) -> StoreStats:
        """Return a guild's sizes, counted lately or now. Raises what counting raises."""
        counting = self._kept.get(guild_id)
        if counting is None:
            counting = self._kept[guild_id] = asyncio.create_task(self._count(guild_id))
        try:
            stats = await asyncio.shield(counting)
        except BaseException:
            self._drop(guild_id, counting)
            raise
        if stats.index_ready < 1:
            self._drop(guild_id, counting)  # it grows by the second while the index is rebuilt
        return stats

    def forget(self, guild_id: int) -> None:
        """Let the next one who asks count anew."""
        self._kept.pop(guild_id, None)

    def _drop(self, guild_id: int, counting: asyncio.Task[StoreStats]) -> None:
        if counting.done() and self._kept.get(guild_id) is counting:
            del self._kept[guild_id]
