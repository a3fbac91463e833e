"""Search by meaning on PostgreSQL: narrow scopes are compared one by one, wide ones walked along the HNSW index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from cachetools import TTLCache

from cogs.memory.stores.postgres_rows import Arguments, scope_condition
from cogs.memory.stores.postgres_vectors import LARGEST_INDEXED
from cogs.memory.stores.vector_scores import nearest, unit_query

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cogs.memory.records import Hit, Scope
    from cogs.memory.stores.postgres_connections import PostgresConnections
    from cogs.memory.stores.space_in_use import SpaceInUse

EXACT_LIMIT: Final = 40_000
"""Scopes of at most so many vectors are compared one by one, half a microsecond each. Up to about there a walk that
misses as few takes longer, for it must visit what lies outside the scope too."""
EXACT_SHARE: Final = 0.02
"""Scopes of at most this share of their partition too: a walk would give up before it had met enough of them."""
SPARE: Final = 16
"""Extra candidates: the database compares in half precision, what it finds is scored again in single."""
WALKED: Final = 300
"""Messages in scope that a walk collects at least. It does not meet them in order: of only the first hundred and some,
up to 12 of the 50 nearest were missing in scopes of a fifth to a half of a guild, of these 1 or 2."""
EF_SEARCH: Final = 150
"""Candidates that a walk keeps in sight."""
DEADLINE_S: Final = 5.0
"""Seconds that a search may take: an answer without it is better than none."""
_WIDTHS_KEPT: Final = 10_000
_WIDTH_S: Final = 60.0
"""Seconds for which a scope is taken to be as wide as it was: neither way is wrong, one is slower."""

# Whether the scope holds so few vectors that all are compared; counted no further than it takes to know.
_WIDTH = """
    WITH bound AS (
        SELECT greatest({least}::bigint, ({share}::float8 * greatest(c.reltuples, 0))::bigint) AS most
        FROM pg_class c WHERE c.oid = (SELECT v.tableoid FROM vectors v WHERE v.guild_id = $1 LIMIT 1)
    )
    SELECT count(*) <= (SELECT b.most FROM bound b) FROM (
        SELECT FROM vectors v WHERE v.space_id = {space} AND {condition} LIMIT (SELECT b.most + 1 FROM bound b)
    ) counted
"""
_EXACT = """
    WITH best AS MATERIALIZED (
        SELECT v.message_id FROM vectors v WHERE v.space_id = {space} AND {condition}
        ORDER BY v.vector <#> {vector}::halfvec LIMIT {limit}
    )
    SELECT n.message_id, n.vector FROM best JOIN vectors n ON n.guild_id = $1 AND n.message_id = best.message_id
"""
# Sorted again, by an expression: what is met comes in no strict order, but the planner takes it for sorted.
_WALK = """
    WITH met AS MATERIALIZED (
        SELECT v.message_id, v.vector, {distance} AS distance FROM vectors v
        WHERE v.space_id = {space} AND {condition} ORDER BY {distance} LIMIT {walked}
    )
    SELECT message_id, vector FROM met ORDER BY distance + 0 LIMIT {limit}
"""
# While statistics are not gathered yet, the planner would rather sort the whole guild than walk.
_WALKING = f"""
    SET LOCAL hnsw.iterative_scan = relaxed_order; SET LOCAL hnsw.ef_search = {EF_SEARCH}; SET LOCAL enable_sort = off
"""


class DenseSearch:
    """The nearest messages within a scope.

    Args:
        connections: to the server.
    """

    def __init__(self, connections: PostgresConnections) -> None:
        self._connections = connections
        self._narrow: TTLCache[tuple[int, int], bool] = TTLCache(_WIDTHS_KEPT, _WIDTH_S)

    async def nearest(self, space: SpaceInUse, scope: Scope, vector: NDArray[np.float32], limit: int) -> list[Hit]:
        """The messages in scope nearest to ``vector``, best first; score = cosine by the stored float16 vectors.

        Raises:
            ValueError: the vector has another shape than those of the space, is zero or not finite.
            StoreTimeout: it took more than `DEADLINE_S` seconds.
        """
        query = unit_query(vector, space.dim)
        if limit < 1 or not scope.channel_ids:
            return []
        rows = await self._connections.within(self._rows(space, scope, query, limit + SPARE), DEADLINE_S)
        if not rows:
            return []
        return nearest([row[0] for row in rows], np.stack([row[1].to_numpy() for row in rows]), query, limit)

    async def _rows(self, space: SpaceInUse, scope: Scope, query: NDArray[np.float32], limit: int) -> list[Any]:
        if not await self._is_narrow(space, scope):
            rows = await self._walk(space, scope, query, limit)
            if len(rows) == limit:
                return rows
            # It gave up before it had met enough that lie in the scope.
        return await self._exact(space, scope, query, limit)

    async def _is_narrow(self, space: SpaceInUse, scope: Scope) -> bool:
        """Whether the scope's vectors are few enough to compare all."""
        if space.dim > LARGEST_INDEXED:
            return True
        key = space.id, hash(scope)
        known = self._narrow.get(key)
        if known is None:
            arguments = Arguments()
            condition = scope_condition(scope, "v", arguments)
            least, share = arguments.add(EXACT_LIMIT), arguments.add(EXACT_SHARE)
            sql = _WIDTH.format(space=space.id, condition=condition, least=least, share=share)
            [[narrow]] = await self._connections.read(sql, *arguments.values)
            known = self._narrow[key] = narrow is not False  # unknown where the guild holds nothing
        return known

    async def _exact(self, space: SpaceInUse, scope: Scope, query: NDArray[np.float32], limit: int) -> list[Any]:
        from pgvector import HalfVector

        arguments = Arguments()
        condition = scope_condition(scope, "v", arguments)
        sql = _EXACT.format(
            space=space.id, condition=condition, vector=arguments.add(HalfVector(query)), limit=arguments.add(limit)
        )
        return await self._connections.read(sql, *arguments.values)

    async def _walk(self, space: SpaceInUse, scope: Scope, query: NDArray[np.float32], limit: int) -> list[Any]:
        from pgvector import HalfVector

        arguments = Arguments()
        condition = scope_condition(scope, "v", arguments)
        # The index is on the vector as one of `dim` dimensions: without that cast it does not offer itself.
        cast = f"::halfvec({space.dim})"
        distance = f"v.vector{cast} <#> {arguments.add(HalfVector(query))}{cast}"
        walked, most = arguments.add(max(WALKED, limit)), arguments.add(limit)
        sql = _WALK.format(space=space.id, condition=condition, distance=distance, walked=walked, limit=most)
        async with self._connections.reading() as connection:
            await connection.execute(_WALKING)
            return list(await connection.fetch(sql, *arguments.values))
