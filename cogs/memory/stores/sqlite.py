"""`SqliteStore`: the embedded engine. One SQLite file is the truth; the vector index beside it is derived."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from cogs.memory.exceptions import StoreDamaged
from cogs.memory.records import UpsertResult
from cogs.memory.stores import sqlite_reads as reads
from cogs.memory.stores import sqlite_replies as replies
from cogs.memory.stores import sqlite_search
from cogs.memory.stores import sqlite_surroundings as around
from cogs.memory.stores import sqlite_writes as writes
from cogs.memory.stores.data_folder import DataFolder
from cogs.memory.stores.message_rows import require_ids, to_row
from cogs.memory.stores.space_in_use import SpaceInUse
from cogs.memory.stores.sqlite_connections import Connections
from cogs.memory.stores.sqlite_engine import SqliteEngine
from cogs.memory.stores.sqlite_erasure import Eraser, Intent
from cogs.memory.stores.sqlite_vectors import SpaceVectors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
    from concurrent.futures import Executor
    from datetime import datetime
    from pathlib import Path

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
    from cogs.memory.stores.sqlite_connections import Statements

T = TypeVar("T")

_STORE = -1
"""The "guild" of settings that are the store's own."""
_SPACE_KEY = "space"


class SqliteStore:
    """A `MemoryStore` in one folder, for one process.

    A write runs to its end even if its caller is cancelled, so that the database and the index change together.

    Args:
        folder: where the database lives; made if missing.
        executor: the *one* worker thread that the vector index works in; None for one of its own.
        query_deadline_s: seconds after which a keyword search gives up.
        key: the passphrase of the database; None keeps it unencrypted.
    """

    def __init__(
        self,
        folder: Path,
        *,
        executor: Executor | None = None,
        query_deadline_s: float = 1.0,
        key: str | None = None,
    ) -> None:
        self._folder = DataFolder(folder)
        self._deadline_s = query_deadline_s
        self._connections = Connections(self._folder.database, SqliteEngine(key))
        self._vectors = SpaceVectors(self._connections, executor)
        self._eraser = Eraser(self._connections, self._vectors, self._folder)
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def connections(self) -> Connections:
        """The connections to the database, for what is moved as a whole."""
        return self._connections

    async def open(self) -> None:
        """Lock the folder, migrate, and start to rebuild the vector index of the space used last.

        Raises:
            StoreLocked: another process has the folder.
            StoreReadOnly: the folder refuses writes.
            StoreTooNew: a newer version wrote the database.
            KeyMismatch: the key does not open the database, or only one of the two is there.
            StoreDamaged: the database cannot be read; its file is left as it is, and a copy of it put aside.
        """
        self._folder.acquire()
        try:
            try:
                await self._connections.open()
            except StoreDamaged as error:
                copy = await asyncio.to_thread(self._folder.put_aside_damaged)
                raise StoreDamaged(f"{error}{copy}") from error
            await self._eraser.resume()
            await self._use_last_space()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish running writes, then close the database and unlock the folder; may be called twice."""
        await self._eraser.close()
        while self._running:
            await asyncio.wait(self._running)
        try:
            await self._vectors.close()
        finally:
            try:
                await self._connections.close()
            finally:
                self._folder.release()

    # --- writes

    async def use_space(self, space: Space) -> None:
        """Make ``space`` the current one; the index of its vectors is rebuilt in the background."""
        await self.take_space(space.key, space.dim, space.sketch_dim)

    async def take_space(self, key: str, dim: int, sketch_dim: int) -> None:
        """Make a space the current one of which only this much is known, as when a memory is moved."""
        await self._finish(self._use_space(key, dim, sketch_dim))

    async def upsert(self, messages: Sequence[StoredMessage]) -> UpsertResult:
        """Store new messages and replace changed ones; an older edit of a known message counts as unchanged.

        Raises:
            ValueError: a text holds lone surrogates; nothing was stored then.
        """
        rows = [to_row(message) for message in messages]
        return await self._finish(self._upsert(rows)) if rows else UpsertResult()

    async def put_channels(self, channels: Iterable[ChannelInfo]) -> None:
        """Store or rename channels."""
        await self._finish(self._put_channels(list(channels)))

    async def delete(self, guild_id: int, message_ids: Iterable[int]) -> int:
        """Remove messages and leave tombstones; returns how many were stored.

        Raises:
            ValueError: a number that cannot be an id.
        """
        ids = sorted(set(message_ids))
        require_ids(guild_id, *ids)
        return await self._finish(self._delete(guild_id, ids)) if ids else 0

    async def erase(self, guild_id: int, *, author_id: int | None = None, channel_id: int | None = None) -> int:
        """Remove an author's, a channel's or a guild's messages, and their bytes from the disk; returns their number.

        Raises:
            StoreError: nothing was removed; or, as the sentence then says, some or all of it was; the rest follows.
        """
        require_ids(guild_id, *(i for i in (author_id, channel_id) if i is not None))
        return await self._finish(self._eraser.erase(Intent(guild_id, author_id, channel_id)))

    async def put_embeddings(self, embeddings: Sequence[Embedding]) -> int:
        """Store vectors of the current space; returns how many still fitted their message's text.

        Raises:
            ValueError: a vector is not finite or has the wrong shape; nothing was stored then.
            StoreError: no space is in use.
        """
        self._vectors.check(embeddings)
        return await self._finish(self._put_embeddings(embeddings)) if embeddings else 0

    async def put_setting(self, guild_id: int, key: str, value: str | None) -> None:
        """Store a setting; ``None`` removes it."""
        await self._finish(self._put_setting(guild_id, key, value))

    async def put_reply(self, reply: QuotingReply, sources: Sequence[StoredMessage]) -> None:
        """Store which messages a reply quotes."""
        require_ids(reply.guild_id, reply.channel_id, *reply.message_ids)
        await self._finish(self._put_reply(reply, sources))

    async def drop_reply(self, guild_id: int, reply_id: int) -> None:
        """Forget a reply."""
        await self._finish(self._drop_reply(guild_id, reply_id))

    # --- reads

    async def stale_replies(self, limit: int) -> list[QuotingReply]:
        """Replies that quote what is gone or changed."""
        return await replies.stale(self._connections, limit)

    async def claim_unembedded(self, limit: int) -> list[StoredMessage]:
        """Messages without a vector of the current space, newest first."""
        return await reads.awaiting(self._connections, self._vectors.space_id, limit)

    async def dense(self, scope: Scope, vector: NDArray[np.float32], limit: int) -> list[Hit]:
        """The messages in scope nearest to ``vector``; while the index is rebuilt, of those it holds."""
        return await self._vectors.dense(scope, vector, limit)

    async def lexical(self, scope: Scope, terms: Sequence[str], limit: int) -> list[Hit]:
        """The best keyword matches in scope."""
        return await sqlite_search.search(self._connections, scope, terms, limit, deadline_s=self._deadline_s)

    async def neighbours(self, scope: Scope, message_ids: Sequence[int]) -> dict[int, Neighbours]:
        """The messages around each id, in its own channel."""
        return await around.neighbours(self._connections, scope, message_ids)

    async def surroundings(self, scope: Scope, hits: Sequence[int], widened: int) -> Surroundings:
        """What stands around the hits and beside the best of them, with the sketches of all that."""
        return await around.surroundings(self._connections, scope, hits, widened, self._vectors.space_id)

    async def load(self, scope: Scope, message_ids: Sequence[int]) -> dict[int, StoredRow]:
        """The rows in the scope's channels."""
        return await reads.load(self._connections, scope, message_ids, self._vectors.space_id)

    async def filter(self, scope: Scope, message_ids: Sequence[int]) -> set[int]:
        """Those of the ids that lie in the whole scope."""
        return await around.filter_ids(self._connections, scope, message_ids)

    async def authors(self, guild_id: int) -> dict[int, tuple[str, ...]]:
        """Every author's names, newest first, by author id."""
        return await reads.authors(self._connections, guild_id)

    async def channels(self, guild_id: int) -> list[ChannelInfo]:
        """All channels of a guild with messages or a name (one without a name has an empty one)."""
        return await reads.channels(self._connections, guild_id)

    async def oldest(self, scope: Scope) -> datetime | None:
        """When the oldest message in the scope's channels was written."""
        return await reads.oldest(self._connections, scope)

    async def stats(self, guild_id: int | None = None) -> StoreStats:
        """Sizes, of one guild or of all."""
        return await reads.stats(
            self._connections,
            guild_id,
            self._vectors.space_id,
            indexed=self._vectors.size(guild_id),
            bytes_on_disk=self._folder.bytes_on_disk(),
        )

    def iterate(self, guild_id: int, *, author_id: int | None = None) -> AsyncIterator[StoredMessage]:
        """All messages of a guild, or of one author in it, in order of id."""
        return reads.iterate(self._connections, guild_id, author_id)

    async def get_setting(self, guild_id: int, key: str) -> str | None:
        """A stored setting."""
        return await reads.get_setting(self._connections, guild_id, key)

    # --- the writes' bodies: transaction and index in step under the write lock

    async def _use_space(self, key: str, dim: int, sketch_dim: int) -> None:
        async with self._connections.write_lock:
            number = await self._connections.write(lambda database: _put_space(database, key, dim, sketch_dim))
            await self._vectors.use(SpaceInUse(number, key, dim, sketch_dim))

    async def _use_last_space(self) -> None:
        number = await reads.get_setting(self._connections, _STORE, _SPACE_KEY)
        if number is not None:
            [row] = await self._connections.read("SELECT id, key, dim, sketch_dim FROM spaces WHERE id = ?", (number,))
            await self._vectors.use(SpaceInUse(*row))

    async def _upsert(self, rows: Sequence[MessageRow]) -> UpsertResult:
        async with self._connections.write_lock:
            result, gone = await self._connections.write(lambda database: writes.upsert(database, rows))
            removed = self._vectors.submit_remove(gone)
        await removed
        return result

    async def _put_channels(self, channels: Sequence[ChannelInfo]) -> None:
        async with self._connections.write_lock:
            await self._connections.write(lambda database: writes.put_channels(database, channels))

    async def _delete(self, guild_id: int, ids: Sequence[int]) -> int:
        async with self._connections.write_lock:
            stored = await self._connections.write(lambda database: writes.delete(database, guild_id, ids))
            removed = self._vectors.submit_remove({guild_id: stored})
        await removed
        return len(stored)

    async def _put_embeddings(self, embeddings: Sequence[Embedding]) -> int:
        async with self._connections.write_lock:
            # Once more, under the lock: the space may have changed while this waited.
            self._vectors.check(embeddings)
            space_id = self._vectors.space_id
            accepted = await self._connections.write(
                lambda database: writes.put_embeddings(database, space_id, embeddings)
            )
            if accepted is None:
                return 0
            added = self._vectors.submit_add(accepted)
        await added
        return len(accepted.message_ids)

    async def _put_setting(self, guild_id: int, key: str, value: str | None) -> None:
        async with self._connections.write_lock:
            await self._connections.write(lambda database: writes.put_setting(database, guild_id, key, value))

    async def _put_reply(self, reply: QuotingReply, sources: Sequence[StoredMessage]) -> None:
        async with self._connections.write_lock:
            await self._connections.write(lambda database: replies.put(database, reply, sources))

    async def _drop_reply(self, guild_id: int, reply_id: int) -> None:
        async with self._connections.write_lock:
            await self._connections.write(lambda database: replies.drop(database, guild_id, reply_id))

    async def _finish(self, write: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(write)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)


def _put_space(database: Statements, key: str, dim: int, sketch_dim: int) -> int:
    number = writes.put_space(database, key, dim, sketch_dim)
    writes.put_setting(database, _STORE, _SPACE_KEY, str(number))
    return number
