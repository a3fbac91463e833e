"""`IngestQueue`: one ordered way into the memory for each guild.

discord.py runs every listener in its own task, so a deletion can overtake the creation it deletes. Here events line up
in the order they were put. Each store has a lane of its own, and a guild lives in one store: one that is away holds up
the guilds of no other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from cogs.memory.exceptions import MemoryCogError
from cogs.memory.ingest_lane import Delete, IngestLane, Upsert
from cogs.memory.stores.routed import number_of, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cogs.memory.embedding_service import EmbeddingService
    from cogs.memory.ingest_lane import Event
    from cogs.memory.records import Scope, StoredMessage
    from cogs.memory.stores import MemoryStore

log = logging.getLogger(__name__)


class IngestQueue:
    """Applies events in order and keeps the vectors following; bounded, so that a flood waits at the door.

    Args:
        store: where messages go.
        embedding: what embeds them.
        size: events that may wait, spread evenly over the stores; `put` waits beyond a store's share, of one at least.
        on_change: told, after each commit, which guilds changed.
    """

    def __init__(
        self,
        store: MemoryStore,
        embedding: EmbeddingService,
        *,
        size: int = 10_000,
        on_change: Callable[[set[int]], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._embedding = embedding
        self._on_change = on_change
        parts = parts_of(store)
        share = max(1, size // len(parts))
        self._lanes = tuple(
            IngestLane(part, embedding, size=share, on_change=on_change, on_embedded=self._embedded) for part in parts
        )
        self._recent: deque[tuple[float, int]] = deque(maxlen=64)

    def start(self) -> None:
        """Begin to consume."""
        for lane in self._lanes:
            lane.start()

    async def put(self, event: Event) -> None:
        """Queue an event; waits while there is no room for it."""
        if len(self._lanes) == 1:
            await self._lanes[0].put(event)
        elif isinstance(event, Delete):
            await self._lane(event.guild_id).put(event)
        else:
            parts: dict[IngestLane, list[StoredMessage]] = {}
            for message in event.messages:
                parts.setdefault(self._lane(message.guild_id), []).append(message)
            for lane in sorted(parts, key=lambda lane: lane.is_full):
                await lane.put(Upsert(tuple(parts[lane])))

    @property
    def lanes(self) -> int:
        """Ways in that do not wait for each other."""
        return len(self._lanes)

    def lane_of(self, guild_id: int) -> int:
        """The number of the lane that a guild's events take, from 0."""
        return number_of(guild_id, len(self._lanes))

    @property
    def waiting(self) -> int:
        """Events not yet applied."""
        return sum(lane.waiting for lane in self._lanes)

    @property
    def refused(self) -> int:
        """Events dropped because no store could take them."""
        return sum(lane.refused for lane in self._lanes)

    @property
    def problem(self) -> str | None:
        """The sentences of what keeps failing, until it succeeds again."""
        return _joined(problem for lane in self._lanes for problem in lane.problems)

    def problem_of(self, guild_id: int) -> str | None:
        """The sentences of what keeps messages of one guild waiting."""
        return _joined(self._lane(guild_id).problems)

    def holds(self, scope: Scope) -> bool:
        """Whether messages from a scope's channels are not yet applied."""
        return self._lane(scope.guild_id).holds(scope)

    @property
    def rate(self) -> float:
        """Messages embedded per second over the last batches; 0 when nothing was."""
        if len(self._recent) < 2:
            return 0.0
        seconds = self._recent[-1][0] - self._recent[0][0]
        return sum(count for _, count in list(self._recent)[1:]) / seconds if seconds > 0 else 0.0

    async def stored(self, guild_id: int | None = None) -> None:
        """Wait until every event put so far, of one guild or of all, is in its store.

        Raises:
            StoreError: nobody takes in events any more.
        """
        for lane in self._lanes if guild_id is None else (self._lane(guild_id),):
            await lane.stored()

    def take_up_work(self) -> None:
        """Look for messages without a vector: a new space makes all of them wait."""
        for lane in self._lanes:
            lane.take_up_work()

    async def embed_now(self, messages: Sequence[StoredMessage]) -> None:
        """Give stored messages their vectors before all others that wait: an answer is to be made from them.

        Raises StoreError or ModelError.
        """
        if not messages:
            return
        with self._embedding.hurry():  # also the batch that is under way
            async with self._embedding.swapping.shared():
                await self._store.put_embeddings(await self._embedding.embed(messages))
        self._on_change({message.guild_id for message in messages})

    async def embedded(self) -> None:
        """Wait until every event put so far is applied and nothing waits for a vector."""
        for lane in self._lanes:
            await lane.embedded()

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Apply what waits, within ``timeout_s``, and stop; the backlog of vectors is taken up at the next start."""
        if not all(lane.is_running for lane in self._lanes):
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self.stored()
        except (TimeoutError, MemoryCogError) as error:
            log.warning("%d events were not applied before the stop (%s)", self.waiting, type(error).__name__)
        for lane in self._lanes:
            await lane.stop()

    def _lane(self, guild_id: int) -> IngestLane:
        return self._lanes[self.lane_of(guild_id)]

    def _embedded(self, count: int) -> None:
        self._recent.append((time.monotonic(), count))


def _joined(problems: Iterable[str]) -> str | None:
    """Sentences, each once."""
    return " ".join(dict.fromkeys(problems)) or None
