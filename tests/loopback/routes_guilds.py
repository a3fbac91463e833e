"""REST routes for guilds: the guild itself, members, roles, and message search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ApiError, Json, missing_access, unknown
from .payloads import guild_json, member_json, message_json, role_json, thread_json, thread_member_json
from .permissions import Permission
from .threads import Thread
from .wire import Answer, Routes, joined_guild

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .backend import Backend
    from .channels import Channel
    from .guilds import Guild
    from .messages import Message
    from .wire import Call

routes = Routes()


@routes.add("GET", "/guilds/{guild_id}")
async def fetch(backend: Backend, call: Call) -> Json:
    """One guild."""
    guild = joined_guild(backend, call)
    counts = {"approximate_member_count": len(guild.members), "approximate_presence_count": len(guild.members)}
    return guild_json(guild) | (counts if call.query.get("with_counts") else {})


@routes.add("GET", "/users/@me/guilds")
async def joined_guilds(backend: Backend, call: Call) -> list[Json]:
    """The guilds the bot is on, by id."""
    limit = call.number("limit", default=200, low=1, high=200)
    after = call.snowflake("after") or 0
    before = call.snowflake("before") or 1 << 63
    guilds = sorted((each for each in backend.world.guilds.values() if each.has_bot), key=lambda guild: guild.id)
    return [
        {
            "id": str(guild.id),
            "name": guild.name,
            "icon": None,
            "owner": False,
            "permissions": str(guild.permissions_of(backend.world.bot)),
            "features": [],
        }
        for guild in guilds
        if after < guild.id < before
    ][:limit]


@routes.add("DELETE", "/users/@me/guilds/{guild_id}")
async def leave(backend: Backend, call: Call) -> None:
    """Let the bot leave a guild."""
    joined_guild(backend, call).remove_bot()


@routes.add("GET", "/guilds/{guild_id}/roles")
async def roles(backend: Backend, call: Call) -> list[Json]:
    """All roles of a guild."""
    return [role_json(role) for role in joined_guild(backend, call).roles.values()]


@routes.add("GET", "/guilds/{guild_id}/members/search")
async def search_members(backend: Backend, call: Call) -> list[Json]:
    """Members whose name starts with a text."""
    guild = joined_guild(backend, call)
    limit = call.number("limit", default=1, low=1, high=1000)
    start = call.query.get("query", "").lower()
    found = [
        member
        for member in guild.members.values()
        if member.user.name.lower().startswith(start) or member.display_name.lower().startswith(start)
    ]
    return [member_json(member) for member in found[:limit]]


@routes.add("GET", "/guilds/{guild_id}/members/{user_id}")
async def member(backend: Backend, call: Call) -> Json:
    """One member."""
    found = joined_guild(backend, call).members.get(call.param("user_id"))
    if found is None:
        raise unknown("Member", 10007)
    return member_json(found)


@routes.add("GET", "/guilds/{guild_id}/members")
async def members(backend: Backend, call: Call) -> list[Json]:
    """A page of members by id; needs the server members intent."""
    guild = joined_guild(backend, call)
    if not backend.world.application.members_intent:
        raise missing_access()
    limit = call.number("limit", default=1, low=1, high=1000)
    after = call.snowflake("after") or 0
    ids = sorted(each for each in guild.members if each > after)
    return [member_json(guild.members[each]) for each in ids[:limit]]


# --- message search


@routes.add("GET", "/guilds/{guild_id}/messages/search")
async def search_messages(backend: Backend, call: Call) -> Answer | Json:
    """Messages that contain all words, as far as the bot may read; 202 while the guild is not indexed."""
    guild, bot = joined_guild(backend, call), backend.world.bot
    if not guild.permissions_of(bot) & Permission.READ_MESSAGE_HISTORY or not backend.with_content:
        raise missing_access()
    limit = call.number("limit", default=25, low=1, high=25)
    offset = call.number("offset", default=0, low=0, high=9975)
    if not guild.search_index_ready:
        waiting = {"message": "Index not yet available. Try again later", "code": 110000}
        return Answer(202, waiting | {"documents_indexed": 0, "retry_after": guild.search_retry_after})
    found = [message for message in _readable_messages(guild, backend) if _matches(message, call)]
    found.sort(key=lambda message: message.id, reverse=call.query.get("sort_order", "desc") == "desc")
    page = found[offset : offset + limit]
    threads = {message.channel.id: message.channel for message in page if isinstance(message.channel, Thread)}
    return {
        "doing_deep_historical_index": False,
        "total_results": len(found),
        "messages": [[_hit(message)] for message in page],
        "threads": [thread_json(thread) for thread in threads.values()],
        "members": [
            thread_member_json(thread, bot.id) for thread in threads.values() if bot.id in thread.thread_members
        ],
    }


def _readable_messages(guild: Guild, backend: Backend) -> Iterator[Message]:
    places: list[Channel] = [*guild.channels.values(), *guild.threads.values()]
    for place in places:
        if place.can_read_history(backend.world.bot):
            yield from place.history()


def _matches(message: Message, call: Call) -> bool:
    text = message.content.lower()
    words = call.query.get("content", "").lower().split()
    low, high = call.snowflake("min_id") or 0, call.snowflake("max_id") or 1 << 63
    return (
        all(word in text for word in words)
        and low < message.id < high
        and _is_among(message.author.id, call.lists.get("author_id"))
        and _is_among(message.channel.id, call.lists.get("channel_id"))
        and _has_all(message, call.lists.get("has", []))
    )


def _is_among(number: int, wanted: list[str] | None) -> bool:
    return wanted is None or str(number) in wanted


def _has_all(message: Message, wanted: list[str]) -> bool:
    present = {
        "link": "http://" in message.content or "https://" in message.content,
        "embed": bool(message.embeds),
        "file": bool(message.attachments),
        "image": any(each.content_type.startswith("image/") for each in message.attachments),
        "sticker": bool(message.stickers),
    }
    for name in wanted:
        if name not in present:
            raise ApiError(400, 50035, f"the loopback's search does not know has={name}")
    return all(present[name] for name in wanted)


def _hit(message: Message) -> Json:
    payload = message_json(message)
    payload.pop("reactions", None)
    return payload | {"hit": True}
