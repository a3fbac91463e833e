"""A server on the loopback Discord, and a bot with the real memory on it, in this process."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from discord.ext import commands

from cogs.memory.memory_service import MemoryService
from cogs.memory.surface.client import memory_intents
from cogs.memory.surface.services import SERVICES
from profiles import load_profile
from tests.loopback import Channel, Guild, LoopbackDiscord, Member, World, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import discord

    from cogs.memory.embedding_service import LoadEncoder
    from cogs.memory.surface.cog import MemoryCog
    from cogs.memory.surface.services import SurfaceServices
    from profiles import MemoryProfile
    from tests.loopback import Interaction


class StrangersBot(commands.Bot):
    """Somebody's own bot that brings a memory, loads the extension and knows nothing else of it."""

    def __init__(self, memory: MemoryService, intents: discord.Intents | None = None) -> None:
        super().__init__("!", intents=intents or memory_intents())
        self.memory: MemoryService | None = memory
        self.memory_profile: MemoryProfile | None = None
        self.memory_folder: Path | None = None

    async def setup_hook(self) -> None:
        """Load the extension and register its commands, as any bot does."""
        await self.load_extension("cogs.memory")
        await self.tree.sync()


async def recall(server: LoopbackDiscord, user: Member, where: Channel, query: str, expected: str) -> Interaction:
    """Ask until the answer holds what was said a moment ago; it is stored in the background."""
    async with asyncio.timeout(200):
        asked = 0
        while expected not in (reply := await server.slash(user, where, "recall", query=query, limit=1)).text:
            asked += 1
            await asyncio.sleep(0.3 if asked < 10 else 6.0)  # no more than a member may ask in a minute
    return reply


@dataclass
class TeaHouse:
    """The server, its people and channels, and the bot that is connected to it."""

    discord: LoopbackDiscord
    bot: StrangersBot
    world: World
    guild: Guild
    ada: Member
    mod: Member
    general: Channel
    secret: Channel

    @property
    def services(self) -> SurfaceServices:
        """What the extension hung on the bot."""
        found: SurfaceServices = getattr(self.bot, SERVICES)
        return found

    @property
    def cog(self) -> MemoryCog:
        """The cog of /recall."""
        cog: Any = self.bot.get_cog("MemoryCog")
        found: MemoryCog = cog
        return found

    async def heard(self) -> None:
        """Wait until all that was sent is stored."""
        await self.discord.gateway.barrier()
        await self.services.events.drained()
        await self.services.memory.queue.stored()

    async def settle(self) -> None:
        """Wait until all that was sent is stored and searchable."""
        await self.heard()
        await self.services.memory.queue.embedded()

    async def stored(self) -> dict[int, str]:
        """Everything in the memory, by id."""
        await self.heard()
        return {m.id: m.content async for m in self.services.memory.store.iterate(self.guild.id)}

    async def recall(
        self, query: str, user: Member | None = None, where: Channel | None = None, **options: Any
    ) -> Interaction:
        """Ask as somebody somewhere, by default ada in #general."""
        return await self.discord.slash(user or self.ada, where or self.general, "recall", query=query, **options)


@asynccontextmanager
async def bot_on(
    server: LoopbackDiscord, folder: Path, load: LoadEncoder, intents: discord.Intents | None = None
) -> AsyncIterator[TeaHouse]:
    """The bot with its memory on the server of `new_world`; a second time it finds what it knew before."""
    [guild] = server.world.guilds.values()
    with kept_modules():
        async with open_house(server, guild, folder, load, intents) as house:
            yield house


@asynccontextmanager
async def open_house(
    server: LoopbackDiscord, guild: Guild, folder: Path, load: LoadEncoder, intents: discord.Intents | None
) -> AsyncIterator[TeaHouse]:
    """The bot on a guild of the server."""
    async with MemoryService.on_folder(load_profile("embedded"), folder / "memory", load=load) as memory:
        bot = StrangersBot(memory, intents)
        async with running(server, bot):
            members = {member.user.name: member for member in guild.members.values()}
            channels = {channel.name: channel for channel in guild.channels.values()}
            yield TeaHouse(
                server,
                bot,
                server.world,
                guild,
                members["ada"],
                members["mod"],
                channels["general"],
                channels["mods-only"],
            )


@contextmanager
def kept_modules() -> Iterator[None]:
    """Put back the modules that discord.py drops with the extension: other tests hold their classes."""
    kept = {name: module for name, module in sys.modules.items() if name.startswith("cogs.memory")}
    try:
        yield
    finally:
        sys.modules.update(kept)


def new_world() -> World:
    """A world with one server, two people on it, a public and a hidden channel."""
    world = World()
    guild = world.guild("Tea House")
    mods = guild.role("mods")
    guild.member("ada")
    guild.member("mod", mods)
    guild.text_channel("general")
    guild.text_channel("mods-only", only=[mods])
    return world
