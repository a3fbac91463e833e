"""Deletes what is older than a server wants to keep."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cogs.memory.exceptions import MemoryCogError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from cogs.memory.memory_service import MemoryService
    from cogs.memory.records import StoredMessage
    from cogs.memory.stores import MemoryStore

    from .guild_settings import GuildSettingsStore

log = logging.getLogger(__name__)

HOUR_S = 3600.0
BATCH = 500
"""Messages deleted at a time; questions and new messages go between."""


def cutoff(days: int, now: datetime) -> datetime:
    """Return the moment before which messages are too old."""
    return now - timedelta(days=days)


async def messages_before(store: MemoryStore, guild_id: int, moment: datetime) -> AsyncIterator[StoredMessage]:
    """Yield a guild's messages that are older than a moment, oldest first. Raises StoreError."""
    async for message in store.iterate(guild_id):
        if message.created_at >= moment:  # ids, and so this order, follow the time of creation
            return
        yield message


async def count_before(store: MemoryStore, guild_id: int, moment: datetime, *, limit: int) -> int:
    """Count the messages older than a moment, up to ``limit``. Raises StoreError."""
    count = 0
    async for _ in messages_before(store, guild_id, moment):
        count += 1
        if count >= limit:
            break
    return count


class RetentionSweep:
    """Once an hour, and when asked, deletes the messages that are too old for their server.

    Args:
        memory: what is swept.
        settings: how long each server keeps its messages.
        guild_ids: says which servers there are at the moment.
        interval_s: seconds between two sweeps.
        now: the time; in UTC.
    """

    def __init__(
        self,
        memory: MemoryService,
        settings: GuildSettingsStore,
        guild_ids: Callable[[], Iterable[int]],
        *,
        interval_s: float = HOUR_S,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._memory = memory
        self._settings = settings
        self._guild_ids = guild_ids
        self._interval_s = interval_s
        self._now = now
        self._sweeping = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin: the first sweep is at once, for what got too old while the bot was off."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; may be called twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def sweep(self, guild_id: int) -> int:
        """Delete what is too old on one server; return how many messages that were.

        They leave tombstones, so a back-fill does not read them in again.

        Raises:
            StoreError: the store or the settings cannot be read.
        """
        async with self._sweeping:
            days = (await self._settings.get(guild_id)).retention_days
            if days is None:
                return 0
            moment = cutoff(days, self._now())
            deleted = 0
            while ids := await self._oldest(guild_id, moment):
                await self._memory.forget(guild_id, ids)
                await self._memory.queue.stored(guild_id)
                deleted += len(ids)
        if deleted:
            log.info("Deleted %d messages older than %d days in guild %d", deleted, days, guild_id)
        return deleted

    async def _oldest(self, guild_id: int, moment: datetime) -> list[int]:
        ids: list[int] = []
        async for message in messages_before(self._memory.store, guild_id, moment):
            ids.append(message.id)
            if len(ids) == BATCH:
                break
        return ids

    async def _run(self) -> None:
        while True:
            for guild_id in list(self._guild_ids()):
                try:
                    await self.sweep(guild_id)
                except MemoryCogError as error:
                    # The other servers and the next hour must not suffer from one that fails.
                    log.error("The retention sweep of guild %d failed: %s", guild_id, error)
            await asyncio.sleep(self._interval_s)
