"""The REST API gives what Discord gives, refuses what it refuses, and fails on order."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import aiohttp
import discord
import pytest
from discord.http import Route

from .channels import ChannelKind
from .faults import Delay, Drop, RateLimited, Status
from .permissions import Permission, deny

if TYPE_CHECKING:
    from .channels import Channel
    from .conftest import TeaHouse


def seen_by(house: TeaHouse, channel: Channel) -> discord.TextChannel:
    """The bot's own object for a channel."""
    return cast("discord.TextChannel", house.bot.get_channel(channel.id))


def contents(messages: list[discord.Message]) -> list[str]:
    return [message.content for message in messages]


async def test_history_pages_in_every_direction(house: TeaHouse) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    with house.world.unheard():
        posted = [house.general.post(house.ada, str(n), at=start + timedelta(hours=n)) for n in range(230)]
    channel = seen_by(house, house.general)
    middle = discord.Object(posted[100].id)

    assert contents([each async for each in channel.history(limit=None)]) == [str(n) for n in range(229, -1, -1)]
    assert contents([each async for each in channel.history(limit=3, before=middle)]) == ["99", "98", "97"]
    after = [each async for each in channel.history(limit=None, after=middle)]
    assert contents(after) == [str(n) for n in range(101, 230)]
    around = [each async for each in channel.history(limit=3, around=middle)]
    assert sorted(contents(around)) == ["100", "101", "99"]
    assert after[0].created_at == start + timedelta(hours=101)
    pages = [call.query.get("before") for call in house.discord.calls("GET", "/channels/*/messages")]
    assert pages[:3] == [None, str(posted[130].id), str(posted[30].id)]


async def test_what_the_bot_may_not_do_is_refused_with_discords_codes(house: TeaHouse) -> None:
    message = house.secret.post(house.mod, "hidden")
    channel, general = seen_by(house, house.secret), seen_by(house, house.general)
    house.secret.set_overwrite(house.guild.me, deny(Permission.VIEW_CHANNEL))
    with pytest.raises(discord.Forbidden) as hidden:
        [each async for each in channel.history()]
    assert hidden.value.code == 50001

    house.general.set_overwrite(house.guild.me, deny(Permission.SEND_MESSAGES, Permission.READ_MESSAGE_HISTORY))
    said = house.general.post(house.ada, "open")
    assert [each async for each in general.history()] == []
    for refused in (general.send("no"), general.fetch_message(said.id), general.get_partial_message(said.id).delete()):
        with pytest.raises(discord.Forbidden) as forbidden:
            await refused
        assert forbidden.value.code == 50013

    house.secret.set_overwrite(house.guild.me, None)
    message.delete()
    house.secret.set_overwrite(house.guild.everyone, None)
    with pytest.raises(discord.NotFound) as gone:
        await channel.fetch_message(message.id)
    assert gone.value.code == 10008


@pytest.mark.parametrize(
    "sent",
    [
        {"content": "x" * 2001},
        {"content": " \n"},
        {"embeds": [{"title": "x" * 257}]},
        {"embeds": [{"description": "x" * 4097}]},
        {"embeds": [{"description": "x" * 3001}, {"description": "x" * 3000}]},
        {"embeds": [{"fields": [{"name": "n", "value": ""}]}]},
        {"embeds": [{"fields": [{"name": "n", "value": "v"}] * 26}]},
        {"embeds": [{"footer": {"text": "x" * 2049}}]},
        {"embeds": [{"title": "t"}] * 11},
        {"embeds": [{"title": "t", "url": "javascript:alert(1)"}]},
        {"content": "x", "components": [{"type": 1, "components": [{"type": 2, "style": 1, "label": "no id"}]}]},
        {"content": "x", "components": [{"type": 1, "components": [{"type": 2, "style": 1, "custom_id": "c" * 101}]}]},
        {"content": "x", "components": [{"type": 1, "components": []}]},
        {
            "content": "x",
            "components": [{"type": 1, "components": [{"type": 2, "style": 1, "label": "b", "custom_id": "same"}] * 2}],
        },
        {
            "content": "x",
            "components": [
                {"type": 1, "components": [{"type": 2, "style": 1, "label": "b", "custom_id": str(n)}]}
                for n in range(6)
            ],
        },
    ],
)
async def test_a_message_beyond_a_limit_is_refused(house: TeaHouse, sent: dict[str, object]) -> None:
    with pytest.raises(discord.HTTPException) as refused:
        await house.bot.http.request(
            Route("POST", "/channels/{channel_id}/messages", channel_id=house.general.id), json=sent
        )
    assert refused.value.status == 400
    assert refused.value.code in (50035, 50006)
    assert house.general.history() == []


async def test_a_message_at_the_limits_passes(house: TeaHouse) -> None:
    embeds = [discord.Embed(description="x" * 3000), discord.Embed(description="y" * 3000)]
    sent = await seen_by(house, house.general).send("x" * 2000, embeds=embeds)
    assert house.general.message(sent.id) is not None
    assert sent.content == "x" * 2000


async def test_it_tells_whom_a_message_really_pings(house: TeaHouse) -> None:
    role = house.guild.role("guests")
    text = f"@everyone {house.ada.mention} {role.mention}"
    channel = seen_by(house, house.general)
    quiet = house.general.message((await channel.send(text)).id)
    assert quiet is not None
    assert not quiet.mentions
    loud = house.general.message((await channel.send(text, allowed_mentions=discord.AllowedMentions.all())).id)
    assert loud is not None
    assert loud.mentions.everyone
    assert loud.mentions.users == [house.ada.user]
    assert loud.mentions.roles == [role]
    person = house.general.post(house.ada, "@everyone", reply_to=loud)
    assert person.mentions.everyone
    assert person.mentions.users == [house.world.bot]


