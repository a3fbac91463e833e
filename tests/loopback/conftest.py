"""A tea house with the example bot in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest_asyncio

from tests.loopback import Channel, Guild, LoopbackDiscord, Member, World, running
from tests.loopback.example_bot import ExampleBot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class TeaHouse:
    """The server, its people and channels, and the bot that is connected to it."""

    discord: LoopbackDiscord
    bot: ExampleBot
    world: World
    guild: Guild
    ada: Member
    mod: Member
    general: Channel
    secret: Channel

    async def settle(self, events: int = 0) -> list[tuple[object, ...]]:
        """Wait until the bot has seen all that was sent, and at least so many events; returns and clears them."""
        await self.discord.gateway.barrier()
        await self.discord.until(lambda: len(self.bot.seen) >= events, what=f"{events} events")
        seen = self.bot.seen[:]
        self.bot.seen.clear()
        return seen


@pytest_asyncio.fixture
async def house() -> AsyncIterator[TeaHouse]:
    """A server with two people, a public and a hidden channel, and the example bot in this process."""
    world = World()
    guild = world.guild("Tea House")
    mods = guild.role("mods")
    ada, mod = guild.member("ada"), guild.member("mod", mods)
    general, secret = guild.text_channel("general"), guild.text_channel("mods-only", only=[mods])
    bot = ExampleBot()
    async with LoopbackDiscord(world) as discord, running(discord, bot):
        yield TeaHouse(discord, bot, world, guild, ada, mod, general, secret)
