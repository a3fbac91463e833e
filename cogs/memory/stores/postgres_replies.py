"""The bot's replies and what they quote, on PostgreSQL; the writes of messages say which become stale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogs.memory.records import QuotingReply
from cogs.memory.stores.postgres_reads import guilds
from cogs.memory.stores.postgres_rows import text_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.records import StoredMessage
    from cogs.memory.stores.postgres_connections import Connection, PostgresConnections

_STILL_SAID = """
    SELECT count(*) FROM unnest($2::bigint[], $3::text[]) s (id, content)
    JOIN messages m ON m.guild_id = $1 AND m.id = s.id AND m.content = s.content
"""
_PUT = """
    INSERT INTO replies AS r (guild_id, id, channel_id, parts, stale) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (guild_id, id) DO UPDATE SET parts = excluded.parts, stale = r.stale OR excluded.stale
"""
_PUT_SOURCES = """
    INSERT INTO reply_sources (guild_id, source_id, reply_id) SELECT $1, s.id, $3 FROM unnest($2::bigint[]) s (id)
    ON CONFLICT (guild_id, source_id, reply_id) DO NOTHING
"""
_ALL = """
    SELECT r.id, r.channel_id, r.parts, r.stale, ARRAY (
        SELECT s.source_id FROM reply_sources s WHERE s.guild_id = $1 AND s.reply_id = r.id ORDER BY s.source_id
    ) FROM replies r WHERE r.guild_id = $1 ORDER BY r.id
"""
_PUT_AS_IS = """
    INSERT INTO replies (guild_id, id, channel_id, parts, stale) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (guild_id, id) DO UPDATE SET parts = excluded.parts, stale = excluded.stale
"""
_STALE = """
    SELECT r.guild_id, r.channel_id, r.parts FROM replies r
    WHERE r.guild_id = ANY ($1::bigint[]) AND r.stale ORDER BY r.id LIMIT $2
"""
_MARK = """
    UPDATE replies SET stale = true WHERE guild_id = $1 AND id IN (
        SELECT s.reply_id FROM reply_sources s WHERE s.guild_id = $1 AND s.source_id = ANY ($2::bigint[])
    )
"""
_DROP = "DELETE FROM replies WHERE guild_id = $1 AND id = $2"
_DROP_SOURCES = "DELETE FROM reply_sources WHERE guild_id = $1 AND reply_id = $2"


async def put(connection: Connection, reply: QuotingReply, sources: Sequence[StoredMessage]) -> None:
    """Store a reply with what it quotes; it is stale from the start if a source has gone or changed meanwhile.

    The caller holds the guild's row, so that no source goes between the look and the note.
    """
    said = {source.id: text_in(source.content) for source in sources}
    found = await connection.fetchval(_STILL_SAID, reply.guild_id, list(said), list(said.values()))
    await connection.execute(
        _PUT, reply.guild_id, reply.id, reply.channel_id, list(reply.message_ids), found < len(said)
    )
    await connection.execute(_PUT_SOURCES, reply.guild_id, list(said), reply.id)


async def mark_stale(connection: Connection, guild_id: int, source_ids: Sequence[int]) -> None:
    """Note that messages are gone or say something else."""
    if source_ids:
        await connection.execute(_MARK, guild_id, list(source_ids))


async def stale(connections: PostgresConnections, limit: int) -> list[QuotingReply]:
    """Return replies that quote what is gone or changed, oldest first."""
    rows = await connections.read(_STALE, await guilds(connections), limit)
    return [QuotingReply(guild_id, channel_id, tuple(parts)) for guild_id, channel_id, parts in rows]


async def all_of(connections: PostgresConnections, guild_id: int) -> list[tuple[QuotingReply, bool, tuple[int, ...]]]:
    """Return a guild's replies in order of id, each with whether it is stale and with what it quotes."""
    return [
        (QuotingReply(guild_id, channel_id, tuple(parts)), stale, tuple(sources))
        for _, channel_id, parts, stale, sources in await connections.read(_ALL, guild_id)
    ]


async def put_as_is(connection: Connection, reply: QuotingReply, source_ids: Sequence[int], *, is_stale: bool) -> None:
    """Store a reply of another store, without a look at what it quotes."""
    parts = list(reply.message_ids)
    await connection.execute(_PUT_AS_IS, reply.guild_id, reply.id, reply.channel_id, parts, is_stale)
    await connection.execute(_PUT_SOURCES, reply.guild_id, list(source_ids), reply.id)


async def drop(connection: Connection, guild_id: int, reply_id: int) -> None:
    """Remove a reply."""
    await connection.execute(_DROP_SOURCES, guild_id, reply_id)
    await connection.execute(_DROP, guild_id, reply_id)
