"""Servers that the bot has left: their memory is erased, though not at once. A kick may have been a mistake."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cogs.memory.exceptions import Busy, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from cogs.memory.erasure import Erasure
    from cogs.memory.surface.guild_settings import GuildSettingsStore

log = logging.getLogger(__name__)

KNOWN_KEY: Final = "known-guilds"
"""Setting of guild 0: ids of the guilds the bot was on when it last looked, as JSON."""
DUE_KEY: Final = "departed-guilds"
"""Setting of guild 0: when the memory of each left guild is to be erased, as JSON."""
GRACE_KEY: Final = "departure-grace-hours"
"""Setting of guild 0: the grace period, in hours."""
GRACE_HOURS: Final = 7 * 24.0
LOOK_S: Final = 900.0
"""Seconds between two looks at what is due."""


class Departures:
    """Remembers, over restarts, which guilds were left and when their memory is to go.

    Args:
        erasure: erases what is due.
        settings: the guilds' own settings, which go along.
        on_erased: told which guild is a stranger again.
        clock: the time now.
    """

    def __init__(
        self,
        erasure: Erasure,
        settings: GuildSettingsStore,
        *,
        on_erased: Callable[[int], Awaitable[None]] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._erasure = erasure
        self._store = erasure.memory.store
        self._settings = settings
        self._on_erased = on_erased
        self._clock = clock
        self._writing = asyncio.Lock()

    async def left(self, guild_id: int) -> None:
        """Note that the bot was removed from a guild. Raises StoreError."""
        async with self._writing:
            await self._note_left([guild_id])

    async def back(self, guild_id: int) -> None:
        """Note that the bot is on a guild: nothing of it is due any more. Raises StoreError."""
        async with self._writing:
            due = await self._due()
            if due.pop(guild_id, None) is not None:
                log.info("Guild %d is back: its memory stays", guild_id)
                await self._put_due(due)
            known = await self._known()
            if guild_id not in known:
                await self._put_known({*known, guild_id})

    async def look(self, present: Iterable[int]) -> None:
        """Compare with all guilds the bot is on (outages included), and note those it lost while it was off."""
        present = set(present)
        async with self._writing:
            await self._note_left(sorted(await self._known() - present))
            await self._put_known(present)
            due = await self._due()
            if due.keys() & present:
                await self._put_due({guild_id: moment for guild_id, moment in due.items() if guild_id not in present})

    async def erase_due(self) -> dict[int, int]:
        """Erase what is due; return the number of messages by guild. Raises StoreError or Busy."""
        async with self._writing:
            due, now = await self._due(), self._clock()
            erased: dict[int, int] = {}
            for guild_id in [guild_id for guild_id, moment in due.items() if moment <= now]:
                erased[guild_id] = (await self._erasure.forget_guild(guild_id)).messages
                await self._settings.remove(guild_id)
                if self._on_erased is not None:
                    await self._on_erased(guild_id)
                del due[guild_id]
                await self._put_due(due)
                log.info("The memory of guild %d, left a while ago, is erased: %d messages", guild_id, erased[guild_id])
            return erased

    async def run(self) -> None:
        """Erase what is due, now and every quarter of an hour, until cancelled."""
        while True:
            try:
                await self.erase_due()
            except (StoreError, Busy) as error:
                log.error("What is due cannot be erased now: %s", error)
            await asyncio.sleep(LOOK_S)

    async def _note_left(self, guild_ids: Iterable[int]) -> None:
        due = await self._due()
        new = [guild_id for guild_id in guild_ids if guild_id not in due]
        if not new:
            return
        hours = float(await self._store.get_setting(0, GRACE_KEY) or GRACE_HOURS)
        moment = self._clock() + timedelta(hours=hours)
        for guild_id in new:
            log.info("Guild %d was left: its memory is erased at %s", guild_id, moment.isoformat(timespec="minutes"))
        await self._put_due(due | dict.fromkeys(new, moment))
        await self._put_known(await self._known() - set(new))

    async def _due(self) -> dict[int, datetime]:
        text = await self._store.get_setting(0, DUE_KEY)
        return {int(key): datetime.fromisoformat(value) for key, value in json.loads(text or "{}").items()}

    async def _put_due(self, due: dict[int, datetime]) -> None:
        text = json.dumps({str(guild_id): moment.isoformat() for guild_id, moment in due.items()})
        await self._store.put_setting(0, DUE_KEY, text if due else None)

    async def _known(self) -> set[int]:
        return set(json.loads(await self._store.get_setting(0, KNOWN_KEY) or "[]"))

    async def _put_known(self, known: set[int]) -> None:
        await self._store.put_setting(0, KNOWN_KEY, json.dumps(sorted(known)))
