"""The real program against the loopback Discord, as its operator runs it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.loopback import BotProcess, LoopbackDiscord, World

from .tea_house import new_world

if TYPE_CHECKING:
    from pathlib import Path

    from tests.loopback import Channel, Interaction, Member


async def recall(server: LoopbackDiscord, user: Member, where: Channel, query: str, expected: str) -> Interaction:
    """Ask until the answer holds what was said a moment ago; it is stored in the background."""
    async with asyncio.timeout(20):
        while True:
            reply = await server.slash(user, where, "recall", query=query, limit=1)
            if expected in reply.text:
                return reply
            await asyncio.sleep(0.3)


async def test_the_program_remembers_over_restarts_and_ends_with_zero(tmp_path: Path) -> None:
    world = new_world()
    [guild] = world.guilds.values()
    ada, mod = (next(m for m in guild.members.values() if m.user.name == name) for name in ("ada", "mod"))
    general, secret = (next(c for c in guild.channels.values() if c.name == n) for n in ("general", "mods-only"))
    async with LoopbackDiscord(world) as server, BotProcess(server, tmp_path) as bot:
        general.post(ada, "the samovar is broken since tuesday")
        edited = general.post(mod, "the samovar repair is at five")
        secret.post(mod, "the samovar costs two hundred")
        edited.edit("the samovar repair is at six")
        first = await recall(server, ada, general, "when is the samovar repair?", "at six")
        assert first.deferred
        assert first.ephemeral
        assert first.ack_seconds is not None
        assert first.ack_seconds < 3
        assert "hundred" not in first.text
        assert await bot.terminate() == 0
        await bot.start()
        second = await server.press(first, "Next")
        assert "broken since tuesday" in second.text
        assert len(server.calls("PUT", "/applications/*/commands")) == 1
        assert await bot.terminate() == 0
        assert "Traceback" not in bot.output


async def test_two_shards_share_one_memory_and_keep_their_servers_apart(tmp_path: Path) -> None:
    world = World()
    async with LoopbackDiscord(world) as server:
        server.gateway.shards = 2
        houses = [world.guild(name, shard=(shard, 2)) for shard, name in enumerate(("Tea House", "Coffee House"))]
        people = [guild.member("ada") for guild in houses]
        rooms = [guild.text_channel("general") for guild in houses]
        async with BotProcess(server, tmp_path, shards=2) as bot:
            rooms[0].post(people[0], "the key to the tea house is under the mat")
            rooms[1].post(people[1], "the key to the coffee house is in the pot")
            first = await recall(server, people[0], rooms[0], "where is the key?", "under the mat")
            second = await recall(server, people[1], rooms[1], "where is the key?", "in the pot")
            assert "in the pot" not in first.text
            assert "under the mat" not in second.text
            assert await bot.terminate() == 0


async def test_two_processes_run_a_shard_each_and_one_of_them_sends_the_commands(tmp_path: Path) -> None:
    world = World()
    async with LoopbackDiscord(world) as server:
        server.gateway.shards = 2
        houses = [world.guild(name, shard=(shard, 2)) for shard, name in enumerate(("Tea House", "Coffee House"))]
        people = [guild.member("ada") for guild in houses]
        rooms = [guild.text_channel("general") for guild in houses]
        rooms[1].post(people[1], "the key to the coffee house is in the pot")

        def process(shard: int) -> BotProcess:
            arguments = ("run", "--profile", "embedded", "--shards", f"{shard}/2")
            return BotProcess(server, tmp_path / str(shard), arguments=arguments, shards=shard + 1)

        async with process(0) as first, process(1) as second:
            rooms[0].post(people[0], "the key to the tea house is under the mat")
            rooms[1].post(people[1], "the key to the coffee house is on the hook")
            one = await recall(server, people[0], rooms[0], "where is the key?", "under the mat")
            two = await recall(server, people[1], rooms[1], "where is the key?", "on the hook")
            assert "on the hook" not in one.text
            assert "under the mat" not in two.text
            assert len(server.calls("PUT", "/applications/*/commands")) == 1
            ended = await asyncio.gather(first.terminate(), second.terminate())
            assert list(ended) == [0, 0]
            assert "was left" not in first.output + second.output


async def test_a_token_that_is_refused_ends_with_one_sentence(tmp_path: Path) -> None:
    async with LoopbackDiscord(new_world()) as server:
        bot = BotProcess(server, tmp_path, environment={"DISCORD_TOKEN": "not-a-token"})
        await bot.start(wait=False)
        assert await bot.wait() == 1
        assert "refuses the token" in bot.lines[-1]
        assert "Traceback" not in bot.output


async def test_a_missing_content_intent_names_the_switch(tmp_path: Path) -> None:
    world = new_world()
    world.application.message_content_intent = False
    async with LoopbackDiscord(world) as server:
        bot = BotProcess(server, tmp_path)
        await bot.start(wait=False)
        assert await bot.wait() == 1
        assert "Message Content Intent" in bot.lines[-1]
        assert "Traceback" not in bot.output
