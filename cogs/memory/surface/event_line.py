"""`EventLine`: what the gateway tells, in the order it was told.

discord.py starts a task for each listener of each event. Tasks begin in the order they were made, so whatever a
listener does before its first ``await`` happens in gateway order, and nothing after it does. Listeners therefore turn
an event into a plain value and `put` it here without awaiting; one consumer asks the guild's settings and hands the
events on to the memory, one after the other. Where the memory has several stores there is one for each: guilds whose
store is away hold up no others.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogs.memory.erasure import DRAIN_S
from cogs.memory.exceptions import Busy, StoreError
from cogs.memory.place_counts import PlaceCounts
from cogs.memory.records import ChannelInfo, Scope, StoredMessage
from cogs.memory.surface.guild_settings import DamagedSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogs.memory.erasure import Erasure
    from cogs.memory.surface.guild_settings import GuildSettingsStore

log = logging.getLogger(__name__)

MAX_WAITING = 20_000
"""Events that may wait while the memory's own queue is full; a gateway cannot be told to wait."""
BATCH = 256
RETRY_S = 5.0
"""Pause before a store that failed is asked again."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message that was written or edited."""

    message: StoredMessage
    parent_id: int | None
    edited: bool = False


@dataclass(frozen=True, slots=True)
class Unsaid:
    """Messages that were deleted."""

    guild_id: int
    message_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChannelGone:
    """A channel or thread that was deleted, with all that was said in it."""

    guild_id: int
    channel_id: int


@dataclass(frozen=True, slots=True)
class Named:
    """Channels that appeared or were renamed."""

    channels: tuple[ChannelInfo, ...]


Event = Said | Unsaid | ChannelGone | Named


