"""`RoutedStore`: several stores as one, each with the guilds that fall to it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from cogs.memory.exceptions import PASSING
from cogs.memory.records import StoreStats, UpsertResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from cogs.memory.exceptions import StoreError
    from cogs.memory.records import (
        ChannelInfo,
        Embedding,
        Hit,
        Neighbours,
        QuotingReply,
        Scope,
        Space,
        StoredMessage,
        StoredRow,
        Surroundings,
    )
    from cogs.memory.stores import MemoryStore


def parts_of(store: MemoryStore) -> tuple[MemoryStore, ...]:
    """The stores that may be away each on its own: those behind a `RoutedStore`, or the one that there is."""
    return store.stores if isinstance(store, RoutedStore) else (store,)


def number_of(guild_id: int, count: int) -> int:
    """Which of ``count`` stores a guild lives in, from 0."""
    return (guild_id >> 22) % count


class RoutedStore:
    """A `MemoryStore` over several: guild g lives in store ``(g >> 22) % n``, as Discord spreads guilds over shards.

    What belongs to the bot rather than to a guild lives in the first. The number and the order of the stores decide
    where a guild is looked for: whoever changes them must move the data first.

    Args:
        stores: one or more, not open yet.
    """

    def __init__(self, stores: Sequence[MemoryStore]) -> None:
        if not stores:
            raise ValueError("there must be a store to route to")
        self.stores = tuple(stores)

    def of(self, guild_id: int) -> MemoryStore:
        """The store that a guild lives in."""
        return self.stores[number_of(guild_id, len(self.stores))]

    async def open(self) -> None:
        """Open all; if one cannot be, none stays open."""
        async with AsyncExitStack() as opened:
            for store in self.stores:
                await store.open()
                opened.push_async_callback(store.close)
            opened.pop_all()

    async def close(self) -> None:
        """Close all, also when closing one fails."""
        async with AsyncExitStack() as closing:
            for store in self.stores:
                closing.push_async_callback(store.close)

    async def use_space(self, space: Space) -> None:
        """Make ``space`` the current one everywhere."""
        for store in self.stores:
            await store.use_space(space)

    async def upsert(self, messages: Sequence[StoredMessage]) -> UpsertResult:
        """Store messages, in one transaction a store: if one fails, what others took stays and counts as unchanged."""
        parts: dict[MemoryStore, list[StoredMessage]] = {}
        for message in messages:
            parts.setdefault(self.of(message.guild_id), []).append(message)
        done = [await store.upsert(part) for store, part in parts.items()]
        return UpsertResult(
            tuple(i for result in done for i in result.inserted),
            tuple(i for result in done for i in result.changed),
            tuple(i for result in done for i in result.unchanged),
            tuple(i for result in done for i in result.refused),
        )

    async def put_channels(self, channels: Iterable[ChannelInfo]) -> None:
        """Store or rename channels."""
        parts: dict[MemoryStore, list[ChannelInfo]] = {}
        for channel in channels:
            parts.setdefault(self.of(channel.guild_id), []).append(channel)
        for store, part in parts.items():
            await store.put_channels(part)

    async def channels(self, guild_id: int) -> list[ChannelInfo]:
        """All channels of a guild."""
        return await self.of(guild_id).channels(guild_id)

    async def delete(self, guild_id: int, message_ids: Iterable[int]) -> int:
        """Remove messages and leave tombstones."""
        return await self.of(guild_id).delete(guild_id, message_ids)

    async def erase(self, guild_id: int, *, author_id: int | None = None, channel_id: int | None = None) -> int:
        """Remove an author's, a channel's or a guild's messages."""
        return await self.of(guild_id).erase(guild_id, author_id=author_id, channel_id=channel_id)

    async def claim_unembedded(self, limit: int) -> list[StoredMessage]:
        """Messages without a vector, of the first stores that have some."""
        claimed: list[StoredMessage] = []
        for store in self.stores:
            if len(claimed) < limit:
                claimed += await store.claim_unembedded(limit - len(claimed))
        return sorted(claimed, key=lambda message: -message.id)

    async def put_embeddings(self, embeddings: Sequence[Embedding]) -> int:
        """Store vectors; one that does not say its guild is offered to every store, and only its own takes it."""
        parts: dict[MemoryStore, list[Embedding]] = {}
        for embedding in embeddings:
            for store in self.stores if embedding.guild_id is None else (self.of(embedding.guild_id),):
                parts.setdefault(store, []).append(embedding)
        return sum([await store.put_embeddings(part) for store, part in parts.items()])

    async def dense(self, scope: Scope, vector: NDArray[np.float32], limit: int) -> list[Hit]:
        """The messages in scope nearest to ``vector``."""
        return await self.of(scope.guild_id).dense(scope, vector, limit)

    async def lexical(self, scope: Scope, terms: Sequence[str], limit: int) -> list[Hit]:
        """The best keyword matches in scope."""
        return await self.of(scope.guild_id).lexical(scope, terms, limit)

    async def neighbours(self, scope: Scope, message_ids: Sequence[int]) -> dict[int, Neighbours]:
        """The messages around each id."""
        return await self.of(scope.guild_id).neighbours(scope, message_ids)

    async def surroundings(self, scope: Scope, hits: Sequence[int], widened: int) -> Surroundings:
        """What stands around the hits of a search."""
        return await self.of(scope.guild_id).surroundings(scope, hits, widened)

    async def load(self, scope: Scope, message_ids: Sequence[int]) -> dict[int, StoredRow]:
        """The rows in the scope's channels."""
        return await self.of(scope.guild_id).load(scope, message_ids)

    async def filter(self, scope: Scope, message_ids: Sequence[int]) -> set[int]:
        """Those of the ids that lie in the whole scope."""
        return await self.of(scope.guild_id).filter(scope, message_ids)

    async def authors(self, guild_id: int) -> dict[int, tuple[str, ...]]:
        """Every author's names."""
        return await self.of(guild_id).authors(guild_id)

    async def oldest(self, scope: Scope) -> datetime | None:
        """When the oldest message in the scope's channels was written."""
        return await self.of(scope.guild_id).oldest(scope)

    async def stats(self, guild_id: int | None = None) -> StoreStats:
        """Sizes, of one guild or of all stores together; an author in two of them counts twice."""
        if guild_id is not None:
            return await self.of(guild_id).stats(guild_id)
        parts = await asyncio.gather(*(store.stats() for store in self.stores))
        embedded = sum(part.embedded for part in parts)
        oldest = [part.oldest for part in parts if part.oldest is not None]
        newest = [part.newest for part in parts if part.newest is not None]
        return StoreStats(
            messages=sum(part.messages for part in parts),
            embedded=embedded,
            awaiting=sum(part.awaiting for part in parts),
            guild_ids=tuple(sorted(guild for part in parts for guild in part.guild_ids)),
            channels=sum(part.channels for part in parts),
            authors=sum(part.authors for part in parts),
            tombstones=sum(part.tombstones for part in parts),
            bytes_on_disk=sum(part.bytes_on_disk for part in parts),
            oldest=min(oldest, default=None),
            newest=max(newest, default=None),
            index_ready=sum(part.index_ready * part.embedded for part in parts) / embedded if embedded else 1.0,
        )

    async def put_reply(self, reply: QuotingReply, sources: Sequence[StoredMessage]) -> None:
        """Store which messages a reply of the bot quotes."""
        await self.of(reply.guild_id).put_reply(reply, sources)

    async def stale_replies(self, limit: int) -> list[QuotingReply]:
        """Replies that quote what is gone or changed, oldest first.

        A store that is away holds up none of the others: its failure is raised when they have nothing.
        """
        found: list[QuotingReply] = []
        failure: StoreError | None = None
        for store in self.stores:
            try:
                found += await store.stale_replies(limit)
            except PASSING as error:
                failure = error
        if failure is not None and not found:
            raise failure
        return sorted(found, key=lambda reply: reply.id)[:limit]

    async def drop_reply(self, guild_id: int, reply_id: int) -> None:
        """Forget a reply."""
        await self.of(guild_id).drop_reply(guild_id, reply_id)

    def iterate(self, guild_id: int, *, author_id: int | None = None) -> AsyncIterator[StoredMessage]:
        """All messages of a guild, or of one author in it, in order of id."""
        return self.of(guild_id).iterate(guild_id, author_id=author_id)

    async def get_setting(self, guild_id: int, key: str) -> str | None:
        """A stored setting."""
        return await self.of(guild_id).get_setting(guild_id, key)

    async def put_setting(self, guild_id: int, key: str, value: str | None) -> None:
        """Store a setting; ``None`` removes it."""
        await self.of(guild_id).put_setting(guild_id, key, value)
