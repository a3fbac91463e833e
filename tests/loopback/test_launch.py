"""A bot's program runs unmodified as a child process against the loopback."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import discord.http
import pytest

from . import example_bot
from .launch import BotProcess, patched_discord
from .server import TOKEN, LoopbackDiscord
from .world import World

PROGRAM = Path(example_bot.__file__)


async def test_a_program_is_driven_killed_restarted_and_ended(tmp_path: Path) -> None:
    world = World()
    guild = world.guild("Tea House")
    ada, general = guild.member("ada"), guild.text_channel("general")
    async with LoopbackDiscord(world) as server, BotProcess(server, tmp_path, program=PROGRAM) as bot:
        await bot.line("has connected to Gateway")
        reply = await server.slash(ada, general, "memory forget me")
        assert reply.content == "Forgotten, ada."

        first = bot.pid
        assert await bot.kill() == -9
        assert server.gateway.live == []
        await bot.restart()
        assert bot.pid != first
        assert (await server.slash(ada, general, "memory forget me")).content == "Forgotten, ada."
        assert await bot.terminate() == 0
        assert TOKEN not in bot.output


async def test_a_program_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    program = tmp_path / "broken.py"
    program.write_text("import sys; sys.exit('no tea today')")
    async with LoopbackDiscord(World()) as server:
        bot = BotProcess(server, tmp_path, program=program)
        with pytest.raises(RuntimeError, match="no tea today"):
            await bot.start()
        assert await bot.wait() == 1


async def test_a_program_without_discord_pays_nothing(tmp_path: Path) -> None:
    program = tmp_path / "plain.py"
    program.write_text("import sys; print('discord' in sys.modules, *sys.argv[1:])")
    async with LoopbackDiscord(World()) as server:
        bot = BotProcess(server, tmp_path, program=program, arguments=["--profile", "x"])
        await bot.start(wait=False)
        assert await bot.wait() == 0
        assert bot.lines == [f"False --data {bot.data} --profile x"]


async def test_the_redirection_ends_with_its_block() -> None:
    before = discord.http.Route.BASE
    async with LoopbackDiscord() as server:
        with patched_discord(server):
            assert f"{server.address}/api/v10" == discord.http.Route.BASE
        assert before == discord.http.Route.BASE
    assert sys.executable
    assert "DISCORD_TOKEN" not in os.environ or os.environ["DISCORD_TOKEN"] != TOKEN
