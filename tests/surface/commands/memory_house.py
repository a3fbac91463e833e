"""A server on the loopback Discord, and a bot in this process with nothing but `/memory` over a real memory."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import discord
from discord.ext import commands

from cogs.memory.erasure import Erasure
from cogs.memory.records import ChannelInfo, StoredMessage
from cogs.memory.surface.commands.command_services import CommandServices
from cogs.memory.surface.commands.memory_group import memory_group
from cogs.memory.surface.discord_access import AccessRules
from cogs.memory.surface.failures import Failures
from cogs.memory.surface.guild_settings import GuildSettingsStore
from cogs.memory.surface.history.verification import Verified
from cogs.memory.surface.operation.samples import Samples
from cogs.memory.surface.recall.judgements import Judgements
from cogs.memory.surface.retention import RetentionSweep
from tests.loopback import Channel, Guild, LoopbackDiscord, Member, Permission, World, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from cogs.memory.memory_service import MemoryService
    from cogs.memory.surface.history.backfill_progress import BackfillProgress
    from tests.loopback import Interaction


class AllStands:
    """What is put straight into the memory was never on Discord; it counts as standing there unless named."""

    def __init__(self) -> None:
        self.gone: set[int] = set()

    async def verify(self, messages: Iterable[StoredMessage]) -> Verified:
        return Verified({message.id: message for message in messages if message.id not in self.gone})


class CommandsBot(commands.Bot):
    """Has the group of commands and the one place for failures."""

    def __init__(self, memory: MemoryService) -> None:
        intents = discord.Intents.default()
        intents.members = intents.message_content = True
        super().__init__("!", intents=intents, allowed_mentions=discord.AllowedMentions.none())
        self.progress: BackfillProgress | None = None
        settings, judgements = GuildSettingsStore(memory.store), Judgements(memory.store)
        self.services = CommandServices(
            memory=memory,
            settings=settings,
            judgements=judgements,
            access=AccessRules(self),
            verification=AllStands(),
            history=self._history,
            samples=Samples(memory),
            retention=RetentionSweep(memory, settings, lambda: [guild.id for guild in self.guilds]),
            erasure=Erasure(memory, [judgements]),
            failures=Failures(),
        )
        self.tree.error(self.services.failures.report)

    async def _history(self, _: int) -> BackfillProgress | None:
        return self.progress

    async def setup_hook(self) -> None:
        """Register the commands."""
        self.services.access.listen()
        self.tree.add_command(memory_group(self.services))
        await self.tree.sync()


@dataclass
class MemoryHouse:
    """The server, its people and channels, the bot, and its memory."""

    discord: LoopbackDiscord
    bot: CommandsBot
    world: World
    guild: Guild
    ada: Member
    admin: Member
    general: Channel
    garden: Channel
    secret: Channel
    said: list[StoredMessage] = field(default_factory=list)

    @property
    def services(self) -> CommandServices:
        """What the commands work with."""
        return self.bot.services

    @property
    def memory(self) -> MemoryService:
        """The real memory."""
        return self.bot.services.memory

    async def say(
        self, author: Member, text: str, *, channel: Channel | None = None, age: timedelta = timedelta(), **fields: Any
    ) -> StoredMessage:
        """Put a message straight into the memory, and its channel's name."""
        where = channel or self.general
        at = datetime.now(UTC) - age
        message = StoredMessage(
            id=self.world.new_id(at),
            guild_id=self.guild.id,
            channel_id=where.id,
            author_id=author.id,
            author_name=author.display_name,
            content=text,
            created_at=at,
            **fields,
        )
        await self.memory.remember([message])
        await self.memory.name_channels([ChannelInfo(where.id, self.guild.id, where.name)])
        await self.memory.queue.embedded()
        self.said.append(message)
        return message

    async def stored(self) -> list[str]:
        """The text of everything in the memory, oldest first."""
        return [message.content async for message in self.memory.store.iterate(self.guild.id)]

    async def do(self, who: Member, path: str, **options: Any) -> Interaction:
        """Use a command in #general; the answer must be for the asker alone and ping nobody."""
        reply = await self.discord.slash(who, self.general, path, **options)
        assert reply.ephemeral, path
        assert reply.message is not None
        assert not reply.message.mentions
        return reply

    async def press(self, reply: Interaction, label: str) -> Interaction:
        """Press a button and wait until what it does is done."""
        pressed = self.discord.start_press(reply, label)
        return await pressed.until(lambda each: each.is_answered and "One moment" not in each.text)


@asynccontextmanager
async def memory_house(memory: MemoryService) -> AsyncIterator[MemoryHouse]:
    """Open the house: ada is a member, admin may manage the server, #mods-only is hidden from ada."""
    world = World()
    guild = world.guild("Tea House")
    admins = guild.role("admins", Permission.MANAGE_GUILD)
    ada, admin = guild.member("ada"), guild.member("admin", admins)
    general, garden = guild.text_channel("general"), guild.text_channel("garden")
    secret = guild.text_channel("mods-only", only=[admins])
    bot = CommandsBot(memory)
    async with LoopbackDiscord(world) as server, running(server, bot):
        yield MemoryHouse(server, bot, world, guild, ada, admin, general, garden, secret)
