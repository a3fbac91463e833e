"""What every provider's pieces go through: a deadline, and no thoughts among them."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from cogs.chat.providers.failures import ProviderFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

P = TypeVar("P")

FIRST_SHARE: Final = 0.5
"""Share of the whole time that may pass before the first piece."""

_OPENING: Final = "<think>"
_CLOSING: Final = "</think>"


async def within_deadline(
    pieces: AsyncIterator[str], seconds: float, *, first_s: float | None = None
) -> AsyncIterator[str]:
    """Yield the pieces, as long as they come in time; they are closed at the end, whichever it is.

    Args:
        pieces: of a reply; what they raise comes through.
        seconds: for all of them, from now on.
        first_s: for the first one; None for half of the whole time.

    Raises:
        ProviderFailed: the time is over.
    """
    start = asyncio.get_running_loop().time()
    deadline = start + (FIRST_SHARE * seconds if first_s is None else first_s)
    async with closing(pieces):
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    piece = await anext(pieces, None)
            except TimeoutError:
                raise ProviderFailed("slow") from None
            if piece is None:
                return
            yield piece
            deadline = start + seconds


@asynccontextmanager
async def closing(pieces: AsyncIterator[P]) -> AsyncIterator[AsyncIterator[P]]:
    """Close the pieces in the end, if they can be closed; left to themselves they close some time later."""
    try:
        yield pieces
    finally:
        if (close := getattr(pieces, "aclose", None)) is not None:
            await close()


class ThoughtFilter:
    """Takes out what a model thinks aloud, between ``<think>`` and ``</think>``, though the tags may come in pieces.

    Args:
        thinking: whether the model's prompt ends in the middle of a thought.
    """

    def __init__(self, *, thinking: bool = False) -> None:
        self._thinking = thinking
        self._held = ""
        self._begun = False

    def feed(self, piece: str) -> str:
        """Return what of the text so far is certain to be no thought and was not returned before."""
        self._held += piece
        said = ""
        while True:
            tag = _CLOSING if self._thinking else _OPENING
            before, found, after = self._held.partition(tag)
            if not found:
                break
            said += "" if self._thinking else before
            self._held = after
            self._thinking = not self._thinking
        kept = _beginning_of_tag(self._held)
        if not self._thinking:
            said += self._held[: len(self._held) - kept]
        self._held = self._held[len(self._held) - kept :]
        return self._clean(said)

    def finish(self) -> str:
        """Return what was held back because it could have become a tag."""
        held, self._held = self._held, ""
        return "" if self._thinking else self._clean(held)

    def _clean(self, said: str) -> str:
        """Leave out a stray end of a thought, and what stands before the first word."""
        said = said.replace(_CLOSING, "")
        if not self._begun:
            said = said.lstrip()
        self._begun = self._begun or bool(said)
        return said


def _beginning_of_tag(text: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a tag."""
    match = re.search(r"<[/think]{0,7}$", text)
    tail = match.group() if match else ""
    return len(tail) if tail and (_OPENING.startswith(tail) or _CLOSING.startswith(tail)) else 0
