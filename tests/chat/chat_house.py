"""The tea house with a bot that replies, in this process."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from cogs.chat.services import CHAT_SERVICES
from cogs.memory.surface.client import memory_intents
from tests.house import House, StrangersBot, new_world, open_house
from tests.loopback import LoopbackDiscord, Permission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cogs.chat.provider_choice import ProviderChoice
    from cogs.chat.services import ChatServices
    from cogs.memory.embedding_service import LoadEncoder
    from cogs.memory.memory_service import MemoryService
    from tests.loopback import Channel, Interaction, Member, Message, World

QUIET_S = 0.4
"""Seconds after which a bot that does not reply would have replied."""


class ChattingBot(StrangersBot):
    """Somebody's own bot, with a memory of its own making, that loads both extensions."""

    loads = ("cogs.memory", "cogs.chat")

    def __init__(self, memory: MemoryService, providers: ProviderChoice | None) -> None:
        super().__init__(memory, memory_intents(direct_messages=True))
        self.chat_providers = providers


class ChatHouse(House):
    """The house as the chat's tests use it."""

    @property
    def chat(self) -> ChatServices:
        found: ChatServices = getattr(self.bot, CHAT_SERVICES)
        return found

    @property
    def mention(self) -> str:
        return f"<@{self.world.bot.id}>"

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
    async with LoopbackDiscord(world or chat_world()) as server, chat_bot_on(server, folder, load, providers) as house:
        yield house


@asynccontextmanager
async def chat_bot_on(
    server: LoopbackDiscord, folder: Path, load: LoadEncoder, providers: ProviderChoice | None = None
) -> AsyncIterator[ChatHouse]:
    """The bot on the server of `chat_world`; a second time it finds what it knew before."""
    async with open_house(ChatHouse, server, folder, load, lambda memory: ChattingBot(memory, providers)) as house:
        yield house


def chat_world() -> World:
    """The world of `new_world`, where mod may manage the server."""
    return new_world(Permission.MANAGE_GUILD)
