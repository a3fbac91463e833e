"""Reading one channel from its newest message down, with a checkpoint after each page."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from .discord_requests import PAGE, AccessRefused, DiscordUnwell, PlaceGone
from .places import may_read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import discord

    from .places import Archive, Place
    from .tools import HistoryTools

PARKED_S: Final = 6 * 3600.0
"""How long a channel that is closed to the bot is left alone: refusals in masses would ban its address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How far a walk has come. What lies above ``before`` is in the store."""

    top: int | None = None
    """The newest message there was when the walk began."""
    before: int | None = None
    """The next page lies below this id; None before the first page."""
    floor: int = 0
    """The walk ends at this id."""
    messages: int = 0
    pages: int = 0
    done: bool = False
    refused: bool = False
    """Whether the place was closed to the bot at the last try."""
    parked_until: float = 0.0
    """Not to be tried again before this moment (Unix time: it outlives the process)."""

    @property
    def parked_s(self) -> float:
        """Seconds until the next try; bounded, whatever the clock has done meanwhile."""
        return min(PARKED_S, max(0.0, self.parked_until - time.time()))

    def share(self, bottom: int) -> float:
        """Estimate which share of the way to the id ``bottom`` is done, 0–1, as if all times were equally busy."""
        if self.done:
            return 1.0
        if self.top is None or self.before is None:
            return 0.0
        bottom = max(bottom, self.floor)
        return min(0.99, max(0.0, (self.top - self.before) / max(1, self.top - bottom)))


class HistoryWalk:
    """Reads a place page by page into the memory.

    A page's checkpoint is written when the page is durable, so after a kill the walk goes on with no gap, and what is
    read twice is stored once.

    Args:
        place: a channel or thread.
        checkpoint: where to begin.
        tools: what history is read with.
        key: the setting that keeps the checkpoint; None keeps none.
    """

    def __init__(self, place: Place, checkpoint: Checkpoint, tools: HistoryTools, *, key: str | None = None) -> None:
        self.place = place
        self.checkpoint = checkpoint
        self._tools = tools
        self._key = key

    @property
    def done(self) -> bool:
        """Whether there is nothing left to read."""
        return self.checkpoint.done

    @property
    def refused(self) -> bool:
        """Whether the place is closed to the bot."""
        return self.checkpoint.refused

    @property
    def parked_s(self) -> float:
        """Seconds for which it is to be left alone."""
        return self.checkpoint.parked_s

    @property
    def share(self) -> float:
        """The estimated share of the way that is done, 0–1."""
        return self.checkpoint.share(self.place.id)

    async def advance(self) -> None:
        """Read one page, or park the walk where that is not possible. Raises StoreError."""
        try:
            await self._read_page()
        except PlaceGone:
            await self._save(replace(self.checkpoint, done=True, refused=False))
        except AccessRefused:
            await self._park(PARKED_S, refused=True)
        except DiscordUnwell:
            await self._park(self._tools.unwell_s, refused=False)

    async def unpark(self) -> None:
        """Let the walk be tried again at once. Raises StoreError."""
        if self.checkpoint.parked_until:
            await self._save(replace(self.checkpoint, parked_until=0.0))

    async def restart(self) -> None:
        """Begin again at the newest message. Raises StoreError."""
        await self._save(Checkpoint(floor=self.checkpoint.floor))

    async def end(self, floor: int) -> None:
        """Count the place as read down to an id; a lower floor lets a later walk go on. Raises StoreError."""
        await self._save(replace(self.checkpoint, floor=floor, done=True, refused=False))

    async def _read_page(self) -> None:
        start = self.checkpoint
        guild_id, tools = self.place.guild.id, self._tools
        epoch = tools.verified.epoch(guild_id)
        page = await tools.requests(guild_id).page(self.place, start.before) if may_read(self.place) else []
        # Without the right Discord gives an empty page, not an error.
        if not page and not may_read(self.place):
            await self._park(PARKED_S, refused=True)
            return
        wanted = [message for message in page if message.id > start.floor]
        taken = await tools.intake.take(guild_id, epoch, wanted)
        if self.checkpoint is start:  # else it was told to begin again
            await self._save(_advanced(start, page, len(wanted), len(taken)))

    async def _park(self, seconds: float, *, refused: bool) -> None:
        await self._save(replace(self.checkpoint, refused=refused, parked_until=time.time() + seconds))

    async def _save(self, checkpoint: Checkpoint) -> None:
        if self._key is not None:
            await self._tools.memory.store.put_setting(self.place.guild.id, self._key, json.dumps(asdict(checkpoint)))
        self.checkpoint = checkpoint


def _advanced(start: Checkpoint, page: Sequence[discord.Message], wanted: int, taken: int) -> Checkpoint:
    """The checkpoint after a page of which so many lay above the floor, and so many were remembered."""
    ids = [message.id for message in page]
    return replace(
        start,
        top=start.top or max(ids, default=None),
        before=min(ids, default=start.before),
        messages=start.messages + taken,
        pages=start.pages + 1,
        done=len(page) < PAGE or wanted < len(page),
        refused=False,
        parked_until=0.0,
    )


class ArchiveWalk:
    """Looks through an archive for threads, a page at a time.

    Args:
        archive: which one.
        tools: what history is read with.
        found: is given each page of threads.
    """

    def __init__(
        self, archive: Archive, tools: HistoryTools, found: Callable[[list[discord.Thread]], Awaitable[None]]
    ) -> None:
        self.done = False
        self.refused = False
        self._archive = archive
        self._tools = tools
        self._found = found
        self._parked_until = 0.0

    @property
    def parked_s(self) -> float:
        """Seconds for which it is to be left alone."""
        return max(0.0, self._parked_until - time.monotonic())

    async def advance(self) -> None:
        """Read one page of threads. Raises StoreError."""
        try:
            threads = await self._tools.requests(self._archive.parent.guild.id).ask(self._archive.page)
        except DiscordUnwell:
            self._parked_until = time.monotonic() + self._tools.unwell_s
        except (AccessRefused, PlaceGone):
            self.done = True
        else:
            await self._found(threads)
            self.done = not threads


def decode_checkpoint(text: str | None, floor: int) -> Checkpoint:
    """Return a stored checkpoint, or the beginning; one that ended above ``floor`` goes on down to it."""
    if text is None:
        return Checkpoint(floor=floor)
    checkpoint = Checkpoint(**json.loads(text))
    if floor < checkpoint.floor:
        return replace(checkpoint, floor=floor, done=False)
    return checkpoint if checkpoint.done else replace(checkpoint, floor=floor)
