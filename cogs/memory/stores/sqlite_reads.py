"""Reads by id, by guild and by author: what the answer to a question, `/status` and an export need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cogs.memory.records import ChannelInfo, StoredRow, StoreStats
from cogs.memory.stores.message_rows import READ_COLUMNS, READ_COUNT, to_datetime, to_message
from cogs.memory.stores.sqlite_packing import Packed
from cogs.memory.stores.sqlite_rows import channel_condition, id_list

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from cogs.memory.records import Scope, StoredMessage
    from cogs.memory.stores.sqlite_connections import Connections, Statements

_PAGE = 500

_LOADED = Packed(READ_COLUMNS, "v.vector", "s.sketch")
_LOAD = f"""
    SELECT {_LOADED.select}
    FROM json_each(:ids) j CROSS JOIN messages m ON m.id = j.value
    LEFT JOIN vectors v ON v.message_id = m.id AND m.vector_space = :space
    LEFT JOIN sketches s ON s.message_id = m.id AND m.vector_space = :space
    WHERE {{condition}}
"""  # noqa: S608  # a constant
_AWAITING_OF_SPACE = "SELECT {columns} FROM messages m WHERE m.vector_space = ? ORDER BY m.id DESC LIMIT ?"

# Steps from one distinct author and name to the next along the index: as many steps as names, however many messages.
_NAMES = """
    WITH RECURSIVE names (id) AS (
        SELECT id FROM (
            SELECT id FROM messages INDEXED BY messages_by_author WHERE guild_id = :guild
            ORDER BY author_id, author_name, author_handle LIMIT 1
        )
        UNION ALL
        SELECT coalesce(
            (SELECT n.id FROM messages n INDEXED BY messages_by_author
             WHERE n.guild_id = :guild AND n.author_id = m.author_id AND n.author_name = m.author_name
               AND n.author_handle > m.author_handle ORDER BY n.author_handle LIMIT 1),
            (SELECT n.id FROM messages n INDEXED BY messages_by_author
             WHERE n.guild_id = :guild AND n.author_id = m.author_id
               AND n.author_name > m.author_name ORDER BY n.author_name, n.author_handle LIMIT 1),
            (SELECT n.id FROM messages n INDEXED BY messages_by_author
             WHERE n.guild_id = :guild
               AND n.author_id > m.author_id ORDER BY n.author_id, n.author_name, n.author_handle LIMIT 1)
        ) FROM names JOIN messages m ON m.id = names.id
    )
    SELECT m.author_id, m.author_name, m.author_handle, (
        SELECT n.id FROM messages n INDEXED BY messages_by_author
        WHERE n.guild_id = :guild AND n.author_id = m.author_id
          AND n.author_name = m.author_name AND n.author_handle = m.author_handle
        ORDER BY n.id DESC LIMIT 1
    ) AS newest
    FROM names JOIN messages m ON m.id = names.id ORDER BY newest DESC
"""
_CHANNELS = """
    WITH RECURSIVE used (id) AS (
        SELECT min(channel_id) FROM messages WHERE guild_id = :guild
        UNION ALL
        SELECT (SELECT min(n.channel_id) FROM messages n WHERE n.guild_id = :guild AND n.channel_id > used.id)
        FROM used WHERE used.id IS NOT NULL
    )
    SELECT ids.id, coalesce(c.name, ''), c.parent_id
    FROM (
        SELECT id FROM used WHERE id IS NOT NULL UNION SELECT id FROM channels WHERE guild_id = :guild
    ) ids LEFT JOIN channels c ON c.guild_id = :guild AND c.id = ids.id ORDER BY ids.id
"""
_GUILDS = """
    WITH RECURSIVE guilds (id) AS (
        SELECT min(guild_id) FROM messages
        UNION ALL
        SELECT (SELECT min(guild_id) FROM messages WHERE guild_id > guilds.id) FROM guilds WHERE guilds.id IS NOT NULL
    )
    SELECT id FROM guilds WHERE id IS NOT NULL
"""
_USED = """
    WITH RECURSIVE used (id) AS (
        SELECT min({column}) FROM messages WHERE guild_id = :guild
        UNION ALL
        SELECT (SELECT min(n.{column}) FROM messages n WHERE n.guild_id = :guild AND n.{column} > used.id)
        FROM used WHERE used.id IS NOT NULL
    )
    SELECT id FROM used WHERE id IS NOT NULL
"""
_OLDEST = """
    SELECT min((
        SELECT m.created_us FROM messages m INDEXED BY messages_by_channel
        WHERE m.guild_id = :guild AND m.channel_id = j.value ORDER BY m.id LIMIT 1
    )) FROM json_each(:channels) j
"""
_SIZES = "SELECT count(*), min(m.created_us), max(m.created_us) FROM messages m INDEXED BY messages_by_channel"
# Two ranges of the index rather than one test of every message.
_AWAITING = """
    SELECT (SELECT count(*) FROM messages m INDEXED BY messages_by_vector_space WHERE m.vector_space < :space{also})
         + (SELECT count(*) FROM messages m INDEXED BY messages_by_vector_space WHERE m.vector_space > :space{also})
