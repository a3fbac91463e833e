"""The gateway tells a bot what it may know, and can be made to misbehave as the real one does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
import pytest

from .example_bot import ExampleBot, intents
from .launch import running
from .permissions import Permission, allow, deny
from .server import LoopbackDiscord
from .world import World

if TYPE_CHECKING:
    from .conftest import TeaHouse


async def test_messages_arrive_with_their_edits_unfurls_and_deletions_in_order(house: TeaHouse) -> None:
    message = house.general.post(house.ada, "see https://tea.example")
    await house.discord.gateway.barrier()
    message.unfurl({"type": "link", "url": "https://tea.example", "title": "Tea"})
    await house.discord.gateway.barrier()
    assert message.edited_at is None
    message.edit("never mind")
    await house.discord.gateway.barrier()
    message.delete()
    assert await house.settle(4) == [
        ("create", message.id, "see https://tea.example"),
        ("edit", message.id, "see https://tea.example"),
        ("edit", message.id, "never mind"),
        ("delete", message.id),
    ]


async def test_a_bulk_delete_is_one_event(house: TeaHouse) -> None:
    messages = [house.general.post(house.ada, str(number)) for number in range(3)]
    await house.settle(3)
    house.general.delete_messages(messages[:2])
    assert await house.settle(1) == [("bulk", messages[0].id, messages[1].id)]
    assert house.general.history() == messages[2:]


async def test_messages_of_a_channel_the_bot_may_not_see_are_not_sent(house: TeaHouse) -> None:
    house.secret.set_overwrite(house.guild.me, deny(Permission.VIEW_CHANNEL))
    house.secret.post(house.mod, "hidden")
    voice = house.guild.voice_channel("lounge", overwrites={house.guild.me: deny(Permission.CONNECT)})
    voice.post(house.ada, "hidden too")
    seen = house.general.post(house.ada, "open")
    assert await house.settle(1) == [("create", seen.id, "open")]


async def test_a_private_thread_is_known_to_its_members_only(house: TeaHouse) -> None:
    thread = house.guild.thread(house.general, "plans", house.mod, private=True)
    thread.post(house.mod, "hidden")
    await house.discord.gateway.barrier()
    assert not house.bot.guilds[0].threads
    assert thread.can_view(house.mod)
    assert not thread.can_view(house.ada)

    thread.join(house.world.bot)
    said = thread.post(house.mod, "welcome")
    assert ("create", said.id, "welcome") in await house.settle(1)
    assert house.bot.get_channel(thread.id) is not None


async def test_threads_of_a_channel_that_opens_to_the_bot_are_synced(house: TeaHouse) -> None:
    hidden = house.guild.text_channel("back-room", overwrites={house.guild.me: deny(Permission.VIEW_CHANNEL)})
    thread = house.guild.thread(hidden, "old", house.mod)
    await house.discord.gateway.barrier()
    assert house.bot.get_channel(thread.id) is None
    hidden.set_overwrite(house.guild.me, allow(Permission.VIEW_CHANNEL))
    await house.discord.gateway.barrier()
    assert house.bot.get_channel(thread.id) is not None


async def test_a_dropped_connection_is_resumed_and_nothing_is_lost_or_doubled(house: TeaHouse) -> None:
    house.general.post(house.ada, "said before")
    await house.settle(1)
    await house.discord.gateway.drop()
    message = house.general.post(house.ada, "said meanwhile")
    await house.discord.connected()
    assert await house.settle(2) == [("create", message.id, "said meanwhile"), ("resumed",)]
    assert house.discord.gateway.resumes == 1
    assert house.discord.gateway.identifies == 1


async def test_what_happens_during_an_invalidated_session_is_never_sent(house: TeaHouse) -> None:
    await house.discord.gateway.invalidate()
    house.general.post(house.ada, "said meanwhile")
    await house.discord.connected()
    later = house.general.post(house.ada, "said later")
    assert await house.settle(1) == [("create", later.id, "said later")]
    assert house.discord.gateway.identifies == 2


async def test_events_can_come_twice_and_in_the_wrong_order(house: TeaHouse) -> None:
    with house.discord.gateway.reversed():
        message = house.general.post(house.ada, "gone")
        message.delete()
    assert await house.settle(2) == [("delete", message.id), ("create", message.id, "gone")]
    house.discord.gateway.repeat(2)
    assert await house.settle(2) == [("delete", message.id), ("create", message.id, "gone")]


async def test_an_outage_is_no_kick(house: TeaHouse) -> None:
    house.guild.outage()
    house.general.post(house.ada, "nobody hears")
    assert await house.settle(1) == [("outage", house.guild.id)]
    house.guild.recover()
    await house.discord.gateway.barrier()
    assert house.bot.guilds[0].unavailable is False

    house.guild.remove_bot()
    assert await house.settle(1) == [("kicked", house.guild.id)]
    with pytest.raises(discord.Forbidden):
        await house.bot.fetch_guild(house.guild.id)
    house.guild.add_bot(0)
    assert await house.settle(1) == [("joined", house.guild.id)]


async def test_roles_members_channels_and_guilds_keep_the_bots_cache_in_step(house: TeaHouse) -> None:
    role = house.guild.role("guests", Permission.VIEW_CHANNEL)
    house.ada.add_role(role)
    house.mod.leave()
    house.general.update(name="parlour", nsfw=True)
    house.secret.delete()
    house.guild.update(name="Tea Palace", owner=house.ada)
    await house.discord.gateway.barrier()
    guild = house.bot.guilds[0]
    assert guild.name == "Tea Palace"
    assert guild.owner_id == house.ada.id
    assert [channel.name for channel in guild.text_channels] == ["parlour"]
    assert guild.text_channels[0].nsfw
    assert guild.get_member(house.mod.id) is None
    assert "guests" in [each.name for each in guild.get_member(house.ada.id).roles]  # type: ignore[union-attr]
    role.delete()
    await house.discord.gateway.barrier()
    assert guild.get_role(role.id) is None


async def test_without_the_content_intent_text_is_blank_save_in_mentions() -> None:
    world = World()
    guild = world.guild("Tea House")
    ada, general = guild.member("ada"), guild.text_channel("general")
    bot = ExampleBot(intents(content=False))
    async with LoopbackDiscord(world) as server, running(server, bot):
        general.post(ada, "secret recipe")
        general.post(ada, f"{world.bot.mention} hello")
        world.dm(ada).post(ada, "just between us")
        await server.until(lambda: len(bot.seen) == 3)
        assert [event[2] for event in bot.seen] == ["", f"{world.bot.mention} hello", "just between us"]
        world.application.message_content_intent = False
        channel = bot.get_channel(general.id)
        assert isinstance(channel, discord.TextChannel)
        assert [message.content async for message in channel.history()] == [f"{world.bot.mention} hello", ""]


async def test_an_intent_that_is_not_switched_on_is_refused() -> None:
    world = World()
    world.application.message_content_intent = False
    async with LoopbackDiscord(world) as server:
        with pytest.raises(discord.PrivilegedIntentsRequired):
            async with running(server, ExampleBot()):
                pass
        assert server.gateway.refusals == [4014]


async def test_members_come_in_chunks_and_by_name() -> None:
    world = World()
    guild = world.guild("Crowd")
    for number in range(1500):
        guild.member(f"guest {number}")
    bot = ExampleBot()
    async with LoopbackDiscord(world) as server, running(server, bot):
        assert len(bot.guilds[0].members) == 1502
        assert [each.name for each in await bot.guilds[0].query_members("guest 149", limit=3)] == [
            "guest 149",
            "guest 1490",
            "guest 1491",
        ]


async def test_each_shard_gets_its_own_guilds() -> None:
    world = World()
    for index in range(2):
        world.guild(f"guild {index}", shard=(index, 2)).text_channel("general")
    async with LoopbackDiscord(world) as server:
        server.gateway.shards = 2
        bot = ExampleBot()
        async with running(server, bot):
            assert sorted((guild.name, guild.shard_id) for guild in bot.guilds) == [("guild 0", 0), ("guild 1", 1)]
            for guild in world.guilds.values():
                channel = next(iter(guild.channels.values()))
                reply = await server.slash(guild.owner, channel, "memory forget me")
                assert reply.content.startswith("Forgotten")
