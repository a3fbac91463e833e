"""Changes of the world as gateway events: who gets which, and with what in it."""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING, cast

from .payloads import (
    channel_json,
    guild_json,
    member_json,
    message_json,
    role_json,
    thread_json,
    thread_member_json,
    timestamp,
    user_json,
)
from .people import Member
from .threads import Thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from .channels import Channel
    from .errors import Json
    from .guilds import Guild
    from .messages import Message
    from .people import Role, User
    from .world import Change


class Intent(IntFlag):
    """The gateway intents that decide over the events sent here."""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    MESSAGE_CONTENT = 1 << 15


LARGE_GUILD = 250
"""From so many members on a guild is large: its member list must be asked for."""


def render(change: Change, intents: int, *, with_content: bool) -> Json | None:
    """Make the event's data for a session with these intents; None when the session does not get it."""
    if change.event == "GUILD_CREATE":
        return guild_create_json(cast("Guild", change.subject), intents, joined=bool(change.details.get("joined")))
    if not _is_sent(change, intents):
        return None
    if change.event in ("MESSAGE_CREATE", "MESSAGE_UPDATE"):
        return gateway_message_json(cast("Message", change.subject), with_content=with_content)
    return _RENDERERS[change.event](change)


def _is_sent(change: Change, intents: int) -> bool:
    event, guild = change.event, change.guild
    if guild is not None and event != "GUILD_DELETE" and (guild.unavailable or not guild.has_bot):
        return False
    if event.startswith("GUILD_MEMBER_"):
        own = isinstance(change.subject, Member) and change.subject.user is change.subject.guild.world.bot
        return bool(intents & Intent.GUILD_MEMBERS) or own
    if event.startswith("MESSAGE_"):
        return _message_event_is_sent(change, intents)
    if event == "THREAD_MEMBERS_UPDATE" and not intents & Intent.GUILD_MEMBERS:
        return _concerns_bot(change)
    if isinstance(change.subject, Thread) and not change.subject.can_view(change.subject.world.bot):
        return event == "THREAD_MEMBERS_UPDATE" and _concerns_bot(change)
    return bool(intents & Intent.GUILDS)


def _message_event_is_sent(change: Change, intents: int) -> bool:
    reaction = "REACTION" in change.event
    if change.guild is None:
        needed = Intent.DIRECT_MESSAGE_REACTIONS if reaction else Intent.DIRECT_MESSAGES
    else:
        needed = Intent.GUILD_MESSAGE_REACTIONS if reaction else Intent.GUILD_MESSAGES
    channel = cast("Channel", change.channel)
    return bool(intents & needed) and channel.can_view(channel.world.bot)


def _concerns_bot(change: Change) -> bool:
    """Whether it is the bot that joined or left a thread."""
    thread = cast("Thread", change.subject)
    return thread.world.bot in (*change.details["added"], *change.details["removed"])


def guild_create_json(guild: Guild, intents: int, *, joined: bool = False) -> Json:
    """The whole guild, as sent when a session starts, the bot joins, or an outage ends."""
    bot = guild.world.bot
    everybody = bool(intents & Intent.GUILD_MEMBERS and intents & Intent.GUILD_PRESENCES)
    members = list(guild.members.values()) if everybody and len(guild.members) < LARGE_GUILD else [guild.me]
    threads = [each for each in guild.threads.values() if not each.archived and each.can_view(bot)]
    payload = guild_json(guild) | {
        "joined_at": timestamp(guild.me.joined_at),
        "large": len(guild.members) >= LARGE_GUILD,
        "member_count": len(guild.members),
        "members": [member_json(member) for member in members],
        "channels": [channel_json(channel) for channel in guild.channels.values()],
        "threads": [thread_json(thread) for thread in threads],
        "presences": [],
        "voice_states": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }
    if not joined:
        payload["unavailable"] = False
    return payload


def gateway_message_json(message: Message, *, with_content: bool = True) -> Json:
    """A message as the gateway sends it: with its guild and the author's membership."""
    payload = message_json(message, with_content=with_content)
    guild = message.guild
    if guild is not None:
        payload["guild_id"] = str(guild.id)
        member = guild.members.get(message.author.id)
        if member is not None and message.webhook_id is None:
            payload["member"] = member_json(member, with_user=False)
        payload["mentions"] = [_mention_json(guild, user) for user in message.mentions.users]
    return payload


def _mention_json(guild: Guild, user: User) -> Json:
    member = guild.members.get(user.id)
    return user_json(user) | ({"member": member_json(member, with_user=False)} if member else {})


