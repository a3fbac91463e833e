"""Everybody who reads a channel on Discord, as the flow asks about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogs.memory.records import Scope
from cogs.memory.surface.reply_context import ReplyContexts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import discord

    from cogs.memory.context_builder import MemoryContext
    from cogs.memory.records import StoredMessage
    from cogs.memory.surface.services import SurfaceServices


class ChannelReaders:
    """The readers of the channel in which a message is replied to.

    Args:
        services: the memory, the rules, and what knows whether stored messages still stand.
        message: what is replied to.
    """

    def __init__(self, services: SurfaceServices, message: discord.Message) -> None:
        self._services = services
        self._message = message
        self._contexts = ReplyContexts(services)

    async def context(
        self, question: str, *, token_budget: int, count_tokens: Callable[[str], int], exclude: Collection[int]
    ) -> MemoryContext:
        """Return quotes of what all readers may see; what might have changed was looked up on Discord."""
        return await self._contexts.build(
            self._message, query=question, token_budget=token_budget, count_tokens=count_tokens, exclude=exclude
        )

    async def may_see(self, messages: Sequence[StoredMessage]) -> bool:
        """Look in the store, then at the rules of this moment. Nothing kept is trusted."""
        guild, place = self._message.guild, self._message.channel.id
        if guild is None:
            return False
        channels = frozenset(message.channel_id for message in messages)
        rows = await self._services.memory.store.load(Scope(guild.id, channels), [message.id for message in messages])
        if any(m.id not in rows or rows[m.id].message.content != m.content for m in messages):
            return False
        author = await self._services.access.author_of(self._message)
        permit = await self._services.access.public(guild, author, place)
        return channels == await self._services.access.still_allowed(permit, channels)
