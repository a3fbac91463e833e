"""From a question to a reply, with the memory of what its readers may see; for Discord and for the console alike.

    context → provider, piece by piece → each time before it is shown: may it still be?
       ↑                                                                    ↓ no
       └─────────────────────────────────────────────────────── what was shown is taken back

Nothing here knows Discord: who the readers are, and where the reply appears, come from outside.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol, get_args

from cogs.chat.conversation import Conversation
from cogs.chat.counters import ReplyCost
from cogs.chat.exceptions import ReplyFailed
from cogs.chat.pacing import snapshots
from cogs.chat.providers.extractive import ExtractiveProvider
from cogs.chat.providers.fallback import with_fallback
from cogs.chat.providers.pieces import closing
from cogs.memory.context_builder import Outcome, estimate_tokens

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence

    from cogs.chat.conversation import Turn
    from cogs.chat.providers import ReplyProvider
    from cogs.chat.providers.reply_texts import ReplyTexts
    from cogs.memory.context_builder import MemoryContext
    from cogs.memory.records import StoredMessage

log = logging.getLogger(__name__)

ATTEMPTS: Final = 3
"""How often a reply is begun because what it quotes was gone, changed or hidden meanwhile; then it gets no memory."""

UNCITED: Final = 3
"""Sources named under a reply that cites none by number."""
MAX_NAMED: Final = 10
"""Sources named under one reply."""
_CITED = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
END_FOLLOWS_S: Final = 0.05
"""Seconds that a text is held back, in case it was the last."""


class Readers(Protocol):
    """Everybody who will see a reply."""

    async def context(
        self, question: str, *, token_budget: int, count_tokens: Callable[[str], int], exclude: Collection[int]
    ) -> MemoryContext:
        """Return quotes of what all readers may see, as it stands at this moment. Raises MemoryCogError."""

    async def may_see(self, messages: Sequence[StoredMessage]) -> bool:
        """Whether all of the messages still stand as stored, and all readers may see them, at this moment."""


class Page(Protocol):
    """Where a reply appears."""

    async def show(self, draft: Draft, check: Callable[[], Awaitable[None]]) -> None:
        """Show the reply so far in place of what was shown of it before.

        ``check`` is awaited right before anything is sent; what it raises goes through.
        """

    async def take_back(self) -> None:
        """Leave nothing of what was shown, because it may not be seen any more; the reply is begun anew."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A reply so far."""

    text: str
    sources: tuple[StoredMessage, ...] = ()
    """What its numbers stand for: [1] is the first."""
    quoted: tuple[StoredMessage, ...] = ()
    """Every message that its text may be made from."""
    notes: tuple[str, ...] = ()
    """Sentences under it: what went otherwise than wished."""
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Instead:
    """What is said in place of quotes when there are none to be had; that nothing was found, the provider says."""

    without_memory: str
    """The memory was not to be asked."""
    nothing_asked: str
    """What was said needs no memory."""
    out_of_time: str
    """The memory gave no answer in time."""
    not_shareable: str
    """What was found was hidden, changed or deleted while the reply was made."""

    def of(self, context: MemoryContext | None) -> str | None:
        """Return the sentence for a context; None if the provider has something to say to it."""
        if context is None:
            return self.without_memory
        if context.reason == "out of time":
            return self.out_of_time
        if context.reason == "not allowed":
            return self.not_shareable
        return None if context.reason in get_args(Outcome) else self.nothing_asked


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be replied to, and how."""

    question: str
    turns: tuple[Turn, ...]
    """The conversation; the last turn is to be answered."""
    provider: ReplyProvider
    texts: ReplyTexts
    """The language of quotes, and of what is said when a model fails."""
    instead: Instead
    uses_memory: bool = True
    persona: str = ""
    memory_tokens: int = 1000
    is_noise: Callable[[StoredMessage], bool] = lambda _: False
    """Tells messages that are no source, such as questions that the bot was asked before."""
    notes: tuple[str, ...] = ()


class SourcesLost(Exception):
    """Something that a reply draws on may not be shown any more."""


async def reply(order: Order, readers: Readers, page: Page) -> ReplyCost:
    """Reply, and return what it cost.

    Raises:
        MemoryCogError: the memory failed.
    """
    start, context = time.perf_counter(), None
    writing = _Writing(order, readers, page)
    for attempt in range(ATTEMPTS + 1):
        exhausted = attempt == ATTEMPTS
        context = await _context(order, readers) if order.uses_memory and not exhausted else None
        try:
            await writing.write(context, order.instead.not_shareable if exhausted else order.instead.of(context))
            break
        except SourcesLost:
            log.info("A source of a reply is not to be shown any more; the reply is made again")
            await page.take_back()
    return ReplyCost(
        provider=order.provider.name,
        milliseconds=1000 * (time.perf_counter() - start),
        tokens_read=writing.read,
        tokens_written=writing.written,
        used_memory=context is not None and bool(context.sources),
        fell_back=writing.fell_back,
    )


async def _context(order: Order, readers: Readers) -> MemoryContext:
    """Return quotes without noise; further noise that comes in its place is left out as well, a few times over."""
    noise: set[int] = set()
    for _ in range(ATTEMPTS):
        context = await readers.context(
            order.question,
            token_budget=order.memory_tokens,
            count_tokens=order.provider.count_tokens,
            exclude=noise,
        )
        found = {message.id for message in quoted_in(context) if order.is_noise(message)}
        if not found:
            break
        noise |= found
    return context


class _Writing:
    """The attempts at one reply, and what they cost together."""

    def __init__(self, order: Order, readers: Readers, page: Page) -> None:
        self._order = order
        self._readers = readers
        self._page = page
        self.read = self.written = 0
        self.fell_back = False

    async def write(self, context: MemoryContext | None, instead: str | None) -> None:
        """Write the reply with these quotes.

        Args:
            context: the quotes, if any.
            instead: what a provider that only quotes says; None if it has its own words for the context.

        Raises:
            SourcesLost: some of the quotes may not be shown any more; what was shown is still there.
        """
        order = self._order
        quoted = quoted_in(context) if context else ()
        sources = tuple(source.message for source in context.sources) if context else ()

        async def check() -> None:
            if quoted and not await self._readers.may_see(quoted):
                raise SourcesLost

        draft = Draft("", sources, quoted, order.notes)
        conversation = Conversation(order.persona, order.turns, context)
        self.read += estimate_tokens("".join(turn.text for turn in order.turns) + (context.text if context else ""))
        async with aclosing(_with_end(self._texts(conversation, instead))) as texts:
            async for text, is_last in texts:
                draft = replace(draft, text=text, complete=is_last)
                await self._page.show(draft, check)
        self.written += estimate_tokens(draft.text)

    async def _texts(self, conversation: Conversation, instead: str | None) -> AsyncGenerator[str]:
        """Yield the reply as it grows."""
        order = self._order
        if isinstance(order.provider, ExtractiveProvider):
            yield instead or ExtractiveProvider(order.texts).answer(conversation.memory)
            return
        answering = with_fallback(_Observed(order.provider, self._note_failure), texts=order.texts)
        async with closing(snapshots(answering.reply(conversation))) as growing:
            async for text in growing:
                yield text

    def _note_failure(self, failure: ReplyFailed | None) -> None:
        log.warning("%s gave no reply: %s", self._order.provider.name, failure or "it said nothing")
        self.fell_back = True


class _Observed:
    """A provider, and somebody who is told when it fails."""

    def __init__(self, provider: ReplyProvider, on_failure: Callable[[ReplyFailed | None], None]) -> None:
        self.name, self.remote = provider.name, provider.remote
        self.count_tokens, self.close = provider.count_tokens, provider.close
        self._provider = provider
        self._on_failure = on_failure

    async def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        said = False
        try:
            async with closing(self._provider.reply(conversation)) as pieces:
                async for piece in pieces:
                    said = said or bool(piece.strip())
                    yield piece
        except ReplyFailed as failure:
            self._on_failure(failure)
            raise
        if not said:
            self._on_failure(None)


async def _with_end(texts: AsyncGenerator[str]) -> AsyncGenerator[tuple[str, bool]]:
    """Yield the texts, and whether each is the last: one that the end follows at once needs no second edit."""
    text, coming = "", None
    async with aclosing(texts):
        try:
            while True:
                coming = coming or asyncio.create_task(_next(texts))
                await asyncio.wait([coming], timeout=END_FOLLOWS_S if text else None)
                if coming.done():
                    following, coming = coming.result(), None
                    if following is None:
                        yield text, True
                        return
                    text = following
                    continue
                yield text, False
                await asyncio.wait([coming])
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.wait([coming])


async def _next(texts: AsyncGenerator[str]) -> str | None:
    return await anext(texts, None)


def quoted_in(context: MemoryContext) -> tuple[StoredMessage, ...]:
    """Return every message that a context quotes."""
    return tuple(source.message for source in context.sources)


def named_sources(draft: Draft) -> list[int]:
    """Return the numbers of the sources to be named: those that the text cites, else the first few."""
    cited = {int(number) for match in _CITED.finditer(draft.text) for number in match[1].split(",")}
    known = [number for number in range(1, len(draft.sources) + 1) if number in cited]
    return (known or list(range(1, len(draft.sources) + 1))[:UNCITED])[:MAX_NAMED]
