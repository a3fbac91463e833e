"""REST routes for messages: reading history, sending, editing, deleting, reactions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from .channels import ChannelKind, now
from .errors import ApiError, Json, invalid_form, missing_permissions, unknown
from .limits import check_message
from .payloads import message_json, user_json
from .permissions import Permission
from .threads import Thread
from .wire import Routes, existing_message, visible_channel

if TYPE_CHECKING:
    from .backend import Backend
    from .channels import Channel
    from .messages import Message
    from .wire import Call

routes = Routes()

_BULK_AGE = timedelta(days=14)


def require(backend: Backend, channel: Channel, *permissions: Permission) -> None:
    """Check that the bot has these permissions in a channel.

    Raises:
        ApiError: it lacks one (403, 50013).
    """
    held = channel.permissions_for(backend.world.bot)
    if any(not held & permission for permission in permissions):
        raise missing_permissions()


@routes.add("GET", "/channels/{channel_id}/messages")
async def history(backend: Backend, call: Call) -> list[Json]:
    """A page of history, newest first; empty, not an error, without READ_MESSAGE_HISTORY."""
    channel = visible_channel(backend, call)
    limit = call.number("limit", default=50, low=1, high=100)
    anchors = {name: call.snowflake(name) for name in ("before", "after", "around")}
    if not channel.can_read_history(backend.world.bot):
        return []
    page = channel.page(limit=limit, **anchors)
    return [message_json(message, with_content=backend.with_content) for message in page]


@routes.add("GET", "/channels/{channel_id}/messages/pins")
async def pins(backend: Backend, call: Call) -> Json:
    """The pinned messages."""
    channel = visible_channel(backend, call)
    pinned = [message for message in channel.history() if message.pinned]
    items = [
        {"pinned_at": now().isoformat(), "message": message_json(message, with_content=backend.with_content)}
        for message in reversed(pinned)
    ]
    return {"items": items if channel.can_read_history(backend.world.bot) else [], "has_more": False}


@routes.add("GET", "/channels/{channel_id}/messages/{message_id}")
async def fetch(backend: Backend, call: Call) -> Json:
    """One message."""
    channel = visible_channel(backend, call)
    require(backend, channel, Permission.READ_MESSAGE_HISTORY)
    return message_json(existing_message(channel, call), with_content=backend.with_content)


@routes.add("POST", "/channels/{channel_id}/messages")
async def create(backend: Backend, call: Call) -> Json:
    """Send a message as the bot."""
    channel = visible_channel(backend, call)
    payload = call.body
    _require_sending(backend, channel, call)
    check_message(payload, call.files)
    earlier = _same_nonce(backend, channel, payload)
    if earlier is not None:
        return message_json(earlier)
    message = channel.post(
        backend.world.bot,
        payload.get("content") or "",
        reply_to=_replied(backend, channel, payload),
        embeds=payload.get("embeds") or [],
        components=payload.get("components") or [],
        attachments=backend.attachments(call, payload),
        flags=int(payload.get("flags") or 0),
        nonce=payload.get("nonce"),
        allowed_mentions=payload.get("allowed_mentions"),
        application_id=backend.world.application.id,
    )
    return message_json(message)


def _require_sending(backend: Backend, channel: Channel, call: Call) -> None:
    if channel.kind in (ChannelKind.FORUM, ChannelKind.CATEGORY):
        raise ApiError(400, 50008, "Cannot send messages in a non-text channel")
    if channel.recipient is not None and not channel.recipient.accepts_direct_messages:
        raise ApiError(403, 50007, "Cannot send messages to this user")
    in_thread = isinstance(channel, Thread)
    require(backend, channel, Permission.SEND_MESSAGES_IN_THREADS if in_thread else Permission.SEND_MESSAGES)
    if call.body.get("embeds"):
        require(backend, channel, Permission.EMBED_LINKS)
    if call.files:
        require(backend, channel, Permission.ATTACH_FILES)
    if isinstance(channel, Thread) and channel.archived and channel.locked:
        raise ApiError(400, 50083, "Thread is archived")


def _same_nonce(backend: Backend, channel: Channel, payload: Json) -> Message | None:
    """The message that an earlier try of this request made: with `enforce_nonce` a retry sends nothing new."""
    if not payload.get("enforce_nonce"):
        return None
    own = (each for each in channel.history(50) if each.author is backend.world.bot)
    return next((each for each in own if each.nonce == payload.get("nonce")), None)


def _replied(backend: Backend, channel: Channel, payload: Json) -> Message | None:
    reference = payload.get("message_reference")
    if not reference:
        return None
    if not channel.can_read_history(backend.world.bot):
        raise ApiError(400, 160002, "Cannot reply without permission to read message history")
    target = channel.message(int(reference["message_id"]))
    if target is None and reference.get("fail_if_not_exists", True):
        raise invalid_form("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
    return target


@routes.add("PATCH", "/channels/{channel_id}/messages/{message_id}")
async def edit(backend: Backend, call: Call) -> Json:
    """Edit a message of the bot's own."""
    channel = visible_channel(backend, call)
    message = existing_message(channel, call)
    if message.author is not backend.world.bot:
        raise ApiError(403, 50005, "Cannot edit a message authored by another user")
    check_message({"flags": message.flags} | call.body, call.files, editing=True)
    backend.apply_edit(message, call, call.body)
    message.edited_at = now()
    channel.announce("MESSAGE_UPDATE", message)
    return message_json(message)


