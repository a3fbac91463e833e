"""Up to which message each guild was heard without a gap; kept in the store, for the time after a restart."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogs.memory.stores import MemoryStore

MARK_KEY: Final = "sync"
OVERLAP_MS: Final = 60_000
"""Milliseconds before the mark that are read again: ids are only nearly in the order in which messages arrive."""

_SNOWFLAKE_MS: Final = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncMark:
    """What is known to be complete of a guild's messages."""

    epoch: int = 0
    """Counts the gaps so far."""
    heard: int = 0
    """The newest message that was heard; whatever came before it is in the store, but for ``gap_from``."""
    gap_from: int | None = None
    """What is newer than this id, and was written before the session began, has yet to be read."""


class SyncMarks:
    """The marks of all guilds.

    Args:
        store: keeps them.
        settle: waits until everything that was heard so far is in the store.
    """

    def __init__(self, store: MemoryStore, settle: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._settle = settle
        self._marks: dict[int, SyncMark] = {}
        self._heard: dict[int, int] = {}
        self._in_step: set[int] = set()
        self._writing = asyncio.Lock()

    def hear(self, guild_id: int, message_id: int) -> None:
        """Note a message that the gateway sent; stored with the next `flush`."""
        self._heard[guild_id] = max(message_id, self._heard.get(guild_id, 0))

    def distrust(self, guild_id: int) -> None:
        """Leave the guild's mark where it is until `open_gap`: events before the next that is heard were missed."""
        self._in_step.discard(guild_id)

    async def get(self, guild_id: int) -> SyncMark | None:
        """Return a guild's mark, None for one never heard of. Raises StoreError."""
        if guild_id not in self._marks:
            text = await self._store.get_setting(guild_id, MARK_KEY)
            if text is None:
                return None
            self._marks[guild_id] = SyncMark(**json.loads(text))
        return self._marks[guild_id]

    async def open_gap(self, guild_id: int, newest: int) -> SyncMark:
        """Note that events may have been missed since the last that was heard.

        Args:
            guild_id: the guild.
            newest: its newest message now; for a guild seen for the first time everything up to it is history.

        Raises:
            StoreError: the store failed.
        """
        async with self._writing:
            mark = await self.get(guild_id)
            if mark is None:
                mark = SyncMark(heard=newest)
            else:
                since = max(0, mark.heard - OVERLAP_MS * _SNOWFLAKE_MS)
                gap_from = since if mark.gap_from is None else min(mark.gap_from, since)
                mark = replace(mark, epoch=mark.epoch + 1, gap_from=gap_from)
            await self._put(guild_id, mark)
            self._in_step.add(guild_id)
            return mark

    async def close_gap(self, guild_id: int, mark: SyncMark) -> None:
        """Note that a gap was read, unless another has opened since. Raises StoreError."""
        async with self._writing:
            now = await self.get(guild_id)
            if now is not None and now.epoch == mark.epoch:
                await self._put(guild_id, replace(now, gap_from=None))

    async def flush(self) -> None:
        """Store what was heard, as soon as it cannot be lost any more. Raises StoreError."""
        heard = {guild_id: newest for guild_id, newest in self._heard.items() if guild_id in self._in_step}
        if not heard:
            return
        await self._settle()
        for guild_id, message_id in heard.items():
            async with self._writing:
                mark = await self.get(guild_id)
                if mark is not None and message_id > mark.heard and guild_id in self._in_step:
                    await self._put(guild_id, replace(mark, heard=message_id))

    async def _put(self, guild_id: int, mark: SyncMark) -> None:
        await self._store.put_setting(guild_id, MARK_KEY, json.dumps(asdict(mark)))
        self._marks[guild_id] = mark