class _Lane:
    """The events of the guilds of one store, and how many came and went."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self.arrived = asyncio.Event()
        self.handed_on = asyncio.Event()
        self.put = self.applied = 0
        self.lost: set[int] = set()
        """Guilds of which messages found no room."""
        self.consumer: asyncio.Task[None] | None = None

    async def drained(self) -> None:
        """Wait until everything put so far has been handed on."""
        last = self.put
        while self.applied < last:
            self.handed_on.clear()
            await self.handed_on.wait()


class EventLine:
    """Takes events without waiting and applies those of each guild to the memory one after the other.

    Args:
        erasure: what forgets whole channels, and the memory behind it; this line is one of its keepers.
        settings: what each guild lets be remembered.
        size: events that may wait; beyond it new messages (never edits or deletions) of guilds with more than their
            share of the line are dropped and counted.
        on_lost: told, when there is room again, of each guild of which messages were dropped.
    """

    def __init__(
        self,
        erasure: Erasure,
        settings: GuildSettingsStore,
        *,
        size: int = MAX_WAITING,
        on_lost: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._erasure = erasure
        self._memory = erasure.memory
        self._settings = settings
        self._size = size
        self._lanes = [_Lane() for _ in range(self._memory.queue.lanes)]
        self._said: Counter[int] = Counter()
        self._places = PlaceCounts()
        self._on_lost = on_lost
        self.dropped = 0
        """Messages that found no room."""
        self.given_up = 0
        """Events that failed for a reason nobody foresaw; the log has it."""

    def start(self) -> None:
        """Begin to apply events."""
        for lane in self._lanes:
            lane.consumer = asyncio.create_task(self._consume(lane), name="memory event line")

    async def stop(self, timeout_s: float = 2.0) -> None:
        """Hand on what waits, within ``timeout_s``, and stop."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.drained()
        except TimeoutError:
            log.warning("%d events were not applied before the stop", self.waiting)
        for lane in self._lanes:
            if lane.consumer is not None:
                lane.consumer.cancel()
                await asyncio.gather(lane.consumer, return_exceptions=True)
                lane.consumer = None

    @property
    def waiting(self) -> int:
        """Events that the memory has not been told of."""
        return sum(len(lane.events) for lane in self._lanes)

    def holds(self, scope: Scope) -> bool:
        """Whether the memory has not been told of messages from a scope's channels."""
        return self._places.any_in(scope)

    def put(self, event: Event) -> None:
        """Line up an event. Never waits: call it before the first ``await`` of a listener."""
        if isinstance(event, Said):
            if not event.edited and self._finds_no_room(event.message.guild_id):
                self._drop(event)
                return
            self._said[event.message.guild_id] += 1
            self._places.add([event.message])
        lane = self._lane(event)
        lane.events.append(event)
        lane.put += 1
        lane.arrived.set()

    async def drained(self) -> None:
        """Wait until everything put so far has been handed on to the memory."""
        for lane in self._lanes:
            await lane.drained()

    async def forget(self, guild_id: int, *, user_id: int | None = None, channel_id: int | None = None) -> int:
        """Hand on what waits, for an erasure: the store lets go of it with the rest. Raises Busy if that takes long."""
        lane = self._lanes[self._memory.queue.lane_of(guild_id)]
        if lane.consumer is None or asyncio.current_task() is lane.consumer:  # which is past what came before
            return 0
        try:
            async with asyncio.timeout(DRAIN_S):
                await lane.drained()
        except TimeoutError as error:
            raise Busy(
                f"{len(lane.events):,} events still wait to be stored, so nothing was erased yet; "
                "try again in a few minutes."
            ) from error
        return 0

    def _lane(self, event: Event) -> _Lane:
        if len(self._lanes) == 1:
            return self._lanes[0]
        return self._lanes[self._memory.queue.lane_of(_guild_of(event))]

    def _finds_no_room(self, guild_id: int) -> bool:
        """Whether the line is full, and not by others alone: a guild in a flood must not silence the quiet ones."""
        return self.waiting >= self._size and self._said[guild_id] >= self._size // max(1, len(self._said))

    def _leave(self, event: Event) -> None:
        if isinstance(event, Said):
            guild_id = event.message.guild_id
            self._places.remove([event.message])
            self._said[guild_id] -= 1
            if not self._said[guild_id]:
                del self._said[guild_id]

    def _drop(self, event: Said) -> None:
        self.dropped += 1
        lost = self._lane(event).lost
        if event.message.guild_id not in lost:
            lost.add(event.message.guild_id)
            log.error("Too many events wait: the history of guild %d is read again later", event.message.guild_id)

    async def _consume(self, lane: _Lane) -> None:
        while True:
            await lane.arrived.wait()
            lane.arrived.clear()
            while lane.events:
                await self._apply_some(lane)
            while lane.lost:
                self._on_lost(lane.lost.pop())

    async def _apply_some(self, lane: _Lane) -> None:
        """Apply the events at the head of a lane; they leave it when that has worked."""
        try:
            count = await self._apply_head(lane.events)
        except StoreError as error:
            log.error("Events wait for the store, trying again in %.0f s: %s", RETRY_S, error)
            await asyncio.sleep(RETRY_S)
            return
        except Exception:
            # One event that nobody foresaw must not keep all later ones from the memory.
            log.exception("An event was given up (%s)", type(lane.events[0]).__name__)
            self.given_up += 1
            count = 1
        for _ in range(count):
            self._leave(lane.events.popleft())
        lane.applied += count
        lane.handed_on.set()

    async def _apply_head(self, events: deque[Event]) -> int:
        """Apply the first event, or the first few messages together; return how many those were."""
        head = events[0]
        if isinstance(head, Said):
            return await self._remember(events)
        if isinstance(head, Unsaid):
            await self._memory.forget(head.guild_id, head.message_ids)
        elif isinstance(head, Named):
            await self._memory.name_channels(head.channels)
        else:
            await self._forget_channel(head)
        return 1

    async def _remember(self, events: deque[Event]) -> int:
        batch: list[Said] = []
        for event in events:
            if not isinstance(event, Said) or len(batch) == BATCH:
                break
            batch.append(event)
        await self._memory.remember([event.message for event in batch if await self._wanted(event)])
        return len(batch)

    async def _wanted(self, event: Said) -> bool:
        """Whether the guild and the author let this be remembered; what is stored already is kept up to date."""
        message = event.message
        try:
            settings = await self._settings.get(message.guild_id)
            allowed = settings.indexes(message.channel_id, event.parent_id)
            allowed = allowed and not await self._settings.is_opted_out(message.guild_id, message.author_id)
        except DamagedSettings as error:
            log.error("Guild %d: %s", message.guild_id, error)
            allowed = False
        return allowed or (event.edited and await self._is_stored(message))

    async def _is_stored(self, message: StoredMessage) -> bool:
        await self._memory.queue.stored(message.guild_id)
        scope = Scope(message.guild_id, frozenset([message.channel_id]))
        return bool(await self._memory.store.filter(scope, [message.id]))

    async def _forget_channel(self, gone: ChannelGone) -> None:
        """Erase a channel and the threads known to hang under it, behind everything put before."""
        try:
            await self._erasure.forget_channel(gone.guild_id, gone.channel_id)
        except Busy as error:
            raise StoreError(str(error)) from error  # tried again


def _guild_of(event: Event) -> int:
    if isinstance(event, Said):
        return event.message.guild_id
    return event.channels[0].guild_id if isinstance(event, Named) else event.guild_id
