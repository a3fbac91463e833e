"""Reading what was written while the bot was away."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import discord

from .backfill_record import checkpoint_key
from .discord_requests import AccessRefused, DiscordUnwell, PlaceGone
from .places import archives_of, places_of
from .walk import Checkpoint, HistoryWalk

if TYPE_CHECKING:
    from cogs.memory.erasure import Erasure

    from .places import Archive, Place
    from .sync_marks import SyncMarks
    from .tools import HistoryTools

log = logging.getLogger(__name__)


class CatchUp:
    """Closes the gap that a restart, a lost session or an outage leaves in a guild's messages.

    Args:
        marks: where each guild's gap begins.
        tools: what history is read with.
        erasure: erases channels that are gone.
    """

    def __init__(self, marks: SyncMarks, tools: HistoryTools, erasure: Erasure) -> None:
        self._marks = marks
        self._tools = tools
        self._erasure = erasure

    async def run(self, guild: discord.Guild) -> int:
        """Read the gap, if there is one, and return how many messages were taken in.

        Channels without a newer message cost no request. After an interruption it begins again where the gap begins.

        Raises:
            StoreError: the store failed; the gap stays open.
            Busy: what is queued could not be stored in time; the gap stays open.
        """
        mark = await self._marks.get(guild.id)
        if mark is None or mark.gap_from is None:
            return 0
        messages = await self._read(guild, places_of(guild), mark.gap_from)
        messages += await self._read(guild, await self._archived_since(guild, mark.gap_from), mark.gap_from)
        await self._forget_deleted_channels(guild)
        await self._marks.close_gap(guild.id, mark)
        log.info("Caught up with guild %d: %d messages", guild.id, messages)
        return messages

    async def _read(self, guild: discord.Guild, places: list[Place], gap_from: int) -> int:
        """Read, in turns, the places that have messages newer than the id ``gap_from``."""
        new = [place for place in places if _newest(place) > gap_from and await self._tools.places.wanted(place)]
        await self._tools.places.learn(guild.id, new)
        floors = [max(gap_from, await self._tools.intake.floor(place)) for place in new]
        walks = [
            HistoryWalk(place, Checkpoint(floor=floor), self._tools) for place, floor in zip(new, floors, strict=True)
        ]
        while waiting := [walk for walk in walks if not walk.done and not walk.refused]:
            ready = [walk for walk in waiting if not walk.parked_s]
            for walk in ready:
                await walk.advance()
            if not ready:
                await asyncio.sleep(min(walk.parked_s for walk in waiting))
        for walk in walks:
            if walk.refused:
                await self._leave_to_backfill(walk.place)
        return sum(walk.checkpoint.messages for walk in walks)

    async def _leave_to_backfill(self, place: Place) -> None:
        """Let the next back-fill begin anew in a place that cannot be read now."""
        await self._tools.memory.store.put_setting(place.guild.id, checkpoint_key(place.id), None)

    async def _archived_since(self, guild: discord.Guild, gap_from: int) -> list[Place]:
        archives = [archive for channel in guild.channels for archive in archives_of(channel)]
        wanted = [archive for archive in archives if await self._tools.places.wanted(archive.parent)]
        return [thread for archive in wanted for thread in await self._threads_since(archive, gap_from)]

    async def _threads_since(self, archive: Archive, gap_from: int) -> list[discord.Thread]:
        """The threads of an archive that may hold messages newer than the id ``gap_from``."""
        moment = discord.utils.snowflake_time(gap_from)
        found: list[discord.Thread] = []
        while True:
            try:
                threads = await self._tools.requests(archive.parent.guild.id).ask(archive.page)
            except (AccessRefused, PlaceGone, DiscordUnwell) as error:
                log.warning("The archive of channel %d was not looked through: %s", archive.parent.id, error)
                return found
            found += [thread for thread in threads if thread.archive_timestamp >= moment]
            # Those that the bot has joined come by id; their last activity is in no order.
            if not threads or (not archive.by_id and threads[-1].archive_timestamp < moment):
                return found

    async def _forget_deleted_channels(self, guild: discord.Guild) -> None:
        """Erase the channels that were deleted meanwhile, with their threads; Discord is asked about each."""
        known = await self._tools.memory.store.channels(guild.id)
        present = {channel.id for channel in guild.channels}
        for channel in known:
            if channel.parent_id is None and channel.id not in present and await self._is_gone(guild, channel.id):
                await self._erasure.forget_channel(guild.id, channel.id)

    async def _is_gone(self, guild: discord.Guild, channel_id: int) -> bool:
        try:
            await self._tools.requests(guild.id).ask(lambda: guild.fetch_channel(channel_id))
        except PlaceGone:
            return True
        except (AccessRefused, DiscordUnwell, discord.InvalidData) as error:
            log.info("Cannot tell whether channel %d exists (%s): kept", channel_id, type(error).__name__)
        return False


def _newest(place: Place) -> int:
    """The newest message that a place may hold: a thread begins with one of its own id."""
    return max(place.last_message_id or 0, place.id if isinstance(place, discord.Thread) else 0)
