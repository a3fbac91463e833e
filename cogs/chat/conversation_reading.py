"""The conversation that a message belongs to: the chain of replies that leads to it, and what was just said there."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import aiohttp
import discord

from cogs.chat.conversation import Turn
from cogs.chat.sending import without_sources
from cogs.chat.triggers import is_said_by_a_person, text_without_address
from cogs.memory.cleaning import clean_name

if TYPE_CHECKING:
    from collections.abc import Collection

log = logging.getLogger(__name__)

CHAIN: Final = 6
"""Messages of the chain of replies."""
RECENT: Final = 10
"""Messages before the one to be answered."""
RECENT_AGE: Final = timedelta(hours=1)
"""Older ones belong to another conversation."""
MAX_TURN: Final = 1000
"""Characters of one earlier message."""


async def read_turns(
    message: discord.Message, question: str, me: discord.ClientUser, *, earlier: bool, left_out: Collection[int]
) -> tuple[Turn, ...]:
    """Return the conversation, oldest first; the message itself comes last.

    Args:
        message: what is to be answered.
        question: its text, as it is to be answered.
        me: the bot.
        earlier: whether what was said before may be read along.
        left_out: authors whose messages are not to be used.
    """
    found = await _before(message) if earlier else {}
    said = [each for _, each in sorted(found.items()) if each.author.id == me.id or is_said_by_a_person(each)]
    turns = [_turn(each, me) for each in said if each.author.id not in left_out]
    asked = Turn("user", clean_name(message.author.display_name), question)
    return (*(turn for turn in turns if turn.text), asked)


async def _before(message: discord.Message) -> dict[int, discord.Message]:
    found: dict[int, discord.Message] = {}
    try:
        async for each in message.channel.history(limit=RECENT, before=message):
            if message.created_at - each.created_at < RECENT_AGE:
                found[each.id] = each
        link = message
        for _ in range(CHAIN):
            original = await _replied_to(link, found)
            if original is None:
                break
            found[original.id] = link = original
    except (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, OSError) as error:
        log.info("A conversation could not be read in full (%s)", type(error).__name__)
    return found


async def _replied_to(message: discord.Message, found: dict[int, discord.Message]) -> discord.Message | None:
    reference = message.reference
    if reference is None or reference.message_id is None or reference.channel_id != message.channel.id:
        return None
    if isinstance(reference.resolved, discord.Message):
        return reference.resolved
    if reference.message_id in found:
        return found[reference.message_id]
    if isinstance(reference.resolved, discord.DeletedReferencedMessage):
        return None
    return await message.channel.fetch_message(reference.message_id)


def _turn(message: discord.Message, me: discord.ClientUser) -> Turn:
    text = text_without_address(message, me)
    if message.author.id == me.id:
        return Turn("assistant", clean_name(message.author.display_name), without_sources(text)[:MAX_TURN])
    return Turn("user", clean_name(message.author.display_name), text[:MAX_TURN])
