"""`MemoryListeners`: what happens on Discord into the event line, in the order in which it happens."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from discord.ext import commands

from cogs.memory.exceptions import StoreError
from cogs.memory.surface.conversion import channel_info, parent_of, to_stored
from cogs.memory.surface.departures import Departures
from cogs.memory.surface.event_line import ChannelGone, Named, Said, Unsaid
from cogs.memory.surface.operation.shards import shards_of

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import discord

    from cogs.memory.surface.services import SurfaceServices

log = logging.getLogger(__name__)

NO_CONTENT: Final = (
    "The bot may not read what people write: switch on “Message Content Intent” for it in Discord's developer portal "
    "(https://discord.com/developers/applications → your application → Bot → Privileged Gateway Intents) and start "
    "it with Intents.message_content = True. Until then nothing is remembered."
)


class MemoryListeners(commands.Cog):
    """Keeps the memory in step with the servers.

    No listener of messages awaits anything: only so is the order of events the gateway's (see `event_line`).

    Args:
        services: the event line and what else is shared.
    """

    def __init__(self, services: SurfaceServices) -> None:
        self.services = services
        self.departures = Departures(
            services.erasure,
            services.settings,
            on_erased=self._begin_anew,
            shards=lambda: shards_of(services.bot),
        )
        self._line = services.events
        self._erasing: asyncio.Task[None] | None = None

    async def cog_load(self) -> None:
        """Take up events, and what is already known if the bot runs for a while."""
        bot = self.services.bot
        self._line.start()
        self._erasing = asyncio.create_task(self.departures.run(), name="memory departures")
        if not bot.intents.message_content:
            log.error(NO_CONTENT)
        for guild in bot.guilds:
            self._name(guild)
        if bot.is_ready():
            await self.on_ready()

    async def cog_unload(self) -> None:
        """Hand on what waits and stop."""
        if self._erasing is not None:
            self._erasing.cancel()
            await asyncio.gather(self._erasing, return_exceptions=True)
        await self._line.stop()

    # Messages. Nothing is awaited before `put`, here or in what is called.

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Line up what was written."""
        stored = to_stored(message)
        if stored is not None:
            self._line.put(Said(stored, self._parent(message)))

    @commands.Cog.listener()
    async def on_raw_message_edit(self, event: discord.RawMessageUpdateEvent) -> None:
        """Line up what was edited; link previews, pins and the like change nothing that was written."""
        message = event.message
        if message.edited_at is None or message.guild is None or _says_the_same(event.cached_message, message):
            return
        stored = to_stored(message)
        if stored is not None:
            self._line.put(Said(stored, self._parent(message), edited=True))
        elif not message.author.bot and message.webhook_id is None:
            self._line.put(Unsaid(message.guild.id, (message.id,)))  # nothing is left of what was written

    @commands.Cog.listener()
    async def on_raw_message_delete(self, event: discord.RawMessageDeleteEvent) -> None:
        """Line up what was deleted, whoever wrote it."""
        if event.guild_id is not None:
            self._line.put(Unsaid(event.guild_id, (event.message_id,)))

    @commands.Cog.listener()
    async def on_raw_bulk_message_delete(self, event: discord.RawBulkMessageDeleteEvent) -> None:
        """Line up what was deleted in one go."""
        if event.guild_id is not None:
            self._line.put(Unsaid(event.guild_id, tuple(sorted(event.message_ids))))

    # Channels and threads.

    @commands.Cog.listener()
    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        """Forget what was said in a channel and in its threads."""
        self._line.put(ChannelGone(channel.guild.id, channel.id))

    @commands.Cog.listener()
    async def on_raw_thread_delete(self, event: discord.RawThreadDeleteEvent) -> None:
        """Forget what was said in a thread."""
        self._line.put(ChannelGone(event.guild_id, event.thread_id))

    @commands.Cog.listener()
    async def on_guild_channel_create(self, channel: discord.abc.GuildChannel) -> None:
        """Note a channel's name."""
        self._line.put(Named((channel_info(channel),)))

    @commands.Cog.listener()
    async def on_guild_channel_update(self, _: discord.abc.GuildChannel, channel: discord.abc.GuildChannel) -> None:
        """Note a channel's name."""
        self._line.put(Named((channel_info(channel),)))

    @commands.Cog.listener()
    async def on_thread_create(self, thread: discord.Thread) -> None:
        """Note a thread's name and where it hangs."""
        self._line.put(Named((channel_info(thread),)))

    @commands.Cog.listener()
    async def on_thread_update(self, _: discord.Thread, thread: discord.Thread) -> None:
        """Note a thread's name and where it hangs."""
        self._line.put(Named((channel_info(thread),)))

    # Servers.

    @commands.Cog.listener()
    async def on_guild_available(self, guild: discord.Guild) -> None:
        """Note the names of a server's channels."""
        self._name(guild)

    @commands.Cog.listener()
    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Note the names of a server's channels, and keep what was about to go."""
        self._name(guild)
        await self._try(self.departures.back(guild.id))

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Let a server's memory go after a while. An outage is no removal and does not come here."""
        await self._try(self.departures.left(guild.id))

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Find out which servers were left while the bot was off, and whether it may read what is written."""
        bot = self.services.bot
        await self._try(self.departures.look(guild.id for guild in bot.guilds))
        if not content_is_switched_on(bot.application_flags):
            log.error(NO_CONTENT)

    def _parent(self, message: discord.Message) -> int | None:
        """The channel that the message's thread hangs under; archived threads are known to the access rules alone."""
        parent_id = parent_of(message)
        if parent_id is None and message.guild is not None:
            thread = self.services.access.learnt_threads(message.guild.id).get(message.channel.id)
            parent_id = thread.parent_id if thread else None
        return parent_id

    def _name(self, guild: discord.Guild) -> None:
        places = [*guild.channels, *guild.threads]
        if places:
            self._line.put(Named(tuple(channel_info(place) for place in places)))

    async def _begin_anew(self, guild_id: int) -> None:
        await self.services.history.begin_anew(guild_id)
        for companion in self.services.companions:
            await companion.guild_erased(guild_id)

    async def _try(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except StoreError as error:
            log.error("A server's coming or going was not noted: %s", error)


def content_is_switched_on(flags: discord.ApplicationFlags) -> bool:
    """Whether the developer portal lets the application read what is written."""
    return flags.gateway_message_content or flags.gateway_message_content_limited


def _says_the_same(before: discord.Message | None, after: discord.Message) -> bool:
    """Whether an edit is known to have changed nothing that is remembered."""
    if before is None or before.edited_at is None:
        return False
    attached = [[each.id for each in message.attachments] for message in (before, after)]
    return before.content == after.content and attached[0] == attached[1]
