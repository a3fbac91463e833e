"""One run through the history of a guild or a channel."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from cogs.memory.exceptions import StoreError

from .backfill_progress import BackfillProgress, ChannelShare, RunState, estimate
from .backfill_record import checkpoint_key
from .places import archives_of, places_of
from .walk import ArchiveWalk, Checkpoint, HistoryWalk, decode_checkpoint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import discord

    from .backfill_record import BackfillRecord
    from .places import Place
    from .tools import HistoryTools

log = logging.getLogger(__name__)

STORE_RETRY_S = 60.0
"""Pause before a store that refused is asked again."""
RATE_PAGES = 30
"""Pages over which the speed is measured."""


class BackfillRun:
    """Reads the channels of a guild in turns, a page each, so that the newest of everywhere comes first.

    Args:
        guild: as the gateway knows it now.
        record: what is to be read, and for whom.
        tools: what history is read with.
        again: try parked channels at once; and if only one channel is to be read, read it anew if it was read before.
    """

    def __init__(
        self, guild: discord.Guild, record: BackfillRecord, tools: HistoryTools, *, again: bool = False
    ) -> None:
        self.record = record
        self.state = RunState.RUNNING
        self.problem: str | None = None
        self._guild = guild
        self._tools = tools
        self._again = again
        self._walks: list[HistoryWalk] = []
        self._archives: list[ArchiveWalk] = []
        self._known: set[int] = set()
        self._go = asyncio.Event()
        self._go.set()
        self._paused = asyncio.Event()
        self._pages: deque[tuple[float, int]] = deque(maxlen=RATE_PAGES)

    async def run(self) -> None:
        """Read until nothing is left but what is closed to the bot. Raises StoreError."""
        await self._prepare()
        while waiting := [walk for walk in self._all() if not walk.done]:
            ready = [walk for walk in waiting if not walk.parked_s]
            later = [walk.parked_s for walk in waiting if not walk.refused]
            if ready:
                for walk in ready:
                    await self._go.wait()
                    await self._advance(walk)
            elif later:
                await self._wait(min(later), "Discord keeps failing.")
            else:
                break
        self.state = RunState.DONE

    def pause(self) -> None:
        """Stop after the current page."""
        self._go.clear()
        self._paused.set()
        self.state = RunState.PAUSED
        self._pages.clear()

    def resume(self) -> None:
        """Go on."""
        self.state = RunState.RUNNING
        self._paused.clear()
        self._go.set()

    async def paused(self) -> None:
        """Wait for a pause."""
        await self._paused.wait()

    async def reopen(self, place_ids: Collection[int]) -> None:
        """Read places again from their newest message. Raises StoreError."""
        for walk in self._walks:
            if walk.place.id in place_ids:
                await walk.restart()

    async def end_in(self, channel_id: int) -> None:
        """Read no further in a channel and its threads. Raises StoreError."""
        for walk in self._walks:
            if channel_id in (walk.place.id, getattr(walk.place, "parent_id", None)):
                await walk.end(await self._tools.intake.floor(walk.place))

    @property
    def retry_s(self) -> float | None:
        """Seconds until what is closed to the bot may be tried again; None if nothing is."""
        return min((walk.parked_s for walk in self._walks if walk.refused and not walk.done), default=None)

    def progress(self) -> BackfillProgress:
        """Return how far it has come."""
        finished = [walk.done or walk.refused for walk in self._walks]
        shares = [
            ChannelShare(walk.checkpoint.pages, 1.0 if over else walk.share)
            for walk, over in zip(self._walks, finished, strict=True)
        ]
        share, pages_left = estimate(shares)
        seconds, messages = self._measured()
        page_s = seconds / (len(self._pages) - 1) if len(self._pages) > 1 else None
        return BackfillProgress(
            state=self.state,
            owner_id=self.record.owner_id,
            channels_done=sum(finished),
            channels_total=len(self._walks),
            refused=tuple(walk.place.id for walk in self._walks if walk.refused),
            messages=sum(walk.checkpoint.messages for walk in self._walks),
            share=share,
            messages_per_s=messages / seconds if seconds > 0 else 0.0,
            seconds_left=pages_left * page_s if page_s is not None else None,
            problem=self.problem,
        )

    def _measured(self) -> tuple[float, int]:
        """Seconds and messages of the last pages."""
        if len(self._pages) < 2:
            return 0.0, 0
        return self._pages[-1][0] - self._pages[0][0], sum(count for _, count in list(self._pages)[1:])

    def _all(self) -> Sequence[HistoryWalk | ArchiveWalk]:
        return [*self._walks, *self._archives]

    async def _prepare(self) -> None:
        await self._add(self._places())
        for channel in self._parents():
            if await self._tools.places.wanted(channel):
                self._archives += [ArchiveWalk(archive, self._tools, self._add) for archive in archives_of(channel)]

    def _parents(self) -> list[discord.abc.GuildChannel]:
        only = self.record.only
        return [channel for channel in self._guild.channels if only is None or channel.id == only]

    def _places(self) -> list[Place]:
        only = self.record.only
        places = places_of(self._guild)
        if only is None:
            return places
        return [place for place in places if only in (place.id, getattr(place, "parent_id", None))]

    async def _add(self, places: Iterable[Place]) -> None:
        """Take places up, those of them that are wanted and new."""
        new = [place for place in places if place.id not in self._known]
        wanted = [place for place in new if await self._tools.places.wanted(place)]
        await self._tools.places.learn(self._guild.id, wanted)
        self._known.update(place.id for place in new)
        for place in wanted:
            self._walks.append(await self._walk(place))

    async def _walk(self, place: Place) -> HistoryWalk:
        key, floor = checkpoint_key(place.id), await self._tools.intake.floor(place)
        checkpoint = decode_checkpoint(await self._tools.memory.store.get_setting(self._guild.id, key), floor)
        if self._again and checkpoint.done and self.record.only is not None:
            checkpoint = Checkpoint(floor=floor)
        walk = HistoryWalk(place, checkpoint, self._tools, key=key)
        if self._again:
            await walk.unpark()
        return walk

    async def _advance(self, walk: HistoryWalk | ArchiveWalk) -> None:
        before = self._messages(walk)
        try:
            await walk.advance()
        except StoreError as error:
            await self._wait(STORE_RETRY_S, str(error))
            return
        if isinstance(walk, HistoryWalk):
            self._pages.append((time.monotonic(), self._messages(walk) - before))

    async def _wait(self, seconds: float, problem: str) -> None:
        log.warning("The back-fill of guild %d waits %.0f s: %s", self._guild.id, seconds, problem)
        self.problem = problem
        self.state = RunState.WAITING
        self._pages.clear()
        await asyncio.sleep(seconds)
        self.problem = None
        if self.state is RunState.WAITING:
            self.state = RunState.RUNNING

    @staticmethod
    def _messages(walk: HistoryWalk | ArchiveWalk) -> int:
        return walk.checkpoint.messages if isinstance(walk, HistoryWalk) else 0
