"""`IngestLane`: the ordered way into one store.

Events line up and one consumer applies them: create and edit as one upsert per batch, deletions between. Embedding
follows behind: the store's rows without a vector are its work list, so nothing is lost with the process.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogs.memory.exceptions import MemoryCogError, StoreError
from cogs.memory.place_counts import PlaceCounts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cogs.memory.embedding_service import EmbeddingService
    from cogs.memory.records import Scope, StoredMessage
    from cogs.memory.stores import MemoryStore

log = logging.getLogger(__name__)

BATCH = 256
"""Events applied in one go, and rows embedded between two commits."""
RETRY_S = 5.0
"""Pause before a failed store or model is tried again."""
NO_MEMORY = "The machine has no memory left."
EMBEDDER_FAILED = "The embedder failed; the log has why. What is new is found by its words."
LOOK_AGAIN_S = 60.0
"""Pause after which messages that wait are looked for unasked: another process may have died while it embedded some."""


@dataclass(frozen=True, slots=True)
class Upsert:
    """Messages that were created, edited or found in the history."""

    messages: tuple[StoredMessage, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """Messages that are gone."""

    guild_id: int
    message_ids: tuple[int, ...]


Event = Upsert | Delete


class IngestLane:
    """Applies the events of one store in order and keeps its vectors following.

    Args:
        store: where messages go.
        embedding: what embeds them.
        size: events that may wait; `put` waits beyond it.
        on_change: told, after each commit, which guilds changed.
        on_embedded: told how many messages a batch of the backlog held.
    """

    def __init__(
        self,
        store: MemoryStore,
        embedding: EmbeddingService,
        *,
        size: int,
        on_change: Callable[[set[int]], None],
        on_embedded: Callable[[int], None],
    ) -> None:
        self._store = store
        self._embedding = embedding
        self._on_change = on_change
        self._on_embedded = on_embedded
        self._events: asyncio.Queue[Event] = asyncio.Queue(maxsize=size)
        self._places = PlaceCounts()
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._write_problem: str | None = None
        self._embed_problem: str | None = None
        self.refused = 0
        """Events dropped because no store could take them."""

    def start(self) -> None:
        """Begin to consume."""
        self._tasks = [asyncio.create_task(self._consume()), asyncio.create_task(self._embed_backlog())]
        self._work.set()

    async def stop(self) -> None:
        """Stop where it is; the backlog of vectors is taken up at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def put(self, event: Event) -> None:
        """Queue an event; waits while the lane is full."""
        await self._events.put(event)
        if isinstance(event, Upsert):  # the consumer has not run since
            self._places.add(event.messages)

    @property
    def is_full(self) -> bool:
        """Whether `put` would wait."""
        return self._events.full()

    @property
    def is_running(self) -> bool:
        """Whether somebody consumes."""
        return bool(self._tasks)

    @property
    def waiting(self) -> int:
        """Events not yet applied."""
        return self._events.qsize()

    @property
    def problems(self) -> tuple[str, ...]:
        """The sentences of what keeps failing, until it succeeds again."""
        return tuple(problem for problem in (self._write_problem, self._embed_problem) if problem is not None)

    def holds(self, scope: Scope) -> bool:
        """Whether messages from a scope's channels are not yet applied."""
        return self._places.any_in(scope)

    async def stored(self) -> None:
        """Wait until every event put so far is in the store. Raises StoreError if nobody consumes."""
        await self._until(self._events.join())

    def take_up_work(self) -> None:
        """Look for messages without a vector."""
        self._work.set()

    async def embedded(self) -> None:
        """Wait until every event put so far is applied and nothing waits for a vector."""
        await self.stored()
        self._idle.clear()
        self._work.set()
        await self._until(self._idle.wait())

    async def _until(self, awaitable: Awaitable[object]) -> None:
        """Wait for something the consumers do, and fail when one of them is gone."""
        waiter = asyncio.ensure_future(awaitable)
        try:
            await asyncio.wait(
                [waiter, *self._tasks],
                timeout=None if self._tasks else 0,  # nobody is left to do it
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not waiter.done():
                raise StoreError("The memory has stopped taking in messages.")
        finally:
            waiter.cancel()

    async def _consume(self) -> None:
        while True:
            events = [await self._events.get()]
            while len(events) < BATCH and not self._events.empty():
                events.append(self._events.get_nowait())
            await self._persist(events)
            for event in events:
                self._events.task_done()
                if isinstance(event, Upsert):
                    self._places.remove(event.messages)
            self._work.set()

    async def _persist(self, events: Sequence[Event]) -> None:
        """Apply a batch, again and again until the store takes it: order matters more than speed."""
        steps = _merge(events)
        while steps:
            try:
                await self._apply(steps[0])
            except (StoreError, MemoryError) as error:
                self._write_problem = str(error) or NO_MEMORY
                log.error("The store refuses a write; trying again in %.0f s: %s", RETRY_S, self._write_problem)
                await asyncio.sleep(RETRY_S)
            except Exception as error:  # noqa: BLE001 - one event that nobody foresaw must not keep all later ones out
                steps[:1] = self._without_the_bad(steps[0], error)
            else:
                self._write_problem = None
                steps.pop(0)

    def _without_the_bad(self, event: Event, error: Exception) -> list[Event]:
        """Split an event that holds something no store can take, until only that is left, and drop it."""
        if isinstance(event, Upsert) and len(event.messages) > 1:
            return [Upsert((message,)) for message in event.messages]
        if isinstance(event, Delete) and len(event.message_ids) > 1:
            return [Delete(event.guild_id, (message_id,)) for message_id in event.message_ids]
        self.refused += 1
        log.error("An event that cannot be stored was dropped (%s)", type(error).__name__)
        return []

    async def _apply(self, event: Event) -> None:
        if isinstance(event, Upsert):
            await self._store.upsert(event.messages)
            self._on_change({message.guild_id for message in event.messages})
        else:
            await self._store.delete(event.guild_id, event.message_ids)
            self._on_change({event.guild_id})

    async def _embed_batch(self) -> Sequence[StoredMessage]:
        """Embed the newest messages that wait, in one space; return them."""
        async with self._embedding.swapping.shared():
            messages = await self._store.claim_unembedded(BATCH)
            if messages:
                await self._store.put_embeddings(await self._embedding.embed(messages))
        self._embed_problem = None
        return messages

    async def _embed_backlog(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._work.wait()
            self._work.clear()
            try:
                while messages := await self._embed_batch():
                    self._on_embedded(len(messages))
                    self._on_change({message.guild_id for message in messages})
            except Exception as error:
                # Whatever a model throws: the messages are stored, and wait for the next try.
                known = isinstance(error, MemoryCogError)
                self._embed_problem = sentence = str(error) if known else EMBEDDER_FAILED
                log.error("Embedding failed; trying again in %.0f s: %s", RETRY_S, sentence, exc_info=not known)
                await asyncio.sleep(RETRY_S)
                self._work.set()
            else:
                # A look that began before somebody asked for another has not seen what he asks for.
                if self._events.empty() and not self._work.is_set():
                    self._idle.set()


def _merge(events: Sequence[Event]) -> list[Event]:
    """Join neighbouring events of one kind; the order between kinds stays."""
    steps: list[Event] = []
    for event in events:
        last = steps[-1] if steps else None
        if isinstance(event, Upsert) and isinstance(last, Upsert):
            steps[-1] = Upsert(last.messages + event.messages)
        elif isinstance(event, Delete) and isinstance(last, Delete) and event.guild_id == last.guild_id:
            steps[-1] = Delete(event.guild_id, last.message_ids + event.message_ids)
        else:
            steps.append(event)
    return steps
