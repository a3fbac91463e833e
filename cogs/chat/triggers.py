"""Whether a message is for the bot, and what it says without the address."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import discord

from cogs.memory.cleaning import clean_name, clean_text
from cogs.memory.context_gate import decide
from cogs.memory.surface.conversion import parent_of, readable

if TYPE_CHECKING:
    from cogs.chat.chat_settings import ChatSettings
    from cogs.memory.records import StoredMessage

Trigger = Literal["mention", "reply", "direct", "always"]
"""Why the bot replies: named in the message, replied to, written to directly, or set to reply to everything there."""

_SPOKEN = (discord.MessageType.default, discord.MessageType.reply)


def is_said_by_a_person(message: discord.Message) -> bool:
    """Whether a human member wrote the message: no bot, webhook or Discord itself."""
    return (
        not message.author.bot
        and not message.author.system
        and message.webhook_id is None
        and message.type in _SPOKEN
        and not message.flags.ephemeral
    )


def trigger_of(message: discord.Message, me: discord.ClientUser, settings: ChatSettings) -> Trigger | None:
    """Return why the bot replies to a message on a server; None if it does not."""
    when = settings.when(message.channel.id, parent_of(message))
    if when == "never":
        return None
    if names(message, me):
        return "mention"
    if replied_to(message) == me.id:
        return "reply"
    return "always" if when == "always" else None


def names(message: discord.Message, me: discord.ClientUser) -> bool:
    """Whether the text names the bot, or the role that Discord gave to it alone; a ping by a reply names nobody."""
    own_role = message.guild.self_role if message.guild else None
    return me.id in message.raw_mentions or (own_role is not None and own_role.id in message.raw_role_mentions)


def replied_to(message: discord.Message) -> int | None:
    """Return whose message this one replies to, as far as Discord has said with it."""
    reference = message.reference
    if message.type is not discord.MessageType.reply or reference is None:
        return None
    original = reference.resolved
    return original.author.id if isinstance(original, discord.Message) else None


def text_without_address(message: discord.Message, me: discord.ClientUser) -> str:
    """Return what a message says, as its readers see it, without the mention of the bot."""
    own_role = message.guild.self_role if message.guild else None
    address = rf"<@!?{me.id}>" + (rf"|<@&{own_role.id}>" if own_role else "")
    return clean_text(readable(re.sub(address, " ", message.content), message)).strip()


def asks(name: str, message: StoredMessage) -> bool:
    """Whether a stored message asks the bot of this name something: that is no answer to the same question.

    What somebody *tells* the bot is remembered like anything else.
    """
    address = f"@{clean_name(name)}"
    if address not in message.content:
        return False
    reason = decide(message.content.replace(address, " ")).reason
    return reason == "asks" or (reason == "names the past" and "?" in message.content)
