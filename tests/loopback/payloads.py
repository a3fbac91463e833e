"""The world's objects as Discord's JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .channels import VOCAL, Channel, ChannelKind
from .threads import Thread

if TYPE_CHECKING:
    from .errors import Json
    from .guilds import Guild
    from .messages import Attachment, Message
    from .people import Member, Role, User
    from .world import Application


def timestamp(moment: datetime | None) -> str | None:
    """ISO 8601 with microseconds, as Discord writes times."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds") if moment else None


def user_json(user: User) -> Json:
    """A user object."""
    return {
        "id": str(user.id),
        "username": user.name,
        "discriminator": "0",
        "global_name": user.global_name,
        "avatar": user.avatar,
        "bot": user.bot,
        "public_flags": 0,
    }


def role_json(role: Role) -> Json:
    """A role object."""
    payload: Json = {
        "id": str(role.id),
        "name": role.name,
        "permissions": str(role.permissions),
        "position": role.position,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "managed": role.managed_by is not None,
        "mentionable": False,
        "icon": None,
        "unicode_emoji": None,
        "flags": 0,
    }
    if role.managed_by is not None:
        payload["tags"] = {"bot_id": str(role.managed_by)}
    return payload


def member_json(member: Member, *, with_user: bool = True) -> Json:
    """A guild member object; messages carry it without the user."""
    payload: Json = {
        "nick": member.nick,
        "avatar": None,
        "roles": [str(role.id) for role in member.roles],
        "joined_at": timestamp(member.joined_at),
        "premium_since": None,
        "deaf": False,
        "mute": False,
        "flags": 0,
        "pending": False,
        "communication_disabled_until": timestamp(member.timed_out_until),
    }
    if with_user:
        payload["user"] = user_json(member.user)
    return payload


def channel_json(channel: Channel) -> Json:
    """A channel object: guild channel, thread or direct messages."""
    if isinstance(channel, Thread):
        return thread_json(channel)
    last = channel.last_message_id
    payload: Json = {"id": str(channel.id), "type": int(channel.kind), "flags": 0}
    payload["last_message_id"] = str(last) if last else None
    if channel.guild is None:
        payload["recipients"] = [user_json(channel.recipient)] if channel.recipient else []
        return payload
    payload |= {
        "guild_id": str(channel.guild.id),
        "name": channel.name,
        "topic": channel.topic,
        "nsfw": channel.nsfw,
        "position": channel.position,
        "parent_id": str(channel.category.id) if channel.category else None,
        "rate_limit_per_user": 0,
        "permission_overwrites": _overwrites(channel, channel.guild),
    }
    if channel.kind in VOCAL:
        payload |= {"bitrate": 64000, "user_limit": 0, "rtc_region": None}
    if channel.kind is ChannelKind.FORUM:
        payload |= {"available_tags": [], "default_reaction_emoji": None, "default_forum_layout": 0}
        payload |= {"default_sort_order": None}
    return payload


def _overwrites(channel: Channel, guild: Guild) -> list[Json]:
    return [
        {"id": str(key), "type": 0 if key in guild.roles else 1, "allow": str(rule.allow), "deny": str(rule.deny)}
        for key, rule in channel.overwrites.items()
    ]


def thread_json(thread: Thread) -> Json:
    """A thread object, with the bot's own membership when it has one."""
    last = thread.last_message_id
    messages = len(thread.history())
    payload: Json = {
        "id": str(thread.id),
        "type": int(thread.kind),
        "guild_id": str(thread.guild.id),
        "parent_id": str(thread.parent.id),
        "owner_id": str(thread.owner.id),
        "name": thread.name,
        "last_message_id": str(last) if last else None,
        "message_count": messages,
        "total_message_sent": messages,
        "member_count": len(thread.thread_members),
        "rate_limit_per_user": 0,
        "flags": 0,
        "thread_metadata": {
            "archived": thread.archived,
            "archive_timestamp": timestamp(thread.archived_at),
            "auto_archive_duration": 1440,
            "locked": thread.locked,
            "invitable": thread.invitable,
            "create_timestamp": timestamp(thread.world.time_of(thread.id)),
        },
    }
    if thread.world.bot.id in thread.thread_members:
        payload["member"] = thread_member_json(thread, thread.world.bot.id)
    return payload


