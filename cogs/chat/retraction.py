"""Takes replies back when something that they quote is deleted, erased or changed, also after a restart."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import aiohttp
import discord
from cachetools import TTLCache

from cogs.chat.texts import chat_texts_for
from cogs.memory.exceptions import StoreError
from cogs.memory.surface.answers import NOBODY
from cogs.memory.surface.operation.shards import shards_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cogs.memory.records import QuotingReply, StoredMessage
    from cogs.memory.surface.services import SurfaceServices

log = logging.getLogger(__name__)

BATCH: Final = 20
PAUSE_S: Final = 0.5
"""Seconds between two looks at the store: much changes at once."""
RETRY_S: Final = 60.0
"""Seconds after which the list is looked at in any case."""
REFUSED_S: Final = 300.0
"""Seconds after which what Discord refused is tried again."""


class Retraction:
    """Keeps note of what replies quote, and takes those back that quote what is not said any more.

    Args:
        services: the memory, and the bot whose replies they are.
        on_withdrawn: told the guild of each reply that was taken back.
    """

    def __init__(self, services: SurfaceServices, on_withdrawn: Callable[[int], None]) -> None:
        self._bot = services.bot
        self._memory = services.memory
        self._on_withdrawn = on_withdrawn
        self._look = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unwatch: Callable[[], None] | None = None
        self._being_written: set[int] = set()
        self._passed_over = 0
        self._ordered: dict[int, QuotingReply] = {}
        self._refused: TTLCache[int, bool] = TTLCache(maxsize=10_000, ttl=REFUSED_S)

    def start(self) -> None:
        """Begin; what became stale while the bot was off comes first."""
        self._unwatch = self._memory.watch(self._look.set)
        self._look.set()
        self._task = asyncio.create_task(self._run(), name="chat retraction")

    async def close(self) -> None:
        """Stop; what is left is taken up at the next start. May be called twice."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    # --- while a reply is being written its own flow sees to it

    async def note(self, reply: QuotingReply, sources: Sequence[StoredMessage]) -> None:
        """Note what a reply that is being written quotes. Raises StoreError."""
        self._being_written.add(reply.id)
        await self._memory.store.put_reply(reply, sources)

    async def begin_anew(self, reply: QuotingReply) -> None:
        """Forget what a reply quoted: nothing of that is left on Discord. Raises StoreError."""
        await self._memory.store.drop_reply(reply.guild_id, reply.id)

    def withdraw(self, reply: QuotingReply) -> None:
        """Take a reply back as soon as Discord lets it, whatever it quotes."""
        self._ordered[reply.id] = reply

    def written(self, reply_id: int) -> None:
        """Note that a reply is finished, or given up."""
        self._being_written.discard(reply_id)
        self._look.set()

    # --- afterwards

    async def _run(self) -> None:
        await self._bot.wait_until_ready()
        while True:
            with suppress(TimeoutError):  # what was refused is tried again by and by
                async with asyncio.timeout(RETRY_S):
                    await self._look.wait()
            self._look.clear()
            try:
                await self._take_back_stale()
            except StoreError as error:
                log.error("Replies that quote what is gone cannot be found now: %s", error)
            await asyncio.sleep(PAUSE_S)

    async def _take_back_stale(self) -> None:
        """Take back the stale replies; those that cannot be, for now, stay on the list."""
        stale = {reply.id: reply for reply in await self._memory.store.stale_replies(BATCH + self._passed_over)}
        due = [reply for reply in (stale | self._ordered).values() if self._is_due(reply)]
        self._passed_over = sum(not self._is_due(reply) for reply in stale.values())
        for reply in due:
            if await self._take_back(reply):
                self._ordered.pop(reply.id, None)
                await self._memory.store.drop_reply(reply.guild_id, reply.id)
                self._on_withdrawn(reply.guild_id)
                self._look.set()  # there may be more than a batch
            else:
                self._refused[reply.id] = True

    def _is_due(self, reply: QuotingReply) -> bool:
        """Whether it is this process's turn to take a reply back."""
        if not shards_of(self._bot).own(reply.guild_id):
            return False
        return reply.id not in self._refused and reply.id not in self._being_written

    async def _take_back(self, reply: QuotingReply) -> bool:
        """Put a sentence in place of a reply; return whether nothing of it is left that the bot can reach."""
        guild = self._bot.get_guild(reply.guild_id)
        if guild is None:
            return True  # the bot has left: it can reach nothing there, nor will it come back to this
        if guild.unavailable:
            return False
        channel = self._bot.get_partial_messageable(reply.channel_id, guild_id=reply.guild_id)
        first, *others = (channel.get_partial_message(message_id) for message_id in reply.message_ids)
        sentence = chat_texts_for(guild.preferred_locale).withdrawn
        try:
            with suppress(discord.NotFound):
                await first.edit(content=sentence, embeds=[], view=None, allowed_mentions=NOBODY)
            for other in others:
                with suppress(discord.NotFound):
                    await other.delete()
        except (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, OSError) as error:
            log.warning("Reply %d could not be taken back yet (%s)", reply.id, type(error).__name__)
            return False
        log.info("Reply %d quoted what is gone or changed: taken back", reply.id)
        return True