async def test_files_travel_both_ways(house: TeaHouse) -> None:
    channel = seen_by(house, house.general)
    sent = await channel.send("plot", file=discord.File(__file__, filename="plot.txt", description="a file"))
    stored = house.general.history()[-1].attachments[0]
    assert (stored.filename, stored.description) == ("plot.txt", "a file")
    assert await sent.attachments[0].read() == stored.data
    edited = await sent.edit(attachments=[])
    assert edited.attachments == []
    assert house.general.history()[-1].attachments == []


async def test_threads_are_listed_as_discord_lists_them(house: TeaHouse) -> None:
    start = datetime(2024, 5, 1, tzinfo=UTC)
    forum = house.guild.forum("recipes")
    post = house.guild.forum_post(forum, "Chai", house.ada, "milk first?")
    active = house.guild.thread(house.general, "now", house.ada)
    for number in range(5):
        house.guild.thread(house.general, f"old {number}", house.ada).archive(at=start + timedelta(days=number))
    private = house.guild.thread(house.general, "private", house.mod, private=True)
    private.archive()
    channel = seen_by(house, house.general)

    listed = await house.bot.guilds[0].active_threads()
    assert {thread.id for thread in listed} == {post.id, active.id}
    archived = [thread.name async for thread in channel.archived_threads(limit=None)]
    assert archived == [f"old {number}" for number in (4, 3, 2, 1, 0)]
    assert [thread.name async for thread in channel.archived_threads(limit=2)] == ["old 4", "old 3"]
    with pytest.raises(discord.Forbidden):
        [thread async for thread in channel.archived_threads(private=True)]
    private.join(house.world.bot)
    joined = [thread.name async for thread in channel.archived_threads(private=True, joined=True)]
    assert joined == ["private"]
    assert post.history()[0].id == post.id
    members = await listed[0].fetch_members()
    assert [member.id for member in members] == [house.ada.id]


async def test_the_bots_own_messages_threads_and_reactions_change_the_world(house: TeaHouse) -> None:
    channel = seen_by(house, house.general)
    sent = await channel.send("first")
    await sent.edit(content="second")
    await sent.add_reaction("👍")
    thread = await sent.create_thread(name="talk")
    await thread.send("inside")
    stored = house.general.message(sent.id)
    assert stored is not None
    assert (stored.content, stored.revisions) == ("second", ["first"])
    assert stored.reactions == {"👍": [house.world.bot]}
    inner = house.world.channels[thread.id]
    assert inner.kind is ChannelKind.PUBLIC_THREAD
    assert inner.history()[0].content == "inside"
    await sent.delete()
    assert stored.deleted
    user = await house.bot.fetch_user(house.ada.id)
    await user.send("hello")
    assert house.world.dm(house.ada).history()[0].content == "hello"
    house.ada.user.accepts_direct_messages = False
    with pytest.raises(discord.Forbidden) as closed:
        await user.send("again")
    assert closed.value.code == 50007


async def test_message_search_answers_with_the_bots_rights_once_it_is_indexed(house: TeaHouse) -> None:
    house.general.post(house.ada, "the samovar is broken")
    house.secret.post(house.mod, "the samovar is a secret")
    house.secret.set_overwrite(house.guild.me, deny(Permission.VIEW_CHANNEL))
    route = Route("GET", "/guilds/{guild_id}/messages/search", guild_id=house.guild.id)
    house.guild.search_index_ready = False
    assert (await house.bot.http.request(route, params={"content": "samovar"}))["code"] == 110000
    house.guild.search_index_ready = True
    found = await house.bot.http.request(route, params={"content": "broken samovar"})
    assert found["total_results"] == 1
    assert found["messages"][0][0]["content"] == "the samovar is broken"
    nothing = await house.bot.http.request(route, params={"content": "secret"})
    assert nothing["messages"] == []


async def test_ordered_faults_strike_once_each_and_in_turn(house: TeaHouse) -> None:
    message = house.general.post(house.ada, "hello")
    channel, path = seen_by(house, house.general), "/channels/*/messages/*"
    house.discord.faults.add("GET", path, RateLimited(0.05), Status(503), Drop(), Delay(0.1), skip=1)

    await channel.fetch_message(message.id)
    with pytest.raises(discord.DiscordServerError):
        await channel.fetch_message(message.id)
    began = time.monotonic()
    await channel.fetch_message(message.id)  # aiohttp itself repeats a dropped GET once, though no POST
    assert time.monotonic() - began >= 0.1
    assert house.discord.faults.pending == 0
    assert [call.status for call in house.discord.calls("GET", path)] == [200, 429, 503, None, 200]
    assert house.discord.invalid_requests == 1


async def test_a_proxy_ban_is_not_retried(house: TeaHouse) -> None:
    house.discord.faults.add("POST", "/channels/*/messages", RateLimited(via=False))
    with pytest.raises(discord.HTTPException) as banned:
        await seen_by(house, house.general).send("hello")
    assert banned.value.status == 429
    assert house.general.history() == []


async def test_a_request_can_be_carried_out_and_its_answer_lost(house: TeaHouse) -> None:
    house.discord.faults.add("POST", "/channels/*/messages", Drop(after_effect=True))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await seen_by(house, house.general).send("hello", nonce="1")
    assert [message.content for message in house.general.history()] == ["hello"]
    await seen_by(house, house.general).send("hello", nonce="1")
    assert len(house.general.history()) == 1


async def test_an_unknown_route_is_loud(house: TeaHouse) -> None:
    with pytest.raises(discord.DiscordServerError, match="no route"):
        await house.bot.http.request(Route("GET", "/sticker-packs"))
    assert house.discord.backend.unsupported == ["GET /api/v10/sticker-packs"]
