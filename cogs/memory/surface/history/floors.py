"""How far down a guild's history may be read in again after something of it was erased."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cogs.memory.stores import MemoryStore

FLOORS_KEY: Final = "history-floors"
WHOLE_GUILD: Final = 0


class HistoryFloors:
    """Keeps, for channels and whole guilds that were erased, the id below which nothing is read in by itself.

    What was stored has left tombstones. This is for what never was: else the next page of a back-fill would bring in
    what somebody has just had erased.

    Args:
        store: where they are kept.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._floors: dict[int, dict[int, int]] = {}
        self._writing = asyncio.Lock()

    async def of(self, guild_id: int, place_id: int, parent_id: int | None) -> int:
        """Return the id at and below which nothing of a channel or thread is read; 0 without one. Raises StoreError."""
        floors = await self._read(guild_id)
        for key in (place_id, parent_id, WHOLE_GUILD):
            if key in floors:
                return floors[key]
        return 0

    async def raise_to(self, guild_id: int, channel_id: int | None, floor: int) -> None:
        """Keep out what is not newer than ``floor``, of a channel or (None) of the guild. Raises StoreError."""
        async with self._writing:
            floors = {} if channel_id is None else await self._read(guild_id)
            await self._write(guild_id, {**floors, channel_id or WHOLE_GUILD: floor})

    async def lift(self, guild_id: int, channel_id: int | None = None, threads: Iterable[int] = ()) -> None:
        """Let the history of a channel with its threads, or of the guild, be read down to its beginning again."""
        async with self._writing:
            floors = await self._read(guild_id)
            if not floors:
                return
            left = {place: floor for place, floor in floors.items() if place not in set(threads)}
            await self._write(guild_id, {} if channel_id is None else {**left, channel_id: 0})

    async def _read(self, guild_id: int) -> dict[int, int]:
        if guild_id not in self._floors:
            text = await self._store.get_setting(guild_id, FLOORS_KEY)
            self._floors[guild_id] = {int(place): floor for place, floor in json.loads(text or "{}").items()}
        return self._floors[guild_id]

    async def _write(self, guild_id: int, floors: dict[int, int]) -> None:
        await self._store.put_setting(guild_id, FLOORS_KEY, json.dumps(floors) if floors else None)
        self._floors[guild_id] = floors
