"""When a reply that is being written is shown: often enough to be followed, seldom enough for Discord."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

EDIT_EVERY_S: Final = 1.5
"""Seconds between two edits. Discord takes about one a second in a channel, from all of a bot's replies together."""
FEWEST_NEW: Final = 12
"""Characters that make an edit worth while, unless the text stands still."""


class EditPace:
    """Says when a growing text is to be shown. Pure: the caller brings the time.

    The first words are shown at once, further ones every so often and ever less often the longer the text has grown;
    what is shown last is the caller's to send when the text ends.

    Args:
        every_s: seconds between two edits at the beginning.
        fewest_new: characters that an edit brings at least; fewer wait for one more interval.
    """

    def __init__(self, *, every_s: float = EDIT_EVERY_S, fewest_new: int = FEWEST_NEW) -> None:
        self._every_s = every_s
        self._fewest_new = fewest_new
        self._shown_at: float | None = None
        self._shown = 0
        self.text = ""
        """All that has come so far."""

    def add(self, piece: str) -> None:
        """Take in what came."""
        self.text += piece

    def due_in(self, now: float) -> float | None:
        """Return the seconds until the text is to be shown, 0 for now; None while there is nothing new to show."""
        new = len(self.text) - self._shown
        if new == 0 or not self.text.strip():
            return None
        if self._shown_at is None:
            return 0.0
        wait = self._every_s * (1 + len(self.text) // 1000) * (1 if new >= self._fewest_new else 2)
        return max(0.0, self._shown_at + wait - now)

    def shown(self, now: float) -> None:
        """Note that the whole text is shown."""
        self._shown_at = now
        self._shown = len(self.text)


async def snapshots(
    pieces: AsyncIterator[str], *, pace: EditPace | None = None, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[str]:
    """Yield the text so far whenever it is to be shown, and the whole text last, unless nothing came.

    The text is shown in time even while no further piece comes. What ``pieces`` raises comes through after the text
    so far was yielded; when the caller leaves early, ``pieces`` is closed.
    """
    pace = pace or EditPace()
    coming: asyncio.Task[str | None] | None = None
    try:
        while True:
            coming = coming or asyncio.create_task(_next(pieces))
            await asyncio.wait([coming], timeout=pace.due_in(clock()))
            if coming.done():
                ended, coming = coming, None
                piece = ended.result() if ended.exception() is None else None
                if piece is None:
                    if pace.due_in(clock()) is not None:
                        pace.shown(clock())
                        yield pace.text
                    ended.result()  # raises what went wrong
                    return
                pace.add(piece)
            if pace.due_in(clock()) == 0:
                pace.shown(clock())
                yield pace.text
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait([coming])
        if (close := getattr(pieces, "aclose", None)) is not None:
            await close()


async def _next(pieces: AsyncIterator[str]) -> str | None:
    """Return the next piece, None after the last."""
    return await anext(pieces, None)
