"""The bot's replies and what they quote. What makes a reply stale are two triggers of the schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cogs.memory.records import QuotingReply

if TYPE_CHECKING:
    from collections.abc import Sequence

    import aiosqlite

    from cogs.memory.records import StoredMessage
    from cogs.memory.stores.sqlite_connections import Connections

_STILL_SAID = "SELECT 1 FROM messages WHERE id = ? AND guild_id = ? AND content = ?"
_STALE = "SELECT guild_id, channel_id, parts FROM replies INDEXED BY replies_stale WHERE stale ORDER BY id LIMIT ?"


async def put(writer: aiosqlite.Connection, reply: QuotingReply, sources: Sequence[StoredMessage]) -> None:
    """Store a reply with what it quotes; it is stale from the start if a source has gone or changed meanwhile."""
    lost = False
    for source in sources:
        found = await writer.execute_fetchall(_STILL_SAID, (source.id, reply.guild_id, source.content))
        lost = lost or not list(found)
    await writer.execute(
        "INSERT INTO replies VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET parts = excluded.parts, stale = max(stale, excluded.stale)",
        (reply.id, reply.guild_id, reply.channel_id, json.dumps(reply.message_ids), int(lost)),
    )
    await writer.executemany(
        "INSERT OR IGNORE INTO reply_sources VALUES (?, ?)", [(source.id, reply.id) for source in sources]
    )


async def stale(connections: Connections, limit: int) -> list[QuotingReply]:
    """Return replies that quote what is gone or changed, oldest first."""
    rows = await connections.read(_STALE, (limit,))
    return [QuotingReply(guild_id, channel_id, tuple(json.loads(parts))) for guild_id, channel_id, parts in rows]


async def drop(writer: aiosqlite.Connection, guild_id: int, reply_id: int) -> None:
    """Remove a reply."""
    await writer.execute("DELETE FROM replies WHERE id = ? AND guild_id = ?", (reply_id, guild_id))
