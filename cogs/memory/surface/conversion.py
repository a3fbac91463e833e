"""From Discord's messages to `StoredMessage`: what is kept of a message, and what it reads like. Cleaned here, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from cogs.memory.cleaning import clean_extra, clean_name, clean_text, embed_texts
from cogs.memory.mention_text import write_references_out
from cogs.memory.records import ChannelInfo, StoredMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

_SAID = (discord.MessageType.default, discord.MessageType.reply)


def to_stored(message: discord.Message) -> StoredMessage | None:
    """Return what the memory keeps of a message; ``None`` for what it never keeps.

    Never kept: what bots, webhooks and Discord itself wrote, what was not said in a guild, what is shown to one user
    only, and messages without any text.
    """
    if message.guild is None or not _is_said_by_a_person(message):
        return None
    content = clean_text(readable(message.content, message))
    extra = clean_extra(_beside(message))
    if not content and not extra:
        return None
    name, handle = clean_name(message.author.display_name), clean_name(message.author.name)
    return StoredMessage(
        id=message.id,
        guild_id=message.guild.id,
        channel_id=message.channel.id,
        author_id=message.author.id,
        author_name=name,
        author_handle="" if handle == name else handle,
        content=content,
        created_at=message.created_at,
        extra=extra,
        attachments=tuple(clean_name(attachment.filename) for attachment in message.attachments),
        reply_to=_reply_to(message),
        edited_at=message.edited_at,
    )


def channel_info(channel: discord.abc.GuildChannel | discord.Thread) -> ChannelInfo:
    """Return a channel's or thread's name, and for a thread the channel it hangs under."""
    parent_id = channel.parent_id if isinstance(channel, discord.Thread) else None
    return ChannelInfo(channel.id, channel.guild.id, clean_name(channel.name), parent_id)


def parent_of(message: discord.Message) -> int | None:
    """Return the channel that the message's thread hangs under; ``None`` outside threads."""
    return message.channel.parent_id if isinstance(message.channel, discord.Thread) else None


def readable(text: str, message: discord.Message) -> str:
    """Return ``text`` with mentions, custom emoji and timestamps as a reader of the channel sees them.

    A channel that not everybody can see stays nameless: its name would be searchable for all readers of the message.
    """
    return write_references_out(
        text,
        user=lambda user_id: _user_name(user_id, message),
        role=lambda role_id: _role_name(role_id, message),
        channel=lambda channel_id: _channel_name(channel_id, message),
    )


def _is_said_by_a_person(message: discord.Message) -> bool:
    return not (
        message.author.bot
        or message.author.system
        or message.webhook_id is not None
        or message.flags.ephemeral
        or message.type not in _SAID
    )


def _reply_to(message: discord.Message) -> int | None:
    reference = message.reference
    if message.type is not discord.MessageType.reply or reference is None:
        return None
    return reference.message_id


def _user_name(user_id: int, message: discord.Message) -> str | None:
    mentioned = next((user for user in message.mentions if user.id == user_id), None)
    known = mentioned or (message.guild.get_member(user_id) if message.guild else None)
    return known.display_name if known else None


def _role_name(role_id: int, message: discord.Message) -> str | None:
    role = message.guild.get_role(role_id) if message.guild else None
    return role.name if role else None


def _channel_name(channel_id: int, message: discord.Message) -> str | None:
    guild = message.guild
    channel = guild.get_channel_or_thread(channel_id) if guild else None
    if guild is None or channel is None:
        return None
    place = channel.parent if isinstance(channel, discord.Thread) else channel
    hidden = isinstance(channel, discord.Thread) and channel.is_private()
    if hidden or place is None or not place.permissions_for(guild.default_role).view_channel:
        return None
    return channel.name


def _beside(message: discord.Message) -> Iterator[str]:
    """The searchable texts of a message beside its content, most telling first."""
    for attachment in message.attachments:
        yield attachment.filename
        yield attachment.description or ""
    yield from (sticker.name for sticker in message.stickers)
    if message.poll is not None:
        yield message.poll.question
        yield from (answer.text for answer in message.poll.answers)
    for snapshot in message.message_snapshots:
        yield readable(snapshot.content, message)
        yield from (attachment.filename for attachment in snapshot.attachments)
    for embed in message.embeds:
        fields = ((str(field.name), str(field.value)) for field in embed.fields)
        yield from embed_texts(embed.title or "", embed.description or "", fields)
