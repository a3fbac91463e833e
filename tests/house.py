"""A server on the loopback Discord, its people and channels, and somebody's own bot with the real memory on it."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from discord.ext import commands

from cogs.memory.memory_service import MemoryService
from cogs.memory.surface.client import memory_intents
from cogs.memory.surface.services import SERVICES
from profiles import load_profile
from tests.loopback import Channel, Guild, LoopbackDiscord, Member, Permission, World, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    import discord

    from cogs.memory.embedding_service import LoadEncoder
    from cogs.memory.surface.services import SurfaceServices
    from profiles import MemoryProfile

    MakeBot = Callable[[MemoryService], "StrangersBot"]


class StrangersBot(commands.Bot):
    """Somebody's own bot that brings a memory, loads the extensions and knows nothing else of them."""

    loads: tuple[str, ...] = ("cogs.memory",)

    def __init__(self, memory: MemoryService, intents: discord.Intents | None = None) -> None:
        super().__init__("!", intents=intents or memory_intents())
        self.memory: MemoryService | None = memory
        self.memory_profile: MemoryProfile | None = None
        self.memory_folder: Path | None = None

    async def setup_hook(self) -> None:
        """Load the extensions and register their commands, as any bot does."""
        for extension in self.loads:
            await self.load_extension(extension)
        await self.tree.sync()


@dataclass
class House:
    """The server, two of its people, an open and a hidden channel, and the bot that is connected to it."""

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
        """What the memory's extension hung on the bot."""
        found: SurfaceServices = getattr(self.bot, SERVICES)
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


AnyHouse = TypeVar("AnyHouse", bound=House)


@asynccontextmanager
async def open_house(
    kind: type[AnyHouse], server: LoopbackDiscord, folder: Path, load: LoadEncoder, make: MakeBot
) -> AsyncIterator[AnyHouse]:
    """The bot on the server of `new_world`; a second time it finds what it knew before."""
    [guild] = server.world.guilds.values()
    with kept_modules():
        async with MemoryService.on_folder(load_profile("embedded"), folder / "memory", load=load) as memory:
            bot = make(memory)
            async with running(server, bot):
                people = {member.user.name: member for member in guild.members.values()}
                places = {channel.name: channel for channel in guild.channels.values()}
                ada, mod, general, secret = people["ada"], people["mod"], places["general"], places["mods-only"]
                yield kind(server, bot, server.world, guild, ada, mod, general, secret)


@contextmanager
def kept_modules() -> Iterator[None]:
    """Put back the modules that discord.py drops with the extensions: other tests hold their classes."""
    kept = {name: module for name, module in sys.modules.items() if name.startswith(("cogs.memory", "cogs.chat"))}
    try:
        yield
    finally:
        sys.modules.update(kept)


def new_world(*rights_of_mods: Permission) -> World:
    """A world with one server, two people on it, a public and a hidden channel."""
    world = World()
    guild = world.guild("Tea House")
    mods = guild.role("mods", *rights_of_mods)
    guild.member("ada")
    guild.member("mod", mods)
    guild.text_channel("general")
    guild.text_channel("mods-only", only=[mods])
    return world