def thread_member_json(thread: Thread, user_id: int) -> Json:
    """A thread member object."""
    return {
        "id": str(thread.id),
        "user_id": str(user_id),
        "join_timestamp": timestamp(thread.thread_members[user_id]),
        "flags": 0,
    }


def guild_json(guild: Guild) -> Json:
    """A guild object as the REST API gives it."""
    return {
        "id": str(guild.id),
        "name": guild.name,
        "owner_id": str(guild.owner.id),
        "icon": None,
        "roles": [role_json(role) for role in guild.roles.values()],
        "emojis": [],
        "stickers": [],
        "features": [],
        "preferred_locale": guild.locale,
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "mfa_level": 0,
        "nsfw_level": 0,
        "premium_tier": 0,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "afk_channel_id": None,
        "afk_timeout": 300,
    }


def attachment_json(attachment: Attachment, channel: Channel, *, ephemeral: bool = False) -> Json:
    """An attachment object with an address on the loopback."""
    url = f"{channel.world.cdn}/attachments/{channel.id}/{attachment.id}/{attachment.filename}"
    payload: Json = {
        "id": str(attachment.id),
        "filename": attachment.filename,
        "size": len(attachment.data),
        "url": url,
        "proxy_url": url,
        "content_type": attachment.content_type,
        "ephemeral": ephemeral,
    }
    if attachment.description is not None:
        payload["description"] = attachment.description
    return payload


def message_json(message: Message, *, depth: int = 1, with_content: bool = True) -> Json:
    """A message object. Those of the gateway also carry guild and member: see `events`.

    `depth` says how many steps of replies are resolved; Discord resolves one. Without content it is what an
    application gets that lacks the message content intent.
    """
    channel = message.channel
    payload: Json = {
        "id": str(message.id),
        "channel_id": str(channel.id),
        "author": user_json(message.author),
        "content": message.content,
        "timestamp": timestamp(message.created_at),
        "edited_timestamp": timestamp(message.edited_at),
        "tts": False,
        "mention_everyone": message.mentions.everyone,
        "mentions": [user_json(user) for user in message.mentions.users],
        "mention_roles": [str(role.id) for role in message.mentions.roles],
        "attachments": [attachment_json(each, channel, ephemeral=message.ephemeral) for each in message.attachments],
        "embeds": message.embeds,
        "components": message.components,
        "pinned": message.pinned,
        "type": message.type,
        "flags": message.flags,
    }
    if not with_content and not _is_exempt(message):
        payload |= {"content": "", "embeds": [], "attachments": [], "components": []}
    _add_optional(payload, message)
    if message.reply_to is not None:
        payload["message_reference"] = _reference(message.reply_to)
        if depth > 0:
            resolved = message_json(message.reply_to, depth=depth - 1, with_content=with_content)
            payload["referenced_message"] = None if message.reply_to.deleted else resolved
    return payload


def _add_optional(payload: Json, message: Message) -> None:
    if message.reactions:
        bot = message.channel.world.bot
        payload["reactions"] = [
            {"emoji": {"id": None, "name": emoji}, "count": len(users), "me": bot in users}
            for emoji, users in message.reactions.items()
        ]
    if message.stickers:
        payload["sticker_items"] = message.stickers
    if message.webhook_id is not None:
        payload["webhook_id"] = str(message.webhook_id)
    if message.application_id is not None:
        payload["application_id"] = str(message.application_id)
    if message.nonce is not None:
        payload["nonce"] = message.nonce
    if message.interaction is not None:
        payload["interaction_metadata"] = message.interaction


def _reference(target: Message) -> Json:
    reference = {"type": 0, "message_id": str(target.id), "channel_id": str(target.channel.id)}
    if target.guild is not None:
        reference["guild_id"] = str(target.guild.id)
    return reference


def _is_exempt(message: Message) -> bool:
    """Own messages, direct ones, and mentions of the bot come with their text in any case."""
    bot = message.channel.world.bot
    return message.author is bot or message.guild is None or bot in message.mentions.users


def application_json(application: Application) -> Json:
    """The application as ``/oauth2/applications/@me`` gives it."""
    return {
        "id": str(application.id),
        "name": application.name,
        "description": "",
        "icon": None,
        "bot_public": True,
        "bot_require_code_grant": False,
        "owner": user_json(application.owner),
        "team": None,
        "verify_key": "0" * 64,
        "flags": application.flags,
        "approximate_guild_count": 1,
    }