"""
_TOMBSTONES = "SELECT count(*) FROM tombstones m"
_OF_GUILD = "m.guild_id = :guild"


async def load(connections: Connections, scope: Scope, ids: Sequence[int], space_id: int) -> dict[int, StoredRow]:
    """The rows in the scope's channels, by id, with the vectors of a space."""
    condition, parameters = channel_condition(scope)
    parameters |= {"ids": id_list(ids), "space": space_id}

    def look(database: Statements) -> dict[int, StoredRow]:
        rows = database.execute(_LOAD.format(condition=condition), parameters)
        return {row[0]: _stored_row(row) for row in _LOADED.rows(rows)}

    return await connections.run(look)


async def awaiting(connections: Connections, space_id: int, limit: int) -> list[StoredMessage]:
    """The newest messages without a vector of a space."""
    if limit < 1:
        return []
    spaces = [row[0] for row in await connections.read("SELECT id FROM spaces WHERE id <> ?", (space_id,))]
    rows: list[tuple[Any, ...]] = []
    for other in (0, *spaces):
        sql = _AWAITING_OF_SPACE.format(columns=READ_COLUMNS)
        rows += await connections.read(sql, (other, limit))
    rows.sort(key=lambda row: -int(row[0]))
    return [to_message(row) for row in rows[:limit]]


async def authors(connections: Connections, guild_id: int) -> dict[int, tuple[str, ...]]:
    """Every author's names, newest first."""
    names: dict[int, dict[str, None]] = {}
    for author_id, name, handle, _ in await connections.read(_NAMES, {"guild": guild_id}):
        names.setdefault(author_id, {}).update(dict.fromkeys(n for n in (name, handle) if n))
    return {author_id: tuple(names[author_id]) for author_id in sorted(names)}


async def channels(connections: Connections, guild_id: int) -> list[ChannelInfo]:
    """All channels with messages or a name."""
    rows = await connections.read(_CHANNELS, {"guild": guild_id})
    return [ChannelInfo(channel_id, guild_id, name, parent_id) for channel_id, name, parent_id in rows]


async def oldest(connections: Connections, scope: Scope) -> datetime | None:
    """The time of the oldest message in the scope's channels; within a channel ids are in order of time."""
    _, parameters = channel_condition(scope)
    [[moment]] = await connections.read(_OLDEST, parameters)
    return None if moment is None else to_datetime(moment)


async def stats(
    connections: Connections, guild_id: int | None, space_id: int, *, indexed: int, bytes_on_disk: int
) -> StoreStats:
    """Sizes of one guild or of all; ``indexed`` is what the vector index holds of them."""
    guilds = [row[0] for row in await connections.read(_GUILDS)]
    if guild_id is not None:
        guilds = [guild for guild in guilds if guild == guild_id]
    where, also = ("", "") if guild_id is None else (f" WHERE {_OF_GUILD}", f" AND {_OF_GUILD}")
    parameters = {"guild": guild_id, "space": space_id}
    [[messages, oldest, newest]] = await connections.read(_SIZES + where, parameters)
    [[waiting]] = await connections.read(_AWAITING.format(also=also), parameters)
    [[tombstones]] = await connections.read(_TOMBSTONES + where, parameters)
    embedded = messages - waiting
    return StoreStats(
        messages=messages,
        embedded=embedded,
        awaiting=waiting,
        guild_ids=tuple(guilds),
        channels=len(await _distinct(connections, "channel_id", guilds)),
        authors=len(await _distinct(connections, "author_id", guilds)),
        tombstones=tombstones,
        bytes_on_disk=bytes_on_disk,
        oldest=None if oldest is None else to_datetime(oldest),
        newest=None if newest is None else to_datetime(newest),
        index_ready=min(1.0, indexed / embedded) if embedded else 1.0,
    )


async def _distinct(connections: Connections, column: str, guilds: Sequence[int]) -> set[int]:
    """All values of an id column in some guilds, by steps along its index."""
    sql = _USED.format(column=column)
    return {row[0] for guild in guilds for row in await connections.read(sql, {"guild": guild})}


async def iterate(connections: Connections, guild_id: int, author_id: int | None) -> AsyncIterator[StoredMessage]:
    """All messages of a guild or of one author in it, in order of id."""
    author = "" if author_id is None else " AND +m.author_id = :author"
    # The plus signs keep the order of ids the way through the table: no page sorts what the next will sort again.
    sql = (
        f"SELECT {READ_COLUMNS} FROM messages m"  # noqa: S608  # constants
        f" WHERE m.id > :last AND +m.guild_id = :guild{author} ORDER BY m.id LIMIT :page"
    )
    last = 0
    while True:
        rows = await connections.read(sql, {"last": last, "guild": guild_id, "author": author_id, "page": _PAGE})
        for row in rows:
            yield to_message(row)
        if len(rows) < _PAGE:
            return
        last = rows[-1][0]


async def get_setting(connections: Connections, guild_id: int, key: str) -> str | None:
    """A stored setting."""
    rows = await connections.read("SELECT value FROM settings WHERE guild_id = ? AND key = ?", (guild_id, key))
    return str(rows[0][0]) if rows else None


def _stored_row(row: Sequence[Any]) -> StoredRow:
    vector, sketch = row[READ_COUNT:]
    return StoredRow(
        to_message(row), None if vector is None else np.frombuffer(vector, dtype="<f2"), sketch if sketch else b""
    )