@routes.add("DELETE", "/channels/{channel_id}/messages/{message_id}")
async def delete(backend: Backend, call: Call) -> None:
    """Delete the bot's own message, or any with MANAGE_MESSAGES."""
    channel = visible_channel(backend, call)
    message = existing_message(channel, call)
    if message.author is not backend.world.bot:
        require(backend, channel, Permission.MANAGE_MESSAGES)
    message.delete()


@routes.add("POST", "/channels/{channel_id}/messages/bulk-delete")
async def bulk_delete(backend: Backend, call: Call) -> None:
    """Delete 2 to 100 messages of the last 14 days."""
    channel = visible_channel(backend, call)
    require(backend, channel, Permission.MANAGE_MESSAGES)
    ids = [int(each) for each in call.body.get("messages") or []]
    if not 2 <= len(ids) <= 100:
        raise invalid_form("messages", "BASE_TYPE_BAD_LENGTH", "Must be between 2 and 100 in length.")
    if any(now() - backend.world.time_of(each) > _BULK_AGE for each in ids):
        raise ApiError(400, 50034, "You can only bulk delete messages that are under 14 days old.")
    channel.delete_messages([message for each in ids if (message := channel.message(each))])


@routes.add("POST", "/channels/{channel_id}/typing")
async def typing(backend: Backend, call: Call) -> None:
    """Show that the bot types."""
    channel = visible_channel(backend, call)
    in_thread = isinstance(channel, Thread)
    require(backend, channel, Permission.SEND_MESSAGES_IN_THREADS if in_thread else Permission.SEND_MESSAGES)


# --- reactions

_REACTIONS = "/channels/{channel_id}/messages/{message_id}/reactions"


@routes.add("PUT", f"{_REACTIONS}/{{emoji}}/@me")
async def add_reaction(backend: Backend, call: Call) -> None:
    """React as the bot."""
    channel = visible_channel(backend, call)
    require(backend, channel, Permission.ADD_REACTIONS, Permission.READ_MESSAGE_HISTORY)
    existing_message(channel, call).react(backend.world.bot, unquote(call.params["emoji"]))


@routes.add("DELETE", f"{_REACTIONS}/{{emoji}}/{{user_id}}")
async def remove_reaction(backend: Backend, call: Call) -> None:
    """Remove the bot's own reaction (``@me``), or another's with MANAGE_MESSAGES."""
    channel = visible_channel(backend, call)
    message = existing_message(channel, call)
    user = backend.world.bot
    if call.params["user_id"] != "@me":
        require(backend, channel, Permission.MANAGE_MESSAGES)
        user = _user(backend, call)
    message.unreact(user, unquote(call.params["emoji"]))


@routes.add("GET", f"{_REACTIONS}/{{emoji}}")
async def list_reactions(backend: Backend, call: Call) -> list[Json]:
    """Who reacted with an emoji."""
    message = existing_message(visible_channel(backend, call), call)
    return [user_json(user) for user in message.reactions.get(unquote(call.params["emoji"]), [])]


def _user(backend: Backend, call: Call) -> Any:
    user = backend.world.users.get(call.param("user_id"))
    if user is None:
        raise unknown("User", 10013)
    return user
