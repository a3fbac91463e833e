"""A bot in a small guild, its permission rules, and the Discord it may ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
import pytest
from aiohttp import web

from .discord_objects import Bot, Discord, listening, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cogs.memory.surface.discord_access import AccessRules


@pytest.fixture
async def rest(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Discord]:
    server = Discord()
    app = web.Application()
    app.add_routes(server.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    monkeypatch.setattr(discord.http.Route, "BASE", f"http://127.0.0.1:{port}")
    yield server
    await runner.cleanup()


@pytest.fixture
async def bot(rest: Discord) -> AsyncIterator[Bot]:
    bot = await start(rest.world)
    yield bot
    await bot.close()


@pytest.fixture
async def blind_bot(rest: Discord) -> AsyncIterator[Bot]:
    """A bot without the members intent."""
    bot = await start(rest.world, members=False)
    yield bot
    await bot.close()


@pytest.fixture
def rules(bot: Bot) -> AccessRules:
    return listening(bot)
