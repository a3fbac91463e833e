"""`PostgresStore`: the engine for more than one process. PostgreSQL with pgvector is truth and index in one."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

from cogs.memory.exceptions import StoreError
from cogs.memory.records import UpsertResult
from cogs.memory.stores import postgres_reads as reads
from cogs.memory.stores import postgres_replies as replies
from cogs.memory.stores import postgres_vectors as vectors
from cogs.memory.stores import postgres_writes as writes
from cogs.memory.stores.message_rows import require_ids, to_row
from cogs.memory.stores.postgres_connections import READ_S, PostgresConnections
from cogs.memory.stores.postgres_dense import DenseSearch
from cogs.memory.stores.postgres_migrations import SCHEMA
from cogs.memory.stores.postgres_search import KeywordSearch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

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
        StoreStats,
        Surroundings,
    )
    from cogs.memory.stores.message_rows import MessageRow
    from cogs.memory.stores.space_in_use import SpaceInUse

log = logging.getLogger(__name__)
T = TypeVar("T")

_STORE: Final = -1
"""The "guild" of settings that are the store's own."""
_SPACE_KEY: Final = "space"
_PARTITIONS = """
    SELECT DISTINCT p.name::regclass::text FROM (
        SELECT m.tableoid AS name FROM messages m WHERE m.guild_id = $1
        UNION ALL SELECT s.tableoid FROM search s WHERE s.guild_id = $1
        UNION ALL SELECT v.tableoid FROM vectors v WHERE v.guild_id = $1
        UNION ALL SELECT k.tableoid FROM sketches k WHERE k.guild_id = $1
    ) p
"""
_PENDING = "SELECT guild_id FROM guilds WHERE pending"
_ALL_PENDING = "UPDATE guilds SET pending = true WHERE NOT pending"
_STILL_PENDING = """
    UPDATE guilds SET pending = EXISTS (
        SELECT FROM vectors v WHERE v.guild_id = $1 AND (v.space_id < $2 OR v.space_id > $2)
    ) WHERE guild_id = $1
"""
_OTHER_SPACES = "SELECT id FROM spaces WHERE id <> $1"
_GUILDS_OF = "SELECT v.message_id, v.guild_id FROM vectors v WHERE v.guild_id = ANY ($1) AND v.message_id = ANY ($2)"


