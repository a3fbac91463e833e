"""Context for the reply to a message on Discord: what everybody who reads there may see, as it stands now."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogs.memory.context_builder import MemoryContext, estimate_tokens
from cogs.memory.records import Scope
from cogs.memory.surface.conversion import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import discord

    from cogs.memory.surface.access import Permit
    from cogs.memory.surface.services import SurfaceServices

ATTEMPTS: Final = 3
"""How often a context is built anew because something in it was gone, changed or closed meanwhile."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """What is wrong with a context."""

    lost: set[int]
    """Messages that are gone, or of which nobody can tell."""
    changed: bool
    """Whether messages say something else by now."""
    closed: frozenset[int]
    """Channels that not everybody may read any more."""


class ReplyContexts:
    """Asks the memory on behalf of all readers of a channel.

    Args:
        services: the memory, the rules, and what knows whether stored messages still stand.
    """

    def __init__(self, services: SurfaceServices) -> None:
        self._services = services

    async def build(
        self,
        message: discord.Message,
        *,
        query: str | None = None,
        token_budget: int = 1000,
        per_author: int | None = None,
        count_tokens: Callable[[str], int] = estimate_tokens,
        gate: bool = True,
        exclude: Iterable[int] = (),
    ) -> MemoryContext:
        """See `MemoryCog.build_context`."""
        guild = message.guild
        if guild is None or await self._services.settings.is_opted_out(guild.id, message.author.id):
            return MemoryContext.nothing("not allowed")
        settings = await self._services.settings.get(guild.id)
        author = await self._services.access.author_of(message)
        permit = await self._services.access.public(guild, author, message.channel.id)
        question = self._question(message) if query is None else query
        left_out, channels = {message.id, *exclude}, permit.channel_ids
        for _ in range(ATTEMPTS):
            if not channels:
                return MemoryContext.nothing("not allowed")
            context = await self._services.memory.build_context(
                question,
                Scope(guild.id, channels),
                token_budget=token_budget,
                per_author=per_author,
                count_tokens=count_tokens,
                gate=gate,
                exclude=left_out,
                instruction=settings.instruction,
            )
            standing = await self._standing(context, permit)
            if not (standing.lost or standing.changed or standing.closed):
                return context
            left_out |= standing.lost
            channels -= standing.closed
        return MemoryContext.nothing("not allowed")

    async def _standing(self, context: MemoryContext, permit: Permit) -> _Standing:
        """Look on Discord, unless it is known since the last gap, and at the rules of this moment."""
        quoted = {source.message.id: source.message for source in context.sources}
        current = (await self._services.history.verification.verify(quoted.values())).current
        lost = quoted.keys() - current.keys()
        changed = any(current[i].text != message.text for i, message in quoted.items() if i in current)
        if changed:
            await self._services.memory.queue.stored(permit.guild_id)  # what was changed is remembered anew by then
        shown = frozenset(message.channel_id for message in quoted.values())
        return _Standing(lost, changed, shown - await self._services.access.still_allowed(permit, shown))

    def _question(self, message: discord.Message) -> str:
        """What a message says, without the mention by which the bot was called."""
        user = self._services.bot.user
        called = rf"<@!?{user.id}>" if user is not None else r"(?!)"
        return readable(re.sub(called, " ", message.content), message)
