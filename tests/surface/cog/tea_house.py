"""A server on the loopback Discord, and a bot with the real memory on it, in this process."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.house import House, StrangersBot, open_house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import discord

    from cogs.memory.embedding_service import LoadEncoder
    from cogs.memory.surface.cog import MemoryCog
    from tests.loopback import Channel, Interaction, LoopbackDiscord, Member


async def recall(server: LoopbackDiscord, user: Member, where: Channel, query: str, expected: str) -> Interaction:
    """Ask until the answer holds what was said a moment ago; it is stored in the background."""
    async with asyncio.timeout(200):
        asked = 0
        while expected not in (reply := await server.slash(user, where, "recall", query=query, limit=1)).text:
            asked += 1
            await asyncio.sleep(0.3 if asked < 10 else 6.0)  # no more than a member may ask in a minute
    return reply


class TeaHouse(House):
    """The house as the memory's tests use it."""

    @property
    def cog(self) -> MemoryCog:
        """The cog of /recall."""
        cog: Any = self.bot.get_cog("MemoryCog")
        found: MemoryCog = cog
        return found

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
    async with open_house(TeaHouse, server, folder, load, lambda memory: StrangersBot(memory, intents)) as house:
        yield house
