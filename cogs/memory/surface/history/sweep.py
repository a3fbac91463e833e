"""The slow sweep: page by page, all that is stored of a guild is compared with Discord."""

from __future__ import annotations

import heapq
import logging
from array import array
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import discord

from .discord_requests import PAGE, AccessRefused, DiscordUnwell, PlaceGone
from .places import CHANNEL_CLASSES, may_read

if TYPE_CHECKING:
    from .places import Place
    from .tools import HistoryTools

log = logging.getLogger(__name__)


@dataclass(order=True, slots=True)
class _Channel:
    """What is stored of a channel and lies below the part already compared."""

    newest_first: int
    """Minus the newest id left: the order in which channels take their turns."""
    id: int = field(compare=False)
    ids: array[int] = field(compare=False)
    """Stored ids in rising order; what was compared is cut off at the end."""
    before: int | None = field(default=None, compare=False)
    place: Place | None = field(default=None, compare=False)


class Sweep:
    """Forgets what was deleted and renews what was edited while the bot was away; the newest messages first.

    Args:
        tools: what history is read with; its pace is the sweep's.
    """

    def __init__(self, tools: HistoryTools) -> None:
        self._tools = tools

    async def run(self, guild: discord.Guild) -> int:
        """Compare everything stored of the guild and return how many messages were gone.

        Raises:
            StoreError: the store failed.
        """
        waiting = await self._stored(guild.id)
        heapq.heapify(waiting)
        gone = 0
        while waiting:
            channel = heapq.heappop(waiting)
            try:
                gone += await self._compare_page(guild, channel)
            except PlaceGone:
                gone += len(channel.ids)
                await self._forget(guild.id, list(channel.ids))
                continue
            except (AccessRefused, DiscordUnwell) as error:
                log.info("Channel %d is left out of this sweep: %s", channel.id, error)
                continue
            if channel.ids:
                channel.newest_first = -channel.ids[-1]
                heapq.heappush(waiting, channel)
        log.info("Compared all that is stored of guild %d: %d messages were gone", guild.id, gone)
        return gone

    async def _stored(self, guild_id: int) -> list[_Channel]:
        """The ids of all stored messages by channel, without those known to be true down to the first in doubt."""
        ids: dict[int, array[int]] = defaultdict(lambda: array("q"))
        doubtful: set[int] = set()
        async for message in self._tools.memory.store.iterate(guild_id):
            ids[message.channel_id].append(message.id)
            if not self._tools.verified.holds(message):
                doubtful.add(message.channel_id)
        return [_Channel(-ids[channel_id][-1], channel_id, ids[channel_id]) for channel_id in doubtful]

    async def _compare_page(self, guild: discord.Guild, channel: _Channel) -> int:
        """Read the next page of a channel and cut it off what is left; return how many messages were gone."""
        if channel.place is None:
            channel.place = await self._find(guild, channel.id)
        epoch = self._tools.verified.epoch(guild.id)
        if not may_read(channel.place):
            raise AccessRefused("I may not read there.")
        page = await self._tools.requests(guild.id).page(channel.place, channel.before)
        if not page and not may_read(channel.place):
            raise AccessRefused("I may not read there.")
        lowest = min(message.id for message in page) if len(page) == PAGE else 0
        start = bisect_left(channel.ids, lowest)
        # What was written since the ids were read is not among them.
        stored = set(channel.ids[start:])
        taken = await self._tools.intake.take(guild.id, epoch, page, known=stored)
        missing = stored.difference(message.id for message in taken)
        await self._forget(guild.id, sorted(missing))
        channel.before = lowest
        del channel.ids[start:]
        return len(missing)

    async def _find(self, guild: discord.Guild, channel_id: int) -> Place:
        """Return the channel or thread, from Discord if it is an archived thread."""
        known = guild.get_channel_or_thread(channel_id)
        if known is None:
            try:
                known = await self._tools.requests(guild.id).ask(lambda: guild.fetch_channel(channel_id))
            except discord.InvalidData as error:
                raise AccessRefused("That is no channel of this server.") from error
            await self._tools.places.learn(guild.id, [known])
        if not isinstance(known, (discord.Thread, *CHANNEL_CLASSES)):
            raise AccessRefused("That channel holds no messages.")
        return known

    async def _forget(self, guild_id: int, ids: list[int]) -> None:
        if ids:
            await self._tools.memory.forget(guild_id, ids)
