"""The way of a page of history into the memory."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import discord

from cogs.memory.surface.conversion import parent_of, to_stored

from .discord_requests import AccessRefused
from .floors import HistoryFloors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cogs.memory.memory_service import MemoryService
    from cogs.memory.records import StoredMessage
    from cogs.memory.surface.guild_settings import GuildSettingsStore

    from .verified_ids import VerifiedIds

_DISCORD_EPOCH = datetime(2015, 1, 1, tzinfo=UTC)


class HistoryIntake:
    """Remembers what was read from Discord, as far as the guild's settings and the authors allow.

    Nothing stale comes in this way: of two versions of a message the store keeps the one edited last, and what was
    deleted meanwhile has left a tombstone.

    Args:
        memory: where messages go.
        settings: who and what is not remembered.
        verified: is told what was just seen.
        convert: a Discord message → what is stored of it, or None.
    """

    def __init__(
        self,
        memory: MemoryService,
        settings: GuildSettingsStore,
        verified: VerifiedIds,
        *,
        convert: Callable[[discord.Message], StoredMessage | None] = to_stored,
    ) -> None:
        self._memory = memory
        self._settings = settings
        self._verified = verified
        self._convert = convert
        self._floors = HistoryFloors(memory.store)
        self._under_way: set[asyncio.Future[None]] = set()

    async def floor(self, place: discord.Thread | discord.abc.GuildChannel) -> int:
        """Return the id down to which a place is read: what is older is too old for the guild, or was erased."""
        parent_id = place.parent_id if isinstance(place, discord.Thread) else None
        return await self._floor(place.guild.id, place.id, parent_id)

    async def keep_out(self, guild_id: int, channel_id: int | None = None) -> None:
        """Take in nothing that was written until now, of a channel or (None) of the guild.

        What is being taken in is stored when this returns. Raises StoreError.
        """
        await self._floors.raise_to(guild_id, channel_id, discord.utils.time_snowflake(datetime.now(UTC)))
        if self._under_way:
            await asyncio.wait(set(self._under_way))

    async def let_in(self, guild_id: int, channel_id: int | None = None) -> None:
        """Let the whole history of a channel with its threads, or (None) of the guild, in again. Raises StoreError."""
        threads = [known.id for known in await self._memory.store.channels(guild_id) if known.parent_id == channel_id]
        await self._floors.lift(guild_id, channel_id, threads)

    async def _floor(self, guild_id: int, place_id: int, parent_id: int | None) -> int:
        days = (await self._settings.get(guild_id)).retention_days
        oldest = _DISCORD_EPOCH if days is None else datetime.now(UTC) - timedelta(days=days)
        by_age = discord.utils.time_snowflake(max(oldest, _DISCORD_EPOCH))
        return max(0, by_age, await self._floors.of(guild_id, place_id, parent_id))

    async def take(
        self, guild_id: int, epoch: int, messages: Sequence[discord.Message], *, known: Collection[int] = ()
    ) -> list[StoredMessage]:
        """Remember messages and return what was taken; it is durable by then.

        Args:
            guild_id: their guild.
            epoch: the sync epoch in which they were asked for.
            messages: as Discord gave them.
            known: ids of which something is stored already; they are kept up to date whatever the settings say now.

        Raises:
            AccessRefused: Discord withholds what the messages say.
            StoreError: the memory takes nothing in.
        """
        if _are_withheld(messages):
            raise AccessRefused("Discord shows me messages without their text.")
        under_way = asyncio.get_running_loop().create_future()
        self._under_way.add(under_way)
        try:
            return await self._take(guild_id, epoch, messages, known)
        finally:
            self._under_way.discard(under_way)
            under_way.set_result(None)

    async def _take(
        self, guild_id: int, epoch: int, messages: Sequence[discord.Message], known: Collection[int]
    ) -> list[StoredMessage]:
        taken = await self._acceptable(guild_id, messages, known)
        if taken:
            await self._memory.remember(taken)
            await self._memory.queue.stored(guild_id)
            self._verified.add(guild_id, epoch, taken)
        return taken

    async def _acceptable(
        self, guild_id: int, messages: Sequence[discord.Message], known: Collection[int]
    ) -> list[StoredMessage]:
        settings = await self._settings.get(guild_id)
        opted_out = await self._settings.opted_out(guild_id)
        places = {(message.channel.id, parent_of(message)) for message in messages}
        floors = {place_id: await self._floor(guild_id, place_id, parent_id) for place_id, parent_id in places}

        def is_wanted(message: discord.Message) -> bool:
            return (
                message.id > floors[message.channel.id]
                and message.author.id not in opted_out
                and settings.indexes(message.channel.id, parent_of(message))
            )

        wanted = (message for message in messages if message.id in known or is_wanted(message))
        return [stored for message in wanted if (stored := self._convert(message)) is not None]


def _are_withheld(messages: Sequence[discord.Message]) -> bool:
    """Whether most of what people wrote came without anything in it, as for a bot without the content intent.

    Taken at its word, such a page would have everything forgotten that is stored.
    """
    said = [
        message
        for message in messages
        if message.type in (discord.MessageType.default, discord.MessageType.reply) and not message.author.bot
    ]
    return 2 * sum(_is_void(message) for message in said) > len(said)


def _is_void(message: discord.Message) -> bool:
    return not (
        message.content
        or message.attachments
        or message.embeds
        or message.stickers
        or message.components
        or message.poll
        or message.message_snapshots
        or message.activity
    )
