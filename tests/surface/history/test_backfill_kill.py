"""The real program, killed in the middle of a back-fill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.loopback import BotProcess, Drop, LoopbackDiscord, RateLimited, Status

from .test_backfill import HISTORY, a_world

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_back_fill_killed_in_the_middle_goes_on_and_stores_all_470_once(tmp_path: Path) -> None:
    from cogs.memory.stores.sqlite import SqliteStore

    world = a_world(470)
    [guild] = world.guilds.values()
    async with LoopbackDiscord(world) as discord:
        discord.faults.add("GET", HISTORY, Status(503), RateLimited(0.05), Drop(), Drop(), skip=1)
        async with BotProcess(discord, tmp_path) as bot:
            await discord.until(lambda: pages_read(discord) >= 2)
            await bot.kill()
            assert pages_read(discord) < 5
            await bot.restart()
            await discord.until(lambda: pages_read(discord) >= 5)
            await bot.line("back-fill of guild .* is done: 470 messages")
            assert await bot.terminate() == 0
        store = SqliteStore(bot.data)
        await store.open()
        try:
            rows = [message.content async for message in store.iterate(guild.id)]
        finally:
            await store.close()
        assert len(rows) == len(set(rows)) == 470


def pages_read(discord: LoopbackDiscord) -> int:
    """Different pages of history that were given."""
    calls = discord.calls("GET", HISTORY)
    return len({call.query.get("before") for call in calls if call.status == 200})
