"""A provider that always answers: with quotes and one honest sentence where the language model does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogs.chat.exceptions import ReplyFailed
from cogs.chat.providers.extractive import ExtractiveProvider
from cogs.chat.providers.failures import ProviderFailed
from cogs.chat.providers.pieces import closing, within_deadline
from cogs.chat.providers.reply_texts import ENGLISH, ReplyTexts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cogs.chat.conversation import Conversation
    from cogs.chat.providers import ReplyProvider


def with_fallback(
    provider: ReplyProvider, *, texts: ReplyTexts = ENGLISH, deadline_s: float | None = None
) -> ReplyProvider:
    """Return the provider, but with the extractive answer wherever it fails; its replies never raise `ReplyFailed`.

    Args:
        provider: the one that is asked first.
        texts: the language of what is said in its place.
        deadline_s: seconds for a whole reply, half of them for its first piece; None where the provider keeps one.
    """
    return provider if isinstance(provider, ExtractiveProvider) else _WithFallback(provider, texts, deadline_s)


class _WithFallback:
    def __init__(self, provider: ReplyProvider, texts: ReplyTexts, deadline_s: float | None) -> None:
        self.name = provider.name
        self.remote = provider.remote
        self._provider = provider
        self._texts = texts
        self._deadline_s = deadline_s

    async def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        begun = False
        failure = ProviderFailed("empty").sentence(self._texts)
        try:
            async with closing(self._pieces(conversation)) as pieces:
                async for piece in pieces:
                    begun = begun or bool(piece.strip())
                    yield piece
            if begun:
                return
        except ProviderFailed as failed:
            failure = failed.sentence(self._texts)
        except ReplyFailed as failed:
            failure = str(failed)
        answer = ExtractiveProvider(self._texts).answer(conversation.memory)
        if begun:
            yield "\n\n"
        yield f"{failure}\n{answer}"

    def _pieces(self, conversation: Conversation) -> AsyncIterator[str]:
        pieces = self._provider.reply(conversation)
        return pieces if self._deadline_s is None else within_deadline(pieces, self._deadline_s)

    def count_tokens(self, text: str) -> int:
        return self._provider.count_tokens(text)

    async def close(self) -> None:
        await self._provider.close()