def _place(change: Change) -> Json:
    place = {"channel_id": str(cast("Channel", change.channel).id)}
    if change.guild is not None:
        place["guild_id"] = str(change.guild.id)
    return place


def _message_delete(change: Change) -> Json:
    return _place(change) | {"id": str(cast("Message", change.subject).id)}


def _bulk_delete(change: Change) -> Json:
    return _place(change) | {"ids": [str(each) for each in change.details["ids"]]}


def _reaction(change: Change) -> Json:
    message, user = cast("Message", change.subject), cast("User", change.details["user"])
    payload = _place(change) | {
        "user_id": str(user.id),
        "message_id": str(message.id),
        "message_author_id": str(message.author.id),
        "emoji": {"id": None, "name": change.details["emoji"]},
        "burst": False,
        "type": 0,
    }
    member = change.guild.members.get(user.id) if change.guild else None
    if member is not None and change.event == "MESSAGE_REACTION_ADD":
        payload["member"] = member_json(member)
    return payload


def _channel(change: Change) -> Json:
    return channel_json(cast("Channel", change.subject))


def _thread(change: Change) -> Json:
    payload = thread_json(cast("Thread", change.subject))
    return payload | ({"newly_created": True} if change.details.get("newly_created") else {})


def _thread_delete(change: Change) -> Json:
    payload = thread_json(cast("Thread", change.subject))
    return {key: payload[key] for key in ("id", "guild_id", "parent_id", "type")}


def _thread_members(change: Change) -> Json:
    thread = cast("Thread", change.subject)
    return {
        "id": str(thread.id),
        "guild_id": str(thread.guild.id),
        "member_count": len(thread.thread_members),
        "added_members": [thread_member_json(thread, user.id) for user in change.details["added"]],
        "removed_member_ids": [str(user.id) for user in change.details["removed"]],
    }


def _thread_list(change: Change) -> Json:
    guild, channels = cast("Guild", change.subject), change.details["channels"]
    bot = guild.world.bot
    threads = [
        each
        for each in guild.threads.values()
        if each.parent.id in channels and not each.archived and each.can_view(bot)
    ]
    return {
        "guild_id": str(guild.id),
        "channel_ids": [str(each) for each in channels],
        "threads": [thread_json(each) for each in threads],
        "members": [thread_member_json(each, bot.id) for each in threads if bot.id in each.thread_members],
    }


def _guild_delete(change: Change) -> Json:
    guild = cast("Guild", change.subject)
    return {"id": str(guild.id)} | ({"unavailable": True} if guild.unavailable else {})


def _guild_update(change: Change) -> Json:
    return guild_json(cast("Guild", change.subject))


def _role(change: Change) -> Json:
    role = cast("Role", change.subject)
    return {"guild_id": str(role.guild.id), "role": role_json(role)}


def _role_delete(change: Change) -> Json:
    role = cast("Role", change.subject)
    return {"guild_id": str(role.guild.id), "role_id": str(role.id)}


def _member(change: Change) -> Json:
    member = cast("Member", change.subject)
    return {"guild_id": str(member.guild.id)} | member_json(member)


def _member_remove(change: Change) -> Json:
    member = cast("Member", change.subject)
    return {"guild_id": str(member.guild.id), "user": user_json(member.user)}


_RENDERERS: dict[str, Callable[[Change], Json]] = {
    "MESSAGE_DELETE": _message_delete,
    "MESSAGE_DELETE_BULK": _bulk_delete,
    "MESSAGE_REACTION_ADD": _reaction,
    "MESSAGE_REACTION_REMOVE": _reaction,
    "CHANNEL_CREATE": _channel,
    "CHANNEL_UPDATE": _channel,
    "CHANNEL_DELETE": _channel,
    "THREAD_CREATE": _thread,
    "THREAD_UPDATE": _thread,
    "THREAD_DELETE": _thread_delete,
    "THREAD_MEMBERS_UPDATE": _thread_members,
    "THREAD_LIST_SYNC": _thread_list,
    "GUILD_UPDATE": _guild_update,
    "GUILD_DELETE": _guild_delete,
    "GUILD_ROLE_CREATE": _role,
    "GUILD_ROLE_UPDATE": _role,
    "GUILD_ROLE_DELETE": _role_delete,
    "GUILD_MEMBER_ADD": _member,
    "GUILD_MEMBER_UPDATE": _member,
    "GUILD_MEMBER_REMOVE": _member_remove,
}
