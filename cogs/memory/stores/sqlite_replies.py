"""The bot's replies and what they quote. What makes a reply stale are two triggers of the schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cogs.memory.records import QuotingReply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.records import StoredMessage
    from cogs.memory.stores.sqlite_connections import Connections, Statements

_STILL_SAID = "SELECT 1 FROM messages WHERE id = ? AND guild_id = ? AND content = ?"
_ALL = "SELECT id, channel_id, parts, stale FROM replies WHERE guild_id = ? ORDER BY id"
_ALL_SOURCES = """
    SELECT s.reply_id, s.source_id FROM replies r JOIN reply_sources s ON s.reply_id = r.id
    WHERE r.guild_id = ? ORDER BY s.source_id
"""
_PUT_AS_IS = """
    INSERT INTO replies VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET parts = excluded.parts, stale = excluded.stale
"""
_PUT_SOURCE = "INSERT OR IGNORE INTO reply_sources VALUES (?, ?)"
_STALE = "SELECT guild_id, channel_id, parts FROM replies INDEXED BY replies_stale WHERE stale ORDER BY id LIMIT ?"


def put(database: Statements, reply: QuotingReply, sources: Sequence[StoredMessage]) -> None:
    """Store a reply with what it quotes; it is stale from the start if a source has gone or changed meanwhile."""
    lost = False
    for source in sources:
        lost = lost or not database.execute(_STILL_SAID, (source.id, reply.guild_id, source.content))
    database.execute(
        "INSERT INTO replies VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET parts = excluded.parts, stale = max(stale, excluded.stale)",
        (reply.id, reply.guild_id, reply.channel_id, json.dumps(reply.message_ids), int(lost)),
    )
    database.executemany(_PUT_SOURCE, [(source.id, reply.id) for source in sources])


async def stale(connections: Connections, limit: int) -> list[QuotingReply]:
    """Return replies that quote what is gone or changed, oldest first."""
    rows = await connections.read(_STALE, (limit,))
    return [QuotingReply(guild_id, channel_id, tuple(json.loads(parts))) for guild_id, channel_id, parts in rows]


async def all_of(connections: Connections, guild_id: int) -> list[tuple[QuotingReply, bool, tuple[int, ...]]]:
    """Return a guild's replies in order of id, each with whether it is stale and with what it quotes."""
    sources: dict[int, list[int]] = {}
    for reply_id, source_id in await connections.read(_ALL_SOURCES, (guild_id,)):
        sources.setdefault(reply_id, []).append(source_id)
    return [
        (QuotingReply(guild_id, channel_id, tuple(json.loads(parts))), bool(stale), tuple(sources.get(reply_id, ())))
        for reply_id, channel_id, parts, stale in await connections.read(_ALL, (guild_id,))
    ]


def put_as_is(database: Statements, reply: QuotingReply, source_ids: Sequence[int], *, is_stale: bool) -> None:
    """Store a reply of another store, without a look at what it quotes."""
    database.execute(
        _PUT_AS_IS, (reply.id, reply.guild_id, reply.channel_id, json.dumps(reply.message_ids), int(is_stale))
    )
    database.executemany(_PUT_SOURCE, [(source_id, reply.id) for source_id in source_ids])


def drop(database: Statements, guild_id: int, reply_id: int) -> None:
    """Remove a reply."""
    database.execute("DELETE FROM replies WHERE id = ? AND guild_id = ?", (reply_id, guild_id))
