"""The chat in the local console: the same replies as on Discord, for the machine's owner, who may read everything."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from cogs.chat.conversation import Turn
from cogs.chat.providers.reply_texts import ENGLISH as REPLY_TEXTS
from cogs.chat.reply_flow import Order, named_sources, reply
from cogs.chat.request import FLAG, parse_request
from cogs.chat.texts import ENGLISH
from cogs.memory.surface.cli.lookup import resolve_scope
from cogs.memory.surface.cli.output import console
from cogs.memory.surface.cli.recall_command import choose_guild

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from cogs.chat.provider_choice import ProviderChoice
    from cogs.chat.reply_flow import Draft
    from cogs.memory.context_builder import MemoryContext
    from cogs.memory.memory_service import MemoryService
    from cogs.memory.records import Scope, StoredMessage

TURNS: Final = 12
"""Messages of the conversation that are kept."""


class ConsoleChat:
    """A conversation in a terminal.

    Args:
        memory: the running memory.
        providers: the owner's; the one that the settings name replies, wherever it is.
    """

    def __init__(self, memory: MemoryService, providers: ProviderChoice) -> None:
        self._memory = memory
        self._providers = providers
        self._turns: deque[Turn] = deque(maxlen=TURNS)

    async def answer(self, line: str, guild: str | None = None) -> None:
        """Print the reply to what was typed, out of the named server, or the only one. Raises MemoryCogError."""
        request = parse_request(line)
        if not request.text:
            console.print(ENGLISH.help.format(flag=FLAG), markup=False)
            return
        guild_id = await choose_guild(self._memory, guild)
        scope = await resolve_scope(self._memory, guild_id)
        channels = {channel.id: channel.name for channel in await self._memory.store.channels(guild_id)}
        self._turns.append(Turn("user", "you", request.text))
        page = _Terminal(channels)
        order = Order(
            question=request.text,
            turns=tuple(self._turns),
            provider=self._providers.owners,
            texts=REPLY_TEXTS,
            instead=ENGLISH.instead(None if request.wants_memory else ENGLISH.memory_unwanted),
            uses_memory=request.wants_memory,
        )
        await reply(order, _Owner(self._memory, scope), page)
        self._turns.append(Turn("assistant", "bot", page.text))

    async def close(self) -> None:
        """Let go of the providers."""
        await self._providers.close()


class _Owner:
    """The reader who may see everything; nothing changes on Discord while he looks, for there is no Discord."""

    def __init__(self, memory: MemoryService, scope: Scope) -> None:
        self._memory = memory
        self._scope = scope

    async def context(
        self, question: str, *, token_budget: int, count_tokens: Callable[[str], int], exclude: Collection[int]
    ) -> MemoryContext:
        return await self._memory.build_context(
            question, self._scope, token_budget=token_budget, count_tokens=count_tokens, exclude=exclude
        )

    async def may_see(self, messages: Sequence[StoredMessage]) -> bool:
        return True


class _Terminal:
    """Prints a reply as it grows."""

    def __init__(self, channels: dict[int, str]) -> None:
        self._channels = channels
        self.text = ""

    async def show(self, draft: Draft, check: Callable[[], Awaitable[None]]) -> None:
        await check()
        if not draft.text.startswith(self.text):
            console.print()
            self.text = ""
        console.print(draft.text[len(self.text) :], end="", markup=False)
        self.text = draft.text
        if draft.complete:
            console.print()
            for number in named_sources(draft):
                console.print(self._source(number, draft.sources[number - 1]), style="dim", markup=False)

    async def take_back(self) -> None:
        self.text = ""

    def _source(self, number: int, message: StoredMessage) -> str:
        place = f" in #{self._channels[message.channel_id]}" if message.channel_id in self._channels else ""
        return f"[{number}] {message.author_name}{place}, {message.created_at:%Y-%m-%d %H:%M}"
