"""Vectors of the current space: the index derived from them, its rebuilding, and exact dense search."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from cogs.memory.exceptions import StoreDamaged, StoreError
from cogs.memory.records import MAX_ID
from cogs.memory.stores import CLOSED
from cogs.memory.stores.message_rows import PlacedVectors
from cogs.memory.stores.sqlite_packing import Packed
from cogs.memory.stores.sqlite_rows import id_list, joined_ids, scope_condition
from cogs.memory.stores.sqlite_surroundings import ids_in_scope
from cogs.memory.stores.vector_index import VectorIndex
from cogs.memory.stores.vector_scores import nearest as best_of
from cogs.memory.stores.vector_scores import unit_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from cogs.memory.records import Embedding, Hit, Scope
    from cogs.memory.stores.space_in_use import SpaceInUse
    from cogs.memory.stores.sqlite_connections import Connections, Statements

log = logging.getLogger(__name__)
T = TypeVar("T")

_BLOCK = 2048
"""Vectors read at a time when the index is rebuilt; writes wait for one block at most."""

REBUILD_AGAIN_S = 10.0
"""Seconds between two tries to rebuild the index."""

EXACT_LIMIT = 2000
"""Scopes of at most so many messages are scored from the database, without the index."""

_OVERFETCH = (4, 32)
"""How many times the wanted number is looked up, at first and then, when a filter lets few of them pass."""
_SPARE = 16
"""Extra candidates: their order by 8-bit vectors is not quite their order by exact ones, and some may be stale."""

_NEXT_BLOCK = """
    SELECT m.id, m.guild_id, m.channel_id, v.vector
    FROM messages m INDEXED BY messages_by_vector_space CROSS JOIN vectors v ON v.message_id = m.id
    WHERE m.vector_space = :space AND m.id <= :before ORDER BY m.id DESC LIMIT :block
"""
_EXACT = Packed("m.id", "v.vector")
_VECTORS = f"""
    SELECT {_EXACT.select} FROM json_each(:ids) j
    CROSS JOIN messages m ON m.id = j.value CROSS JOIN vectors v ON v.message_id = m.id
    WHERE m.vector_space = :space AND {{condition}}
"""  # noqa: S608  # a constant
_IDS = """
    SELECT group_concat(id) FROM (SELECT m.id FROM messages m INDEXED BY {index} WHERE {condition} LIMIT :most)
