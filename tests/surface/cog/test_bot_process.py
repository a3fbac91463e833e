"""The real program against the loopback Discord, as its operator runs it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.house import new_world
from tests.loopback import BotProcess, Drop, Hold, LoopbackDiscord, Permission, RateLimited, Status, World, deny

from .tea_house import recall

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.loopback import Channel, Member


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
        assert "hundred" not in first.text
        assert await bot.terminate() == 0
        await bot.start()
        second = await server.press(first, "Next")
        assert "broken since tuesday" in second.text
        assert len(server.calls("PUT", "/applications/*/commands")) == 1
        assert await bot.terminate() == 0
        assert "members intent is on" in bot.output
        assert "Traceback" not in bot.output


async def test_the_program_shows_nobody_what_he_may_not_read_or_what_is_gone(tmp_path: Path) -> None:
    world = new_world()
    [guild] = world.guilds.values()
    ada, mod = (next(m for m in guild.members.values() if m.user.name == name) for name in ("ada", "mod"))
    general, secret = (next(c for c in guild.channels.values() if c.name == n) for n in ("general", "mods-only"))
    bea, carl, dora = guild.member("bea"), guild.member("carl", *mod.roles), guild.member("dora")
    [mods] = mod.roles
    bar, attic = guild.text_channel("bar", nsfw=True), guild.text_channel("attic")
    thread = guild.thread(general, "party", ada, private=True)
    thread.join(world.bot)
    async with LoopbackDiscord(world) as server, BotProcess(server, tmp_path) as bot:
        secret.post(mod, "the vault code is under the blue teapot")
        bar.post(ada, "the absinthe recipe needs wormwood")
        thread.post(ada, "the surprise party is on saturday")
        attic.post(ada, "the zither stands behind the wardrobe")
        gone = [general.post(bea, f"the spatula costs {price}") for price in ("ten", "twenty", "thirty")]
        general.post(mod, f"@everyone the biscuits are ready, {ada.mention}, really")

        async def shown(user: Member, query: str, where: Channel = general) -> str:
            reply = await server.slash(user, where, "recall", query=query)
            assert reply.message is not None
            assert not reply.message.mentions
            return "".join(embed.get("description", "") for embed in reply.embeds)

        await recall(server, ada, general, "are the biscuits ready?", "@everyone")
        assert "blue teapot" in await shown(carl, "vault code")
        assert "blue teapot" not in await shown(ada, "vault code")
        carl.remove_role(mods)
        assert "blue teapot" not in await shown(carl, "vault code")
        hold = Hold()
        server.faults.add("GET", f"/guilds/*/members/{mod.id}", hold, times=2)
        pending = server.start_slash(mod, general, "recall", query="the code of the vault")
        await pending.acknowledged()
        secret.set_overwrite(mods, deny(Permission.VIEW_CHANNEL))
        await server.gateway.barrier()
        hold.release()
        assert "blue teapot" not in (await pending.answered()).text
        assert "wormwood" not in await shown(bea, "absinthe recipe")
        assert "wormwood" in await shown(bea, "absinthe recipe", bar)
        assert "saturday" in await shown(ada, "surprise party")
        assert "saturday" not in await shown(bea, "surprise party")
        assert "wardrobe" in await shown(bea, "where is the zither")
        assert "costs" in await shown(bea, "how much is the spatula")

        gone[0].delete()
        general.delete_messages(gone[1:])
        attic.delete()
        async with asyncio.timeout(60):
            while "costs" in await shown(dora, "the spatula") or "wardrobe" in await shown(mod, "the zither"):  # noqa: ASYNC110
                await asyncio.sleep(1)
        for path in ("memory status", "memory forget server", "memory reload", "memory stats"):
            refused = await server.slash(bea, general, path)
            assert "Only" in refused.text
            assert refused.ephemeral
            assert not refused.buttons
        assert await bot.terminate() == 0
        assert "Traceback" not in bot.output


async def test_two_shards_share_one_memory_and_keep_their_servers_apart(tmp_path: Path) -> None:
    """And nobody has switched on the server members intent, which the bot can do without."""
    world = World()
    world.application.members_intent = False
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
            assert "members intent is off" in bot.output
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
            assert set(await asyncio.gather(first.terminate(), second.terminate())) == {0}
            assert "was left" not in first.output + second.output


async def test_a_token_that_is_refused_ends_with_one_sentence(tmp_path: Path) -> None:
    async with LoopbackDiscord(new_world()) as server:
        bot = BotProcess(server, tmp_path, environment={"DISCORD_TOKEN": "not-a-token"})
        await bot.start(wait=False)
        assert await bot.wait() == 1
        assert "refuses the token" in bot.lines[-1]
        assert "Traceback" not in bot.output


OPTIONAL = {
    "INTERACTION_CREATE": (
        "app_permissions authorizing_integration_owners context entitlements guild guild_locale locale"
    ),
    "MESSAGE_CREATE": "member components reactions nonce",
    "GUILD_CREATE": "threads presences voice_states stage_instances guild_scheduled_events soundboard_sounds large",
}
"""What Discord may leave out, or once did."""


def barely(event: str, data: dict[str, Any]) -> dict[str, Any]:
    left_out = {"nick", "global_name", "topic", "premium_since", *OPTIONAL.get(event, "").split()}

    def cut(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: cut(each) for key, each in value.items() if key not in left_out}
        return [cut(each) for each in value] if isinstance(value, list) else value

    # What is not on the outermost level keeps its "guild" and "member".
    return {key: value if key == "data" else cut(value) for key, value in data.items() if key not in left_out}


async def test_a_discord_that_says_little_and_fails_often_is_put_up_with(tmp_path: Path) -> None:
    """Until it refuses the token, which ends the program with a sentence."""
    world = new_world()
    [guild] = world.guilds.values()
    ada, mod = (next(m for m in guild.members.values() if m.user.name == name) for name in ("ada", "mod"))
    general = next(c for c in guild.channels.values() if c.name == "general")
    for number in range(120):
        general.post(ada, f"story {number} about the fox and {number} hens")
    async with LoopbackDiscord(world) as server:
        server.gateway.rewrite = barely
        server.faults.add("PATCH", "/webhooks/*/*/messages/@original", Status(404))
        server.faults.add("GET", "/channels/*/messages", RateLimited(via=False), Status(500), Status(503), Drop())
        async with BotProcess(server, tmp_path) as bot:
            general.post(ada, "the samovar is broken since tuesday")
            await recall(server, ada, general, "what about the samovar?", "since tuesday")
            assert "went wrong" not in (await server.slash(mod, general, "memory privacy")).text
            general.post(mod, f"<@{world.bot.id}> what about the samovar?")
            await server.until(
                lambda: any(each.author is world.bot and "tuesday" in each.content for each in general.history(5))
            )
            await bot.line("back-fill of guild .* is done")
            assert not server.faults.pending
            server.gateway.token = "another one"
            await server.gateway.drop()
            assert await bot.wait() == 1
            assert "refuses the token" in bot.lines[-1]
            assert "Traceback" not in bot.output
            assert "Ignoring exception" not in bot.output


async def test_members_intent_that_is_refused_after_all_is_done_without(tmp_path: Path) -> None:
    world = new_world()
    world.application.members_intent, world.application.members_intent_claimed = False, True
    [guild] = world.guilds.values()
    ada = next(m for m in guild.members.values() if m.user.name == "ada")
    general = next(c for c in guild.channels.values() if c.name == "general")
    async with LoopbackDiscord(world) as server, BotProcess(server, tmp_path) as bot:
        general.post(ada, "the samovar is broken since tuesday")
        await recall(server, ada, general, "what about the samovar?", "since tuesday")
        assert server.gateway.refusals == [4014]
        assert await bot.terminate() == 0
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
