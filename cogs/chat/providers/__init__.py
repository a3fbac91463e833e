"""Where replies come from: one protocol, and a file for each kind of provider behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cogs.chat.conversation import Conversation


class ReplyProvider(Protocol):
    """Makes the text of a reply. Used by one event loop; several replies may run at once."""

    name: str
    """What people call it, e.g. ``extractive`` or ``openai: llama3.1 at localhost``."""
    remote: bool
    """True where what was said leaves this machine: needs the guild's consent and is named in the privacy text."""

    def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        """Yield the reply piece by piece; citations of the memory's sources carry their number: ``[1]``.

        Raises:
            ReplyFailed: it cannot answer; its text is a sentence for the channel. Pieces may have been yielded before.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """Return the tokens of a text by the model's tokenizer, or a safe estimate of them."""
        ...

    async def close(self) -> None:
        """Let go of connections and models; may be called twice."""
