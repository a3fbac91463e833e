"""A reply on Discord: sent in parts, grown by edits, with its sources as links below; it pings and unfurls nothing."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Final, Protocol

import aiohttp
import discord
from discord.utils import format_dt

from cogs.chat.reply_flow import Draft, named_sources
from cogs.chat.splitting import MESSAGE_LIMIT, split_reply
from cogs.memory.records import QuotingReply
from cogs.memory.surface.answers import NOBODY
from cogs.memory.surface.markup import cut, escape
from cogs.memory.surface.presenter import jump_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cogs.chat.texts import ChatTexts
    from cogs.memory.records import StoredMessage

log = logging.getLogger(__name__)

WAITING: Final = "…"
RETRIES_S: Final = (0.5, 2.0)
"""Seconds before a message is sent once more whose sending broke off."""
_SMALL: Final = "-# "


class Notes(Protocol):
    """Keeps note of what replies quote."""

    async def note(self, reply: QuotingReply, sources: Sequence[StoredMessage]) -> None:
        """Note what a reply quotes."""

    async def begin_anew(self, reply: QuotingReply) -> None:
        """Forget what a reply quoted."""

    def withdraw(self, reply: QuotingReply) -> None:
        """Take a reply back as soon as Discord lets it."""


class DiscordPage:
    """One reply to one message: a `Page` of the flow.

    Args:
        message: what is replied to.
        texts: the language of what stands below the reply.
        notes: is told what the reply quotes as soon as it stands on Discord.
    """

    def __init__(self, message: discord.Message, texts: ChatTexts, notes: Notes) -> None:
        self._message = message
        self._texts = texts
        self._notes = notes
        self._sent: list[discord.Message] = []
        self._shown: list[str] = []
        self._noted = 0

    @property
    def reply_id(self) -> int | None:
        """The first message of the reply; None while nothing is sent."""
        return self._sent[0].id if self._sent else None

    async def show(self, draft: Draft, check: Callable[[], Awaitable[None]]) -> None:
        """Show the reply so far."""
        parts = reply_parts(draft, self._texts)
        for number, text in enumerate(parts):
            if number < len(self._shown) and self._shown[number] == text:
                continue
            if number < len(self._sent):
                await check()
                await self._sent[number].edit(content=text, suppress=True, allowed_mentions=NOBODY)
                self._shown[number] = text
            else:
                self._sent.append(await self._send(text, check))
                self._shown.append(text)
            await self._note(draft)
        await self._remove_from(len(parts))

    async def take_back(self) -> None:
        """Leave nothing of what was shown; what Discord refuses now is taken back later."""
        if not self._sent:
            return
        try:
            await self._sent[0].edit(content=WAITING, suppress=True, allowed_mentions=NOBODY)
            self._shown[0] = WAITING
            await self._remove_from(1)
        except BaseException:
            if self._message.guild is not None:
                self._notes.withdraw(self._as_noted(self._message.guild))
            raise
        if self._message.guild is not None:
            await self._notes.begin_anew(self._as_noted(self._message.guild))
        self._noted = 0

    async def say(self, sentence: str) -> None:
        """Show one sentence of ours, with its markup, in place of all else."""
        await self.show(Draft(sentence, complete=True), _nothing_to_check)

    async def _note(self, draft: Draft) -> None:
        guild = self._message.guild
        if draft.quoted and self._noted < len(self._sent) and guild is not None:
            await self._notes.note(self._as_noted(guild), draft.quoted)
            self._noted = len(self._sent)

    def _as_noted(self, guild: discord.Guild) -> QuotingReply:
        return QuotingReply(guild.id, self._message.channel.id, tuple(each.id for each in self._sent))

    async def _remove_from(self, number: int) -> None:
        while len(self._sent) > max(1, number):
            await self._sent[-1].delete()
            self._sent.pop()
            self._shown.pop()
            self._noted = min(self._noted, len(self._sent))

    async def _send(self, text: str, check: Callable[[], Awaitable[None]]) -> discord.Message:
        """Send a message; where nobody can tell whether Discord took it, ask again: a second reply would stay unknown.

        By the nonce Discord knows a repeated request, ours as well as one of discord.py's.
        """
        nonce = secrets.randbits(60)
        for pause in RETRIES_S:
            await check()
            try:
                return await self._post(text, nonce)
            except (aiohttp.ClientError, OSError) as error:
                log.info("The connection broke while a reply was sent (%s)", type(error).__name__)
                await asyncio.sleep(pause)
        await check()
        return await self._post(text, nonce)

    async def _post(self, text: str, nonce: int) -> discord.Message:
        channel = self._message.channel
        reference = None
        if not self._sent and _may_refer(channel):
            reference = self._message.to_reference(fail_if_not_exists=False)
        if reference is None:
            return await channel.send(text, nonce=nonce, suppress_embeds=True, allowed_mentions=NOBODY)
        return await channel.send(
            text,
            nonce=nonce,
            reference=reference,
            mention_author=False,
            suppress_embeds=True,
            allowed_mentions=NOBODY,
        )


async def _nothing_to_check() -> None:
    """A sentence of our own quotes nothing."""


def reply_parts(draft: Draft, texts: ChatTexts) -> list[str]:
    """Return a draft as the texts of messages: the reply, then its notes and sources once it is complete."""
    parts = split_reply(draft.text)
    if not draft.complete:
        return parts
    lines = [f"{_SMALL}{escape(cut(note, 300))}" for note in draft.notes]
    lines += [_source_line(number, draft.sources[number - 1], texts) for number in named_sources(draft)]
    for line in lines:
        if parts and len(parts[-1]) + 1 + len(line) <= MESSAGE_LIMIT:
            parts[-1] += f"\n{line}"
        else:
            parts.append(line)
    return parts


def without_sources(text: str) -> str:
    """Return a reply of the bot without what stands below it."""
    return "\n".join(line for line in text.split("\n") if not line.startswith(_SMALL)).strip()


def _source_line(number: int, message: StoredMessage, texts: ChatTexts) -> str:
    where = texts.source.format(
        author=escape(cut(message.author_name, 40)),
        channel=f"<#{message.channel_id}>",
        date=format_dt(message.created_at, "d"),
    )
    return f"{_SMALL}[{number}] {where}: [{texts.jump}](<{jump_url(message)}>)"


def _may_refer(place: object) -> bool:
    """Whether the bot may reply to a message there: that needs the right to read the history."""
    if isinstance(place, discord.Thread) and place.parent is None:
        return False
    if not isinstance(place, discord.abc.GuildChannel | discord.Thread):
        return True
    return place.permissions_for(place.guild.me).read_message_history
