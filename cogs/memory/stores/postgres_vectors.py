"""Vectors on PostgreSQL: spaces with their indexes, and the work list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogs.memory.exceptions import StoreError
from cogs.memory.stores.postgres_connections import columns
from cogs.memory.stores.postgres_migrations import LOCK
from cogs.memory.stores.space_in_use import SpaceInUse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from cogs.memory.records import Embedding
    from cogs.memory.stores.postgres_connections import Connection

NO_SPACE: Final = -1
"""What ``vectors.space_id`` never is: in this space every message awaits embedding."""
LARGEST_INDEXED: Final = 4000
"""Dimensions that pgvector's HNSW index takes; longer vectors are compared one by one."""
LARGEST_COVERED: Final = 1200
"""Dimensions that fit an entry of a b-tree; of longer vectors those in scope are read from the table."""
INDEX_S: Final = 6 * 3600.0
"""Seconds that building the index of a new space may take where vectors are there already."""
LEASE_S: Final = 90
"""Seconds that messages stay claimed: of a process that was killed, others take them up after that."""

_INDEX = """
    CREATE INDEX IF NOT EXISTS vectors_in_space_{space} ON vectors
    USING hnsw ((vector::halfvec({dim})) halfvec_ip_ops) WITH (m = 16, ef_construction = 64) WHERE space_id = {space}
"""
# What is compared one by one, channel by channel on neighbouring pages: the table has each on a page of its own.
_COVER = """
    CREATE INDEX IF NOT EXISTS vectors_covered_{space} ON vectors (guild_id, channel_id)
    INCLUDE (message_id, author_id, created_us, flags, vector) WHERE space_id = {space}
"""
# In one go it takes 24 s for 100,000 vectors; built beside writes, one by one, several times that.
_UNHURRIED = "SELECT set_config('statement_timeout', '0', true), set_config('maintenance_work_mem', '512MB', true)"
_PUT_SPACE = "INSERT INTO spaces (key, dim, sketch_dim) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING"
_SPACE = "SELECT id, key, dim, sketch_dim FROM spaces WHERE key = $1"
_CLAIM = """
    WITH newest AS (
        SELECT w.message_id FROM unnest($2::integer[]) s (space_id) CROSS JOIN LATERAL (
            SELECT v.message_id FROM vectors v
            WHERE v.guild_id = $1 AND v.space_id = s.space_id
              AND (v.claimed_until IS NULL OR v.claimed_until < now() OR v.claimed_by = $3)
            ORDER BY v.message_id DESC LIMIT $4 FOR UPDATE SKIP LOCKED
        ) w ORDER BY w.message_id DESC LIMIT $4
    )
    UPDATE vectors v SET claimed_by = $3, claimed_until = now() + make_interval(secs => $5)
    FROM newest WHERE v.guild_id = $1 AND v.message_id = newest.message_id RETURNING v.message_id
"""
_RELEASE = """
    UPDATE vectors v SET claimed_by = NULL, claimed_until = NULL
    WHERE v.guild_id = $1 AND v.message_id = ANY ($2::bigint[]) AND v.claimed_by = $3
"""
# The row's own hash, not that of the message: it is read again if another transaction changed it meanwhile.
_PUT = """
    UPDATE vectors v SET space_id = $2, vector = e.vector, claimed_by = NULL, claimed_until = NULL
    FROM unnest($3::bigint[], $4::bytea[], $5::halfvec[]) e (message_id, content_hash, vector)
    WHERE v.guild_id = $1 AND v.message_id = e.message_id AND v.content_hash = e.content_hash RETURNING v.message_id
"""
_PUT_SKETCHES = """
    INSERT INTO sketches (guild_id, message_id, sketch)
    SELECT $1, e.message_id, e.sketch FROM unnest($2::bigint[], $3::bytea[]) e (message_id, sketch)
    ON CONFLICT (guild_id, message_id) DO UPDATE SET sketch = excluded.sketch
"""
_LOCK_VECTORS = """
    SELECT FROM vectors v WHERE v.guild_id = $1 AND v.message_id = ANY ($2::bigint[]) ORDER BY v.message_id FOR UPDATE
"""


def require_space(space: SpaceInUse | None) -> SpaceInUse:
    """The space in use.

    Raises:
        StoreError: there is none yet.
    """
    if space is None:
        raise StoreError("No embedding model is in use yet.")
    return space


async def put_space(connection: Connection, key: str, dim: int, sketch_dim: int, *, indexed: bool = True) -> SpaceInUse:
    """A space with its indexes, new or known; for one process at a time, as indexes are made."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
    await connection.execute(_PUT_SPACE, key, dim, sketch_dim)
    space = SpaceInUse(*await connection.fetchrow(_SPACE, key))
    if indexed and dim <= LARGEST_INDEXED:
        await connection.execute(_UNHURRIED)
        await connection.execute(_INDEX.format(space=space.id, dim=space.dim), timeout=INDEX_S)
        if dim <= LARGEST_COVERED:
            await connection.execute(_COVER.format(space=space.id), timeout=INDEX_S)
    return space


async def lock_vectors(connection: Connection, guild_id: int, ids: Sequence[int]) -> None:
    """Lock vectors' rows in the order of their ids: two that lock them in different orders block each other."""
    await connection.execute(_LOCK_VECTORS, guild_id, list(ids))


async def claim(connection: Connection, guild_id: int, spaces: Sequence[int], claimer: UUID, limit: int) -> list[int]:
    """Claim the newest messages whose vector is of one of ``spaces`` and which nobody else embeds."""
    rows = await connection.fetch(_CLAIM, guild_id, list(spaces), claimer, limit, float(LEASE_S))
    return [row[0] for row in rows]


async def release(connection: Connection, guild_id: int, ids: Sequence[int], claimer: UUID) -> None:
    """Let others have what was claimed."""
    await lock_vectors(connection, guild_id, ids)
    await connection.execute(_RELEASE, guild_id, list(ids), claimer)


async def put_embeddings(
    connection: Connection, guild_id: int, space_id: int, embeddings: Iterable[Embedding]
) -> list[int]:
    """Store the vectors of messages that still have the text that was embedded; returns their ids."""
    from pgvector import HalfVector

    latest = {e.message_id: e for e in embeddings}
    chosen = [latest[i] for i in sorted(latest)]
    ids = [e.message_id for e in chosen]
    await lock_vectors(connection, guild_id, ids)
    hashes, vectors = [e.content_hash for e in chosen], [HalfVector(e.vector) for e in chosen]
    rows = await connection.fetch(_PUT, guild_id, space_id, ids, hashes, vectors)
    stored = sorted(row[0] for row in rows)
    await connection.execute(_PUT_SKETCHES, guild_id, *columns([(i, latest[i].sketch) for i in stored], 2))
    return stored
