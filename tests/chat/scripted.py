"""A provider that says what a test wants, when it wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogs.memory.context_builder import estimate_tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cogs.chat.conversation import Conversation
    from cogs.memory.recall_records import RecalledMessage

    Script = Callable[[Conversation], AsyncIterator[str]]


class ScriptedProvider:
    """Asked for a reply, it runs the test's script; what it was asked is in ``asked``."""

    def __init__(self, script: Script, *, name: str = "scripted", remote: bool = False) -> None:
        self.name = name
        self.remote = remote
        self.asked: list[Conversation] = []
        self.closed = False
        self.script = script

    async def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        self.asked.append(conversation)
        async for piece in self.script(conversation):
            yield piece

    def count_tokens(self, text: str) -> int:
        return estimate_tokens(text)

    async def close(self) -> None:
        self.closed = True


def saying(*pieces: str, between: Callable[[], Awaitable[None]] | None = None) -> Script:
    """A script of fixed pieces; ``between`` is awaited after each but the last."""

    async def script(_: Conversation) -> AsyncIterator[str]:
        for number, piece in enumerate(pieces):
            if number and between is not None:
                await between()
            yield piece

    return script


def repeating(prefix: str = "I was told:") -> Script:
    """A script that repeats every quote that it is given, as a careless model does."""

    async def script(conversation: Conversation) -> AsyncIterator[str]:
        yield prefix
        for number, source in enumerate(sources_of(conversation), start=1):
            yield f" {source.message.text} [{number}]"

    return script


def sources_of(conversation: Conversation) -> tuple[RecalledMessage, ...]:
    """What a conversation quotes."""
    return conversation.memory.sources if conversation.memory else ()
