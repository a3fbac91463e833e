"""REST routes for channels and threads."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from .channels import ChannelKind
from .errors import ApiError, Json, invalid_form, missing_access, missing_permissions, unknown
from .limits import check_message
from .payloads import channel_json, member_json, message_json, thread_json, thread_member_json
from .permissions import Permission
from .routes_messages import require
from .threads import Thread, open_forum_post, open_thread
from .wire import Routes, existing_message, joined_guild, visible_channel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .backend import Backend
    from .channels import Channel
    from .people import User
    from .wire import Call

routes = Routes()


@routes.add("GET", "/channels/{channel_id}")
async def fetch(backend: Backend, call: Call) -> Json:
    """One channel or thread."""
    return channel_json(visible_channel(backend, call))


@routes.add("PATCH", "/channels/{channel_id}")
async def modify(backend: Backend, call: Call) -> Json:
    """Change a channel's name, topic or age restriction, or a thread's name, archive and lock."""
    channel = visible_channel(backend, call)
    fields = {name: call.body[name] for name in ("name", "topic", "nsfw", "locked") if name in call.body}
    if isinstance(channel, Thread):
        if channel.owner is not backend.world.bot:
            require(backend, channel, Permission.MANAGE_THREADS)
        if "archived" in call.body:
            channel.set_archived(bool(call.body["archived"]))
    else:
        require(backend, channel, Permission.MANAGE_CHANNELS)
    if fields:
        channel.update(**fields)
    return channel_json(channel)


@routes.add("DELETE", "/channels/{channel_id}")
async def delete(backend: Backend, call: Call) -> Json:
    """Delete a channel or thread."""
    channel = visible_channel(backend, call)
    in_thread = isinstance(channel, Thread)
    require(backend, channel, Permission.MANAGE_THREADS if in_thread else Permission.MANAGE_CHANNELS)
    payload = channel_json(channel)
    channel.delete()
    return payload


@routes.add("GET", "/guilds/{guild_id}/channels")
async def list_channels(backend: Backend, call: Call) -> list[Json]:
    """All channels of a guild, hidden ones too, without threads."""
    return [channel_json(channel) for channel in joined_guild(backend, call).channels.values()]


# --- reading threads


@routes.add("GET", "/guilds/{guild_id}/threads/active")
async def active_threads(backend: Backend, call: Call) -> Json:
    """All threads of a guild that the bot sees and that are not archived, newest first."""
    guild, bot = joined_guild(backend, call), backend.world.bot
    threads = [each for each in guild.threads.values() if not each.archived and each.can_view(bot)]
    threads.sort(key=lambda thread: thread.id, reverse=True)
    return _with_members(threads, bot)


@routes.add("GET", "/channels/{channel_id}/threads/archived/public")
async def public_archive(backend: Backend, call: Call) -> Json:
    """A channel's archived public threads, by time of archiving."""
    channel = visible_channel(backend, call)
    require(backend, channel, Permission.READ_MESSAGE_HISTORY)
    return _archive(backend, call, channel, lambda thread: not thread.private)


@routes.add("GET", "/channels/{channel_id}/threads/archived/private")
async def private_archive(backend: Backend, call: Call) -> Json:
    """A channel's archived private threads, for those with MANAGE_THREADS."""
    channel = visible_channel(backend, call)
    require(backend, channel, Permission.READ_MESSAGE_HISTORY, Permission.MANAGE_THREADS)
    return _archive(backend, call, channel, lambda thread: thread.private)


@routes.add("GET", "/channels/{channel_id}/users/@me/threads/archived/private")
async def joined_private_archive(backend: Backend, call: Call) -> Json:
    """The archived private threads of which the bot is a member, by id."""
    channel, bot = visible_channel(backend, call), backend.world.bot
    require(backend, channel, Permission.READ_MESSAGE_HISTORY)
    before = call.snowflake("before") or 1 << 63
    threads = [each for each in channel.threads if each.archived and each.private and bot.id in each.thread_members]
    threads = [each for each in threads if each.id < before]
    threads.sort(key=lambda thread: thread.id, reverse=True)
    return _page(threads, call, bot)


def _archive(backend: Backend, call: Call, channel: Channel, wanted: Callable[[Thread], bool]) -> Json:
    threads = [each for each in channel.threads if each.archived and wanted(each)]
    if "before" in call.query:
        before = datetime.fromisoformat(call.query["before"])
        threads = [each for each in threads if each.archived_at < before]
    threads.sort(key=lambda thread: thread.archived_at, reverse=True)
    return _page(threads, call, backend.world.bot)


def _page(threads: Sequence[Thread], call: Call, bot: User) -> Json:
    limit = call.number("limit", default=50, low=2, high=100)
    return _with_members(threads[:limit], bot) | {"has_more": len(threads) > limit}


