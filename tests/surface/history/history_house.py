"""A server with a past on the loopback Discord, and a bot in this process that reads it into a real memory."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from cogs.memory.erasure import Erasure
from cogs.memory.surface.discord_access import AccessRules
from cogs.memory.surface.event_line import EventLine
from cogs.memory.surface.failures import Failures
from cogs.memory.surface.guild_settings import GuildSettingsStore
from cogs.memory.surface.history.history_sync import HistorySync
from cogs.memory.surface.listeners import MemoryListeners
from cogs.memory.surface.recall.judgements import Judgements
from cogs.memory.surface.recall.recent_queries import RecentQueries
from cogs.memory.surface.services import SurfaceServices
from tests.loopback import LoopbackDiscord, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from discord import Guild as KnownGuild

    from cogs.memory.memory_service import MemoryService
    from tests.loopback import Channel, Guild

    OpenMemory = Callable[[], AbstractAsyncContextManager[MemoryService]]


class HistoryBot(commands.AutoShardedBot):
    """Listens, reads history, and has `/memory backfill`."""

    def __init__(self, memory: MemoryService, *, interval_s: float) -> None:
        intents = discord.Intents.default()
        intents.members = intents.message_content = True
        super().__init__("!", intents=intents, allowed_mentions=discord.AllowedMentions.none())
        self.settings = GuildSettingsStore(memory.store)
        self.access = AccessRules(self)
        self.erasure = Erasure(memory)
        failures = Failures()
        self.events = EventLine(self.erasure, self.settings)
        self.sync = HistorySync(
            self,
            self.erasure,
            self.settings,
            self.access,
            failures=failures,
            drained=self.events.drained,
            interval_s=interval_s,
            first_backoff_s=0.01,
            unwell_s=0.05,
            edit_s=0.02,
        )
        self.erasure.keepers += [self.sync, self.events]
        self.services = SurfaceServices(
            bot=self,
            memory=memory,
            erasure=self.erasure,
            access=self.access,
            settings=self.settings,
            events=self.events,
            history=self.sync,
            judgements=Judgements(memory.store),
            failures=failures,
            recent=RecentQueries(),
        )
        self.tree.error(failures.report)

    async def setup_hook(self) -> None:
        self.access.listen()
        await self.add_cog(MemoryListeners(self.services))
        group = app_commands.Group(name="memory", description="What is remembered here", guild_only=True)
        self.sync.add_commands(group)
        self.tree.add_command(group)
        await self.tree.sync()
        self.sync.start()

    async def close(self) -> None:
        await self.sync.close()
        await super().close()


@dataclass
class HistoryHouse:
    """The bot on its first server."""

    discord: LoopbackDiscord
    bot: HistoryBot
    memory: MemoryService
    guild: Guild

    @property
    def sync(self) -> HistorySync:
        return self.bot.sync

    @property
    def erasure(self) -> Erasure:
        return self.bot.erasure

    @property
    def here(self) -> KnownGuild:
        """The server as the bot knows it."""
        guild = self.bot.get_guild(self.guild.id)
        assert guild is not None
        return guild

    async def stored(self, channel: Channel | None = None) -> dict[int, str]:
        """What is stored, by id; of one channel, or all."""
        await self.discord.gateway.barrier()
        await self.bot.events.drained()
        await self.memory.queue.stored()
        rows = [message async for message in self.memory.store.iterate(self.guild.id)]
        assert len(rows) == len({row.id for row in rows})
        return {row.id: row.content for row in rows if channel is None or row.channel_id == channel.id}

    async def backfilled(self, guild_id: int | None = None) -> None:
        """Wait until the back-fill is done, of the house's guild or of another one."""
        guild_id = self.guild.id if guild_id is None else guild_id
        await self.sync.caught_up(guild_id)
        backfill = self.sync.backfill
        # A back-fill that begins by itself signals nothing.
        while (progress := await backfill.progress(guild_id)) is None or not progress.state.is_over:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await self.sync.backfill.finished(guild_id)

    async def channels_known(self) -> set[int]:
        """Ids of the threads whose rules the access rules know."""
        return set(self.bot.access.learnt_threads(self.guild.id))


@asynccontextmanager
async def bot_on(
    server: LoopbackDiscord, open_memory: OpenMemory, *, interval_s: float = 0.0
) -> AsyncIterator[HistoryHouse]:
    """Run the bot; a second time it finds what it knew before."""
    guild = next(iter(server.world.guilds.values()))
    async with open_memory() as memory:
        bot = HistoryBot(memory, interval_s=interval_s)
        async with running(server, bot):
            yield HistoryHouse(server, bot, memory, guild)