"""


NO_SPACE = -1
"""What ``messages.vector_space`` never is: in this space every message awaits embedding."""


class SpaceVectors:
    """Dense search over the vectors of one space at a time.

    Changes of the index are *submitted* under the connections' write lock, in the order of their commits, and run in
    that order in the one worker thread; the rebuilding takes its blocks under the same lock. So whatever happens
    meanwhile, the index ends as the database is.
    """

    def __init__(self, connections: Connections, executor: Executor | None) -> None:
        self._connections = connections
        self._own_executor = ThreadPoolExecutor(1, "vector-index") if executor is None else None
        self._executor: Executor | None = executor or self._own_executor
        self._current: tuple[SpaceInUse, VectorIndex] | None = None
        self._rebuilding: asyncio.Task[None] | None = None

    @property
    def space_id(self) -> int:
        """The number of the space in use, or `NO_SPACE`."""
        return NO_SPACE if self._current is None else self._current[0].id

    def size(self, guild_id: int | None = None) -> int:
        """Number of vectors in the index, of one guild or of all."""
        return 0 if self._current is None else self._current[1].size(guild_id)

    async def use(self, space: SpaceInUse) -> None:
        """Make a space the current one and start to rebuild its index; nothing if it is current already."""
        if self.space_id == space.id:
            return
        await self._stop_rebuilding()
        self._begin_rebuilding(space)

    async def close(self) -> None:
        """Stop rebuilding and let the worker thread end what it has; may be called twice."""
        await self._stop_rebuilding()
        if self._own_executor is not None:
            await self._submit(lambda: None)  # it runs in order: what was submitted before has ended
            self._own_executor.shutdown(wait=False)
        self._own_executor = self._executor = None

    def check(self, embeddings: Iterable[Embedding]) -> None:
        """See that all embeddings fit the space in use.

        Raises:
            StoreError: no space is in use.
            ValueError: a vector has another shape or is not finite, or a sketch is cut off.
        """
        space, _ = self._require_space()
        space.check(embeddings)

    def submit_add(self, vectors: PlacedVectors) -> asyncio.Future[None]:
        """Bring stored vectors into the index; call it under the write lock, await it outside."""
        _, index = self._require_space()
        return self._follow(index, self._submit(partial(_add, index, vectors)))

    def submit_remove(self, ids_by_guild: Mapping[int, Sequence[int]]) -> asyncio.Future[None]:
        """Take messages out of the index; call it under the write lock, await it outside."""
        if self._current is None or not any(ids_by_guild.values()):
            nothing = asyncio.get_running_loop().create_future()
            nothing.set_result(None)
            return nothing  # most writes remove nothing: they need not wait for the worker thread
        _, index = self._current

        def remove() -> None:
            for guild, ids in ids_by_guild.items():
                index.remove(guild, ids)

        return self._follow(index, self._submit(remove))

    async def dense(self, scope: Scope, vector: NDArray[np.float32], limit: int) -> list[Hit]:
        """The messages in scope nearest to ``vector``, best first; score = cosine by the stored float16 vectors.

        Raises:
            ValueError: the vector has another shape than those of the space, is zero or not finite.
        """
        if self._current is None or limit < 1 or not scope.channel_ids:
            return []
        space, index = self._current
        query = unit_query(vector, space.dim)
        return await self._connections.run(lambda database: _nearest(database, space, index, scope, query, limit=limit))

    def _follow(self, index: VectorIndex, change: asyncio.Future[None]) -> asyncio.Future[None]:
        """Wait for a change of the index; if it fails, the database is right all the same, and the index made anew."""

        async def follow() -> None:
            try:
                await change
            except Exception:
                log.exception("a change of the vector index failed; it is rebuilt from the database")
                if self._current is not None and self._current[1] is index and self._executor is not None:
                    if self._rebuilding is not None:
                        self._rebuilding.cancel()
                    self._begin_rebuilding(self._current[0])

        return asyncio.ensure_future(follow())

    def _begin_rebuilding(self, space: SpaceInUse) -> None:
        self._current = space, VectorIndex(space.dim)
        self._rebuilding = asyncio.create_task(self._rebuild_until_done(space))

    async def _rebuild_until_done(self, space: SpaceInUse) -> None:
        index = self._current[1] if self._current else VectorIndex(space.dim)
        while True:
            try:
                return await self._rebuild(space.id, index)
            except Exception:
                log.exception("the vector index could not be rebuilt, search by meaning is incomplete; trying again")
            await asyncio.sleep(REBUILD_AGAIN_S)
            index = VectorIndex(space.dim)
            self._current = space, index

    async def _rebuild(self, space_id: int, index: VectorIndex) -> None:
        before = MAX_ID + 1
        adding: asyncio.Future[None] | None = None
        while True:
            parameters = {"space": space_id, "before": before - 1, "block": _BLOCK}
            async with self._connections.write_lock:
                rows = await self._connections.read(_NEXT_BLOCK, parameters)
                previous, adding = adding, self._submit(partial(_add_rows, index, rows))
            if previous is not None:
                await previous  # one block is read while another is added, and no more wait
            if not rows:
                return await adding
            before = rows[-1][0]

    async def _stop_rebuilding(self) -> None:
        task, self._rebuilding = self._rebuilding, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def _submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        if self._executor is None:
            raise StoreError(CLOSED)
        return asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _require_space(self) -> tuple[SpaceInUse, VectorIndex]:
        if self._current is None:
            raise StoreError("No embedding model is in use yet.")
        return self._current


def _nearest(
    database: Statements, space: SpaceInUse, index: VectorIndex, scope: Scope, query: NDArray[np.float32], *, limit: int
) -> list[Hit]:
    ids = _candidates(database, index, scope, query, limit + _SPARE)
    # Scored by what the database says now: an entry of the index that is no longer true costs a slot, no more.
    condition, parameters = scope_condition(scope)
    rows = _EXACT.rows(
        database.execute(_VECTORS.format(condition=condition), {**parameters, "ids": id_list(ids), "space": space.id})
    )
    if not rows:
        return []
    return best_of([row[0] for row in rows], _matrix([row[1] for row in rows], space.dim), query, limit)


def _candidates(
    database: Statements, index: VectorIndex, scope: Scope, query: NDArray[np.float32], count: int
) -> Sequence[int]:
    """Ids among which are the ``count`` best of the scope."""

    def nearest(number: int, only_ids: NDArray[np.int64] | None = None) -> list[int]:
        hits = index.search(scope.guild_id, scope.channel_ids, query, number, only_ids=only_ids)
        return [hit.message_id for hit in hits]

    if not scope.is_filtered:
        return nearest(count)
    few = _any_in_scope(database, scope, EXACT_LIMIT + 1)
    if len(few) <= EXACT_LIMIT:
        return [int(message_id) for message_id in few]
    # A filter that many messages pass is passed by many of the nearest. If not, they are named to the index.
    for factor in _OVERFETCH:
        fitting = ids_in_scope(database, scope, nearest(factor * count))
        if len(fitting) >= count:
            return fitting[:count]
    return nearest(count, _any_in_scope(database, scope, MAX_ID))


def _any_in_scope(database: Statements, scope: Scope, most: int) -> NDArray[np.int64]:
    condition, parameters = scope_condition(scope)
    index = "messages_by_channel" if scope.author_ids is None else "messages_by_author"
    sql = _IDS.format(index=index, condition=condition)
    [[ids]] = database.execute(sql, {**parameters, "most": most})
    return joined_ids(ids)


def _add_rows(index: VectorIndex, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        ids, guild_ids, channel_ids, blobs = map(list, zip(*rows, strict=True))
        _add(index, PlacedVectors(ids, guild_ids, channel_ids, _matrix(blobs, index.dim)))


def _add(index: VectorIndex, new: PlacedVectors) -> None:
    """Add vectors guild by guild."""
    guild_ids = np.array(new.guild_ids, dtype=np.int64)
    for guild in np.unique(guild_ids).tolist():
        positions = np.flatnonzero(guild_ids == guild)
        chosen = positions.tolist()
        index.add(
            guild, [new.channel_ids[p] for p in chosen], [new.message_ids[p] for p in chosen], new.vectors[positions]
        )


def _matrix(blobs: Sequence[bytes], dim: int) -> NDArray[np.float16]:
    values = np.frombuffer(b"".join(blobs), dtype="<f2")
    if len(values) != len(blobs) * dim:
        raise StoreDamaged("The database holds vectors of a wrong size: put a backup of it in its place.")
    return values.reshape(len(blobs), dim)