def _with_members(threads: Sequence[Thread], bot: User) -> Json:
    joined = [thread for thread in threads if bot.id in thread.thread_members]
    return {
        "threads": [thread_json(thread) for thread in threads],
        "members": [thread_member_json(thread, bot.id) for thread in joined],
    }


# --- opening threads


@routes.add("POST", "/channels/{channel_id}/threads")
async def create_thread(backend: Backend, call: Call) -> Json:
    """Open a thread without a message, or a forum post with one."""
    channel = visible_channel(backend, call)
    name = _thread_name(call)
    if channel.kind is ChannelKind.FORUM:
        require(backend, channel, Permission.SEND_MESSAGES)
        payload = call.body.get("message") or {}
        check_message(payload, call.files)
        thread = open_forum_post(
            channel,
            name,
            backend.world.bot,
            payload.get("content") or "",
            attachments=backend.attachments(call, payload),
        )
        return thread_json(thread) | {"message": message_json(thread.history()[0])}
    private = call.body.get("type") == ChannelKind.PRIVATE_THREAD
    require(backend, channel, Permission.CREATE_PRIVATE_THREADS if private else Permission.CREATE_PUBLIC_THREADS)
    return thread_json(open_thread(channel, name, backend.world.bot, private=private))


@routes.add("POST", "/channels/{channel_id}/messages/{message_id}/threads")
async def create_thread_on_message(backend: Backend, call: Call) -> Json:
    """Open a thread on a message."""
    channel = visible_channel(backend, call)
    require(backend, channel, Permission.CREATE_PUBLIC_THREADS)
    message = existing_message(channel, call)
    if message.id in backend.world.channels:
        raise ApiError(400, 160004, "A thread has already been created for this message")
    return thread_json(open_thread(channel, _thread_name(call), backend.world.bot, starter=message))


def _thread_name(call: Call) -> str:
    name = call.body.get("name") or ""
    if not 1 <= len(name) <= 100:
        raise invalid_form("name", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
    return str(name)


# --- members of threads


def _thread(backend: Backend, call: Call) -> Thread:
    channel = visible_channel(backend, call)
    if not isinstance(channel, Thread):
        raise ApiError(400, 50024, "Cannot execute action on this channel type")
    return channel


def _named_user(backend: Backend, call: Call, thread: Thread) -> User:
    if call.params["user_id"] == "@me":
        return backend.world.bot
    user = backend.world.users.get(call.param("user_id"))
    if user is None or user.id not in thread.guild.members:
        raise unknown("Member", 10007)
    return user


def _member(thread: Thread, user_id: int, call: Call) -> Json:
    payload = thread_member_json(thread, user_id)
    if call.query.get("with_member", "").lower() in ("true", "1"):
        payload["member"] = member_json(thread.guild.members[user_id])
    return payload


@routes.add("GET", "/channels/{channel_id}/thread-members")
async def thread_members(backend: Backend, call: Call) -> list[Json]:
    """The members of a thread; needs the server members intent."""
    thread = _thread(backend, call)
    if not backend.world.application.members_intent:
        raise missing_access()
    return [_member(thread, user_id, call) for user_id in thread.thread_members]


@routes.add("GET", "/channels/{channel_id}/thread-members/{user_id}")
async def thread_member(backend: Backend, call: Call) -> Json:
    """One member of a thread."""
    thread = _thread(backend, call)
    user = _named_user(backend, call, thread)
    if user.id not in thread.thread_members:
        raise unknown("Member", 10007)
    return _member(thread, user.id, call)


@routes.add("PUT", "/channels/{channel_id}/thread-members/{user_id}")
async def join_thread(backend: Backend, call: Call) -> None:
    """Join a thread, or add somebody to it."""
    thread = _thread(backend, call)
    if thread.archived:
        raise ApiError(400, 50083, "Thread is archived")
    thread.join(_named_user(backend, call, thread))


@routes.add("DELETE", "/channels/{channel_id}/thread-members/{user_id}")
async def leave_thread(backend: Backend, call: Call) -> None:
    """Leave a thread, or take somebody out of it."""
    thread = _thread(backend, call)
    user = _named_user(backend, call, thread)
    may_moderate = thread.permissions_for(backend.world.bot) & Permission.MANAGE_THREADS
    if user is not backend.world.bot and not may_moderate:
        raise missing_permissions()
    thread.remove(user)


@routes.add("POST", "/users/@me/channels")
async def open_direct_messages(backend: Backend, call: Call) -> Json:
    """The direct-message channel with a user."""
    user = backend.world.users.get(int(call.body["recipient_id"]))
    if user is None:
        raise unknown("User", 10013)
    return channel_json(backend.world.dm(user))
