"""The provider that needs no language model: it quotes what the memory found, and says so when that is nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogs.chat.providers.reply_texts import ENGLISH, ReplyTexts
from cogs.chat.reply_text import safe_prose
from cogs.memory.context_builder import estimate_tokens, quote
from cogs.memory.surface.markup import cut, escape

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cogs.chat.conversation import Conversation
    from cogs.memory.context_builder import MemoryContext
    from cogs.memory.recall_records import RecalledMessage

MOST_QUOTES: Final = 3
LONGEST_QUOTE: Final = 300
"""Characters of one quote."""


class ExtractiveProvider:
    """Answers with the best memories, each with its number, the best one first.

    Args:
        texts: its language.
    """

    name = "extractive"
    remote = False

    def __init__(self, texts: ReplyTexts = ENGLISH) -> None:
        self._texts = texts

    async def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        """Yield the whole answer at once."""
        yield self.answer(conversation.memory)

    def answer(self, memory: MemoryContext | None) -> str:
        """Return the quotes, or that there are none."""
        if memory is None or not memory.sources:
            return self._texts.nothing
        numbered = sorted(enumerate(memory.sources, start=1), key=lambda item: _place(item[1]))
        lines = [self._quote(number, source) for number, source in numbered[:MOST_QUOTES]]
        return "\n".join([self._texts.remembered, *lines])

    def _quote(self, number: int, source: RecalledMessage) -> str:
        message = source.message
        return self._texts.quoted.format(
            author=f"**{_shown(message.author_name)}**",
            date=f"{message.created_at:%Y-%m-%d}",
            text=_shown(message.text),
            number=f"[{number}]",
        )

    def count_tokens(self, text: str) -> int:
        """Return a safe estimate."""
        return estimate_tokens(text)

    async def close(self) -> None:
        """Do nothing: it holds nothing."""


def _place(source: RecalledMessage) -> tuple[bool, int]:
    """Return what sorts the best first, and what only stands beside what was found last."""
    return source.relevance <= 0, source.rank


def _shown(text: str) -> str:
    """Return what a member wrote on one line, as it is, and harmless."""
    return safe_prose(escape(cut(quote(text), LONGEST_QUOTE)))
