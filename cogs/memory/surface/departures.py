"""Servers that the bot has left: their memory is erased, though not at once. A kick may have been a mistake."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cogs.memory.exceptions import Busy, StoreError
from cogs.memory.surface.operation.shards import WHOLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from cogs.memory.erasure import Erasure
    from cogs.memory.surface.guild_settings import GuildSettingsStore
    from cogs.memory.surface.operation.shards import Shards

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
        shards: those of this process: another one looks after the guilds of the others.
        clock: the time now.
    """

    def __init__(
        self,
        erasure: Erasure,
        settings: GuildSettingsStore,
        *,
        on_erased: Callable[[int], Awaitable[None]] | None = None,
        shards: Callable[[], Shards] = lambda: WHOLE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._erasure = erasure
        self._store = erasure.memory.store
        self._settings = settings
        self._on_erased = on_erased
        self._shards = shards
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
        text = await self._get(DUE_KEY)
        due = {int(key): datetime.fromisoformat(value) for key, value in json.loads(text or "{}").items()}
        shards = self._shards()
        return {guild_id: moment for guild_id, moment in due.items() if shards.own(guild_id)}

    async def _put_due(self, due: dict[int, datetime]) -> None:
        text = json.dumps({str(guild_id): moment.isoformat() for guild_id, moment in due.items()})
        nothing = None if self._own(DUE_KEY) == DUE_KEY else "{}"  # else what was noted before would count again
        await self._store.put_setting(0, self._own(DUE_KEY), text if due else nothing)

    async def _known(self) -> set[int]:
        shards = self._shards()
        return {guild_id for guild_id in json.loads(await self._get(KNOWN_KEY) or "[]") if shards.own(guild_id)}

    async def _put_known(self, known: set[int]) -> None:
        await self._store.put_setting(0, self._own(KNOWN_KEY), json.dumps(sorted(known)))

    async def _get(self, key: str) -> str | None:
        """This process's own setting, or that of the time when there was one process."""
        text = await self._store.get_setting(0, self._own(key))
        return await self._store.get_setting(0, key) if text is None else text

    def _own(self, key: str) -> str:
        """Processes that share a store write a setting each: none overwrites what another has noted."""
        shards = self._shards()
        return key if shards is WHOLE else f"{key}:{shards}"
