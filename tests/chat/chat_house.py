"""The tea house with a bot that replies, in this process."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from discord.ext import commands

from cogs.chat.services import CHAT_SERVICES
from cogs.memory.memory_service import MemoryService
from cogs.memory.surface.client import memory_intents
from cogs.memory.surface.services import SERVICES
from profiles import load_profile
from tests.loopback import Channel, Guild, LoopbackDiscord, Member, Permission, World, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from cogs.chat.provider_choice import ProviderChoice
    from cogs.chat.services import ChatServices
    from cogs.memory.embedding_service import LoadEncoder
    from cogs.memory.surface.services import SurfaceServices
    from tests.loopback import Interaction, Message

QUIET_S = 0.4
"""Seconds after which a bot that does not reply would have replied."""


class StrangersBot(commands.Bot):
    """Somebody's own bot, with a memory of its own making, that loads both extensions."""

    def __init__(self, memory: MemoryService, providers: ProviderChoice | None) -> None:
        super().__init__("!", intents=memory_intents(direct_messages=True))
        self.memory = memory
        self.chat_providers = providers

    async def setup_hook(self) -> None:
        await self.load_extension("cogs.memory")
        await self.load_extension("cogs.chat")
        await self.tree.sync()


@dataclass
class ChatHouse:
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
    def memory(self) -> SurfaceServices:
        found: SurfaceServices = getattr(self.bot, SERVICES)
        return found

    @property
    def chat(self) -> ChatServices:
        found: ChatServices = getattr(self.bot, CHAT_SERVICES)
        return found

    @property
    def mention(self) -> str:
        return f"<@{self.world.bot.id}>"

    async def settle(self) -> None:
        """Wait until all that was sent is stored and searchable."""
        await self.discord.gateway.barrier()
        await self.memory.events.drained()
        await self.memory.memory.queue.stored()
        await self.memory.memory.queue.embedded()

    def replies(self, where: Channel | None = None) -> list[Message]:
        """What the bot has written in a channel, oldest first."""
        return [each for each in (where or self.general).history(100) if each.author is self.world.bot]

    async def ask(
        self, text: str, who: Member | None = None, where: Channel | None = None, *, reply_to: Message | None = None
    ) -> Message:
        """Say something with a mention of the bot and return the first message of its finished reply."""
        channel = where or self.general
        before = len(self.replies(channel))
        said = text if reply_to else f"{self.mention} {text}"
        channel.post(who or self.ada, said, reply_to=reply_to)
        await self.discord.until(lambda: len(self.replies(channel)) > before, what="a reply")
        await self.finished()
        return self.replies(channel)[before]

    async def finished(self) -> None:
        """Wait until no reply is being written."""
        await self.discord.gateway.barrier()
        cog: Any = self.bot.get_cog("ChatCog")
        await cog.idle()

    async def stays_silent(self, where: Channel | None = None) -> bool:
        """Whether the bot says nothing more in a channel for a while."""
        before = len(self.replies(where))
        await self.discord.gateway.barrier()
        await asyncio.sleep(QUIET_S)
        return len(self.replies(where)) == before

    async def do(self, who: Member, path: str, **options: object) -> Interaction:
        """Use a command in #general."""
        return await self.discord.slash(who, self.general, path, **options)

    async def press(self, reply: Interaction, label: str) -> Interaction:
        """Press a button and wait until what it does is done."""
        pressed = self.discord.start_press(reply, label)
        return await pressed.until(lambda each: each.is_answered and "One moment" not in each.text)


@asynccontextmanager
async def chat_house(
    folder: Path, load: LoadEncoder, *, providers: ProviderChoice | None = None, world: World | None = None
) -> AsyncIterator[ChatHouse]:
    """Open the house: ada is a member, mod may manage the server, #mods-only is hidden from ada."""
    async with LoopbackDiscord(world or new_world()) as server, chat_bot_on(server, folder, load, providers) as house:
        yield house


@asynccontextmanager
async def chat_bot_on(
    server: LoopbackDiscord, folder: Path, load: LoadEncoder, providers: ProviderChoice | None = None
) -> AsyncIterator[ChatHouse]:
    """The bot on the server of `new_world`; a second time it finds what it knew before."""
    [guild] = server.world.guilds.values()
    with kept_modules():
        async with MemoryService.on_folder(load_profile("embedded"), folder / "memory", load=load) as memory:
            bot = StrangersBot(memory, providers)
            async with running(server, bot):
                members = {member.user.name: member for member in guild.members.values()}
                channels = {channel.name: channel for channel in guild.channels.values()}
                yield ChatHouse(
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
    """Put back the modules that discord.py drops with the extensions: other tests hold their classes."""
    kept = {name: module for name, module in sys.modules.items() if name.startswith(("cogs.memory", "cogs.chat"))}
    try:
        yield
    finally:
        sys.modules.update(kept)


def new_world() -> World:
    """A world with one server, two people on it, a public and a hidden channel."""
    world = World()
    guild = world.guild("Tea House")
    mods = guild.role("mods", Permission.MANAGE_GUILD)
    guild.member("ada")
    guild.member("mod", mods)
    guild.text_channel("general")
    guild.text_channel("mods-only", only=[mods])
    return world