class PostgresStore:
    """A `MemoryStore` on a PostgreSQL server with pgvector, for any number of processes at once.

    Writers of one guild queue up in the database; different guilds do not meet. A write runs to its end even if its
    caller is cancelled. The processes should use one embedder: while they differ, the one chosen last is embedded in.

    Args:
        dsn: ``postgresql://user:password@host:port/database``; never logged.
        schema: the schema that the tables live in.
        pool_size: connections at most.
        read_s: seconds that a read may take.
        query_deadline_s: seconds after which a keyword search gives up.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = SCHEMA,
        pool_size: int = 8,
        read_s: float = READ_S,
        query_deadline_s: float = 1.0,
    ) -> None:
        self._connections = PostgresConnections(dsn, schema=schema, size=pool_size, read_s=read_s)
        self._deadline_s = query_deadline_s
        self._by_meaning = DenseSearch(self._connections)
        self._by_words = KeywordSearch(self._connections)
        self._space: SpaceInUse | None = None
        self._claimer = uuid4()
        self._claimed: dict[int, int] = {}
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def connections(self) -> PostgresConnections:
        """The connections to the server, for what is moved as a whole."""
        return self._connections

    @property
    def server(self) -> str:
        """Host and database, fit to be shown."""
        return self._connections.server

    async def open(self) -> None:
        """Connect and migrate.

        Raises:
            StoreError: the server cannot be reached, refuses the user, or is too old.
            StoreTooNew: a newer version wrote the database.
        """
        await self._connections.open()

    async def close(self) -> None:
        """Finish running writes, hand back what is claimed, disconnect; may be called twice."""
        while self._running:
            await asyncio.wait(self._running)
        try:
            await self._release_claims()
        except StoreError as error:
            log.warning("claimed messages could not be handed back, they are free in %d s: %s", vectors.LEASE_S, error)
        await self._connections.close()

    # --- writes

    async def use_space(self, space: Space) -> None:
        """Make ``space`` the current one, also for other processes that come after."""
        await self.take_space(space.key, space.dim, space.sketch_dim)

    async def take_space(self, key: str, dim: int, sketch_dim: int, *, indexed: bool = True) -> None:
        """Make a space the current one of which only this much is known, as when a memory is moved.

        Without an index many vectors are stored several times as fast, and found by comparing all.
        """
        await self._finish(self._use_space(key, dim, sketch_dim, indexed=indexed))

    async def upsert(self, messages: Sequence[StoredMessage]) -> UpsertResult:
        """Store new messages and replace changed ones; an older edit of a known message counts as unchanged.

        Raises:
            ValueError: a text holds lone surrogates; nothing was stored then.
        """
        rows = [to_row(message) for message in messages]
        return await self._finish(self._upsert(rows)) if rows else UpsertResult()

    async def put_channels(self, channels: Iterable[ChannelInfo]) -> None:
        """Store or rename channels."""
        by_guild: dict[int, list[ChannelInfo]] = {}
        for channel in channels:
            by_guild.setdefault(channel.guild_id, []).append(channel)
        if by_guild:
            await self._finish(self._put_channels(by_guild))

    async def delete(self, guild_id: int, message_ids: Iterable[int]) -> int:
        """Remove messages and leave tombstones; returns how many were stored.

        Raises:
            ValueError: a number that cannot be an id.
        """
        ids = sorted(set(message_ids))
        require_ids(guild_id, *ids)
        return await self._finish(self._delete(guild_id, ids)) if ids else 0

    async def erase(self, guild_id: int, *, author_id: int | None = None, channel_id: int | None = None) -> int:
        """Remove an author's, a channel's or a guild's messages, and clear the rows they leave; returns their number.

        What the server keeps besides (its log until it is recycled, its backups) is the server's operator's.

        Raises:
            StoreError: nothing was removed; or, as the sentence then says, all was, but the rows are not cleared yet.
        """
        require_ids(guild_id, *(i for i in (author_id, channel_id) if i is not None))
        return await self._finish(self._erase(guild_id, author_id, channel_id))

    async def put_embeddings(self, embeddings: Sequence[Embedding]) -> int:
        """Store vectors of the current space; returns how many still fitted their message's text.

        Raises:
            ValueError: a vector is not finite or has the wrong shape; nothing was stored then.
            StoreError: no space is in use.
        """
        vectors.require_space(self._space).check(embeddings)
        return await self._finish(self._put_embeddings(embeddings)) if embeddings else 0

    async def put_setting(self, guild_id: int, key: str, value: str | None) -> None:
        """Store a setting; ``None`` removes it."""
        await self._finish(self._put_setting(guild_id, key, value))

    async def put_reply(self, reply: QuotingReply, sources: Sequence[StoredMessage]) -> None:
        """Store which messages a reply of the bot quotes; once more with the same first message adds to that."""
        await self._finish(self._put_reply(reply, sources))

    async def drop_reply(self, guild_id: int, reply_id: int) -> None:
        """Forget a reply, by its first message."""
        await self._finish(self._drop_reply(guild_id, reply_id))

    async def claim_unembedded(self, limit: int) -> list[StoredMessage]:
        """Messages without a vector of the current space, the newest of each guild first, for this process alone.

        None while another process uses another embedder and chose it later: two would undo each other's work for ever.
        """
        return await self._finish(self._claim(limit)) if limit > 0 else []

    # --- reads

    async def dense(self, scope: Scope, vector: NDArray[np.float32], limit: int) -> list[Hit]:
        """The messages in scope nearest to ``vector``."""
        if self._space is None:
            return []
        return await self._by_meaning.nearest(self._space, scope, vector, limit)

    async def lexical(self, scope: Scope, terms: Sequence[str], limit: int) -> list[Hit]:
        """The best keyword matches in scope."""
        return await self._by_words.best(scope, terms, limit, deadline_s=self._deadline_s)

    async def neighbours(self, scope: Scope, message_ids: Sequence[int]) -> dict[int, Neighbours]:
        """The messages around each id, in its own channel."""
        return await reads.neighbours(self._connections, scope, message_ids)

    async def surroundings(self, scope: Scope, hits: Sequence[int], widened: int) -> Surroundings:
        """What stands around the hits and beside the best of them, with the sketches of all that."""
        return await reads.surroundings(self._connections, scope, hits, widened, self._space_id)

    async def load(self, scope: Scope, message_ids: Sequence[int]) -> dict[int, StoredRow]:
        """The rows in the scope's channels."""
        return await reads.load(self._connections, scope, message_ids, self._space_id)

    async def filter(self, scope: Scope, message_ids: Sequence[int]) -> set[int]:
        """Those of the ids that lie in the whole scope."""
        return await reads.filter_ids(self._connections, scope, message_ids)

    async def authors(self, guild_id: int) -> dict[int, tuple[str, ...]]:
        """Every author's names, newest first, by author id."""
        return await reads.authors(self._connections, guild_id)

    async def channels(self, guild_id: int) -> list[ChannelInfo]:
        """All channels of a guild with messages or a name (one without a name has an empty one)."""
        return await reads.channels(self._connections, guild_id)

    async def oldest(self, scope: Scope) -> datetime | None:
        """When the oldest message in the scope's channels was written; None if there is none."""
        return await reads.oldest(self._connections, scope)

    async def stats(self, guild_id: int | None = None) -> StoreStats:
        """Sizes, of one guild or of all; the index is never behind, it changes with the rows."""
        return await reads.stats(self._connections, guild_id, self._space_id)

    async def stale_replies(self, limit: int) -> list[QuotingReply]:
        """Replies that quote a message which was deleted or erased, or whose content has changed, oldest first."""
        return await replies.stale(self._connections, limit)

    def iterate(self, guild_id: int, *, author_id: int | None = None) -> AsyncIterator[StoredMessage]:
        """All messages of a guild, or of one author in it, in order of id."""
        return reads.iterate(self._connections, guild_id, author_id)

    async def get_setting(self, guild_id: int, key: str) -> str | None:
        """A stored setting."""
        return await reads.get_setting(self._connections, guild_id, key)

    # --- the writes' bodies

    @property
    def _space_id(self) -> int:
        return vectors.NO_SPACE if self._space is None else self._space.id

    async def _use_space(self, key: str, dim: int, sketch_dim: int, *, indexed: bool) -> None:
        async with self._connections.transaction() as connection:
            used = await vectors.put_space(connection, key, dim, sketch_dim, indexed=indexed)
            last = await connection.fetchval(reads.SETTING, _STORE, _SPACE_KEY)
            if last != str(used.id):
                await writes.put_setting(connection, _STORE, _SPACE_KEY, str(used.id))
                await connection.execute(_ALL_PENDING)
        self._space = used

    async def _upsert(self, rows: Sequence[MessageRow]) -> UpsertResult:
        by_guild: dict[int, list[MessageRow]] = {}
        for row in rows:
            by_guild.setdefault(row.guild_id, []).append(row)
        async with self._connections.transaction() as connection:
            # In order: two batches of the same guilds must not wait for each other.
            done = [await writes.upsert(connection, guild, by_guild[guild]) for guild in sorted(by_guild)]
        return UpsertResult(
            tuple(i for result in done for i in result.inserted),
            tuple(i for result in done for i in result.changed),
            tuple(i for result in done for i in result.unchanged),
            tuple(i for result in done for i in result.refused),
        )

    async def _put_channels(self, by_guild: dict[int, list[ChannelInfo]]) -> None:
        async with self._connections.transaction() as connection:
            for guild in sorted(by_guild):
                await writes.put_channels(connection, guild, by_guild[guild])

    async def _delete(self, guild_id: int, ids: Sequence[int]) -> int:
        async with self._connections.transaction() as connection:
            return len(await writes.delete(connection, guild_id, ids))

    async def _erase(self, guild_id: int, author_id: int | None, channel_id: int | None) -> int:
        partitions = [row[0] for row in await self._connections.read(_PARTITIONS, guild_id)]
        async with self._connections.transaction() as connection:
            erased = await writes.erase(connection, guild_id, author_id, channel_id, time.time_ns() // 1000)
        try:
            for partition in partitions:
                await self._connections.execute(f"VACUUM {partition}")
        except StoreError as error:
            raise StoreError(
                "The messages are removed and will not be found again, but the rows they left could not all be "
                f"cleared; the server does so by itself later. {error}"
            ) from error
        return erased

    async def _put_embeddings(self, embeddings: Sequence[Embedding]) -> int:
        space = vectors.require_space(self._space)
        space.check(embeddings)  # once more: the space may have changed while this waited
        by_guild = await self._by_guild(embeddings)
        stored = 0
        async with self._connections.transaction() as connection:
            for guild in sorted(by_guild):
                stored += len(await vectors.put_embeddings(connection, guild, space.id, by_guild[guild]))
        for embedding in embeddings:
            self._claimed.pop(embedding.message_id, None)
        return stored

    async def _by_guild(self, embeddings: Sequence[Embedding]) -> dict[int, list[Embedding]]:
        """Embeddings by the guild of their message; where that is not given, it is looked up in all of them."""
        by_guild: dict[int, list[Embedding]] = {}
        unknown = [e.message_id for e in embeddings if e.guild_id is None]
        found: dict[int, list[int]] = {}
        if unknown:
            guilds = await reads.guilds(self._connections)
            for message_id, guild in await self._connections.read(_GUILDS_OF, guilds, unknown):
                found.setdefault(message_id, []).append(guild)
        for embedding in embeddings:
            given = embedding.guild_id
            for guild in found.get(embedding.message_id, []) if given is None else [given]:
                by_guild.setdefault(guild, []).append(embedding)
        return by_guild

    async def _put_setting(self, guild_id: int, key: str, value: str | None) -> None:
        async with self._connections.transaction() as connection:
            await writes.put_setting(connection, guild_id, key, value)

    async def _put_reply(self, reply: QuotingReply, sources: Sequence[StoredMessage]) -> None:
        async with self._connections.transaction() as connection:
            await writes.lock_guild(connection, reply.guild_id)
            await replies.put(connection, reply, sources)

    async def _drop_reply(self, guild_id: int, reply_id: int) -> None:
        async with self._connections.transaction() as connection:
            await replies.drop(connection, guild_id, reply_id)

    async def _claim(self, limit: int) -> list[StoredMessage]:
        space_id = self._space_id
        if self._space is not None and await reads.get_setting(self._connections, _STORE, _SPACE_KEY) != str(space_id):
            return []
        pending = [row[0] for row in await self._connections.read(_PENDING)]
        random.shuffle(pending)  # several processes begin with different guilds, and none waits for ever
        spaces = [0, *(row[0] for row in await self._connections.read(_OTHER_SPACES, space_id))]
        claimed: list[StoredMessage] = []
        for guild in pending:
            if len(claimed) >= limit:
                break
            claimed += await self._claim_of_guild(guild, spaces, limit - len(claimed))
        return sorted(claimed, key=lambda message: -message.id)

    async def _claim_of_guild(self, guild_id: int, spaces: Sequence[int], limit: int) -> list[StoredMessage]:
        async with self._connections.transaction() as connection:
            ids = await vectors.claim(connection, guild_id, spaces, self._claimer, limit)
            messages = await reads.messages_by_id(connection, guild_id, ids) if ids else []
        if not ids:
            async with self._connections.transaction() as connection:
                await writes.lock_guild(connection, guild_id)  # whoever adds messages at this moment has ended then
                await connection.execute(_STILL_PENDING, guild_id, self._space_id)
        self._claimed |= dict.fromkeys(ids, guild_id)
        return messages

    async def _release_claims(self) -> None:
        by_guild: dict[int, list[int]] = {}
        for message_id, guild in self._claimed.items():
            by_guild.setdefault(guild, []).append(message_id)
        self._claimed.clear()
        for guild, ids in by_guild.items():
            async with self._connections.transaction() as connection:
                await vectors.release(connection, guild, sorted(ids), self._claimer)

    async def _finish(self, write: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(write)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)
