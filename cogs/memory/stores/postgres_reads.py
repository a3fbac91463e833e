"""Reads by id, by guild and by author on PostgreSQL: what an answer, `/status` and an export need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogs.memory.records import ChannelInfo, Neighbours, StoredRow, StoreStats, Surroundings
from cogs.memory.stores.message_rows import READ_COLUMNS, READ_COUNT, to_datetime
from cogs.memory.stores.postgres_rows import (
    Arguments,
    channel_condition,
    message_of,
    possible_ids,
    scope_condition,
    text_in,
    text_out,
)
from cogs.memory.stores.surroundings import beside, with_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from cogs.memory.records import Scope, StoredMessage
    from cogs.memory.stores.postgres_connections import Connection, PostgresConnections

_PAGE: Final = 500

_ASKED = "m.id = ANY ({ids}::bigint[]) AND {condition}"
_FILTER = f"SELECT m.id FROM messages m WHERE {_ASKED}"  # noqa: S608  # constants
_LOAD = f"""
    SELECT {READ_COLUMNS}, v.vector, s.sketch FROM messages m
    LEFT JOIN vectors v ON v.guild_id = m.guild_id AND v.message_id = m.id AND v.space_id = {{space}}
    LEFT JOIN sketches s ON s.guild_id = v.guild_id AND s.message_id = v.message_id
    WHERE {_ASKED}
"""  # noqa: S608  # constants
_SKETCHES = """
    SELECT v.message_id, s.sketch FROM vectors v
    LEFT JOIN sketches s ON s.guild_id = v.guild_id AND s.message_id = v.message_id AND v.space_id = {space}
    WHERE v.message_id = ANY ({ids}::bigint[]) AND {condition}
"""
_SAME_CHANNEL = "FROM messages n WHERE n.guild_id = $1 AND n.channel_id = m.channel_id"
_NEIGHBOURS = f"""
    SELECT m.id, before.ids, after.id, r.id, answer.id FROM messages m
    LEFT JOIN LATERAL (
        SELECT array_agg(b.id ORDER BY b.id DESC) AS ids
        FROM (SELECT n.id {_SAME_CHANNEL} AND n.id < m.id ORDER BY n.id DESC LIMIT 2) b
    ) before ON true
    LEFT JOIN LATERAL (SELECT n.id {_SAME_CHANNEL} AND n.id > m.id ORDER BY n.id LIMIT 1) after ON true
    LEFT JOIN messages r ON r.guild_id = $1 AND r.id = m.reply_to AND r.channel_id = m.channel_id
    LEFT JOIN LATERAL (SELECT n.id {_SAME_CHANNEL} AND n.reply_to = m.id ORDER BY n.id LIMIT 1) answer ON true
    WHERE {_ASKED}
"""  # noqa: S608  # constants

# Steps from one distinct author and name to the next along the index: as many steps as names, however many messages.
_NAMES = """
    WITH RECURSIVE names (author_id, author_key) AS (
        (SELECT m.author_id, m.author_key FROM messages m
         WHERE m.guild_id = $1 ORDER BY m.author_id, m.author_key LIMIT 1)
        UNION ALL
        SELECT n.author_id, n.author_key FROM names CROSS JOIN LATERAL (
            SELECT m.author_id, m.author_key FROM messages m
            WHERE m.guild_id = $1 AND (m.author_id, m.author_key) > (names.author_id, names.author_key)
            ORDER BY m.author_id, m.author_key LIMIT 1
        ) n
    )
    SELECT m.author_id, m.author_name, m.author_handle FROM names CROSS JOIN LATERAL (
        SELECT n.id, n.author_id, n.author_name, n.author_handle FROM messages n
        WHERE n.guild_id = $1 AND n.author_id = names.author_id AND n.author_key = names.author_key
        ORDER BY n.id DESC LIMIT 1
    ) m ORDER BY m.id DESC
"""
_USED = """
    WITH RECURSIVE used (id) AS (
        SELECT min(m.{column}) FROM messages m WHERE m.guild_id = $1
        UNION ALL
        SELECT (SELECT min(n.{column}) FROM messages n WHERE n.guild_id = $1 AND n.{column} > used.id)
        FROM used WHERE used.id IS NOT NULL
    )
"""
_DISTINCT = f"{_USED} SELECT id FROM used WHERE id IS NOT NULL"  # noqa: S608  # constants
_CHANNELS = f"""
    {_USED.format(column="channel_id")}
    SELECT ids.id, coalesce(c.name, ''), c.parent_id
    FROM (
        SELECT id FROM used WHERE id IS NOT NULL UNION SELECT id FROM channels WHERE guild_id = $1
    ) ids LEFT JOIN channels c ON c.guild_id = $1 AND c.id = ids.id ORDER BY ids.id
"""  # noqa: S608  # constants
GUILDS: Final = "SELECT guild_id FROM guilds"
"""The only statement that reads across guilds: which there are."""
_SIZES = """
    SELECT g.guild_id, g.documents,
        (SELECT min(m.created_us) FROM messages m WHERE m.guild_id = $1),
        (SELECT max(m.created_us) FROM messages m WHERE m.guild_id = $1)
    FROM guilds g WHERE g.guild_id = $1
"""
# Two ranges of the index rather than one test of every message.
_AWAITING = """
    SELECT (SELECT count(*) FROM vectors v WHERE v.guild_id = $1 AND v.space_id < $2)
         + (SELECT count(*) FROM vectors v WHERE v.guild_id = $1 AND v.space_id > $2)
"""
_TOMBSTONES = "SELECT count(*) FROM tombstones WHERE guild_id = $1"
_BYTES = """
    SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'm')
"""
_MESSAGES = f"SELECT {READ_COLUMNS} FROM messages m WHERE m.guild_id = $1 AND m.id = ANY ($2::bigint[])"  # noqa: S608
_ITERATE = f"""
    SELECT {READ_COLUMNS} FROM messages m WHERE m.guild_id = $1 AND m.id > $2{{author}} ORDER BY m.id LIMIT $3
"""  # noqa: S608  # constants
_OLDEST = """
    SELECT min(first.created_us) FROM unnest($2::bigint[]) c (id) CROSS JOIN LATERAL (
        SELECT m.created_us FROM messages m WHERE m.guild_id = $1 AND m.channel_id = c.id ORDER BY m.id LIMIT 1
    ) first
"""
SETTING: Final = "SELECT value FROM settings WHERE guild_id = $1 AND key = $2"


async def load(
    connections: PostgresConnections, scope: Scope, ids: Sequence[int], space_id: int
) -> dict[int, StoredRow]:
    """The rows in the scope's channels, by id, with the vectors of a space."""
    sql, arguments = _asked(_LOAD, scope, ids)
    rows = await connections.read(sql.format(space=space_id), *arguments.values)
    return {
        row[0]: StoredRow(
            message_of(row[:READ_COUNT]),
            None if row["vector"] is None else row["vector"].to_numpy(),
            row["sketch"] or b"",
        )
        for row in rows
    }


async def surroundings(
    connections: PostgresConnections, scope: Scope, hits: Sequence[int], widened: int, space_id: int
) -> Surroundings:
    """What stands around the hits and beside the first ``widened`` of them, and the sketches of all that."""
    around = await neighbours(connections, scope, hits[:widened])
    near = beside(around[i] for i in hits[:widened] if i in around)
    if scope.is_filtered:
        near = sorted(await filter_ids(connections, scope, near))
    around |= await neighbours(connections, scope, [i for i in dict.fromkeys([*hits, *near]) if i not in around])
    sql, arguments = _asked(_SKETCHES, scope, with_context(around), "v")
    rows = await connections.read(sql.format(space=space_id), *arguments.values)
    return Surroundings(around, {message_id: sketch or b"" for message_id, sketch in rows})


async def neighbours(connections: PostgresConnections, scope: Scope, ids: Sequence[int]) -> dict[int, Neighbours]:
    """The messages around each of the ids that lies in the scope's channels."""
    sql, arguments = _asked(_NEIGHBOURS, scope, ids)
    around: dict[int, Neighbours] = {}
    for message_id, before, later, reply_to, answer in await connections.read(sql, *arguments.values):
        previous, earlier = (*(before or ()), None, None)[:2]
        around[message_id] = Neighbours(previous, earlier, later, reply_to, answer)
    return around


async def filter_ids(connections: PostgresConnections, scope: Scope, ids: Sequence[int]) -> set[int]:
    """Those of the ids that lie in the whole scope."""
    arguments = Arguments()
    condition = scope_condition(scope, "m", arguments, by_id=True)
    sql = _FILTER.format(ids=arguments.add(possible_ids(ids)), condition=condition)
    return {row[0] for row in await connections.read(sql, *arguments.values)}


async def messages_by_id(connection: Connection, guild_id: int, ids: Sequence[int]) -> list[StoredMessage]:
    """Messages of a guild, whatever their channel: for what embeds them."""
    return [message_of(row) for row in await connection.fetch(_MESSAGES, guild_id, list(ids))]


async def authors(connections: PostgresConnections, guild_id: int) -> dict[int, tuple[str, ...]]:
    """Every author's names, newest first."""
    names: dict[int, dict[str, None]] = {}
    for author_id, name, handle in await connections.read(_NAMES, guild_id):
        names.setdefault(author_id, {}).update(dict.fromkeys(text_out(n) for n in (name, handle) if n))
    return {author_id: tuple(names[author_id]) for author_id in sorted(names)}


async def channels(connections: PostgresConnections, guild_id: int) -> list[ChannelInfo]:
    """All channels with messages or a name."""
    rows = await connections.read(_CHANNELS, guild_id)
    return [ChannelInfo(channel_id, guild_id, text_out(name), parent_id) for channel_id, name, parent_id in rows]


async def oldest(connections: PostgresConnections, scope: Scope) -> datetime | None:
    """The time of the oldest message in the scope's channels; within a channel ids are in order of time."""
    arguments = Arguments()
    channel_condition(scope, "m", arguments)
    [[moment]] = await connections.read(_OLDEST, *arguments.values)
    return None if moment is None else to_datetime(moment)


async def guilds(connections: PostgresConnections) -> list[int]:
    """All guilds that ever held something."""
    return sorted(row[0] for row in await connections.read(GUILDS))


async def stats(connections: PostgresConnections, guild_id: int | None, space_id: int) -> StoreStats:
    """Sizes of one guild or of all."""
    asked = await guilds(connections) if guild_id is None else [guild_id]
    [[bytes_on_disk]] = await connections.read(_BYTES)
    messages = waiting = tombstones = 0
    holding: list[int] = []
    moments: list[int] = []
    used: dict[str, set[int]] = {"channel_id": set(), "author_id": set()}
    for guild in asked:
        for _, documents, oldest, newest in await connections.read(_SIZES, guild):
            messages += documents
            holding += [guild] if documents else []
            moments += [moment for moment in (oldest, newest) if moment is not None]
        [[awaiting]] = await connections.read(_AWAITING, guild, space_id)
        waiting += awaiting
        [[dead]] = await connections.read(_TOMBSTONES, guild)
        tombstones += dead
        for column, ids in used.items():
            ids.update(row[0] for row in await connections.read(_DISTINCT.format(column=column), guild))
    return StoreStats(
        messages=messages,
        embedded=messages - waiting,
        awaiting=waiting,
        guild_ids=tuple(holding),
        channels=len(used["channel_id"]),
        authors=len(used["author_id"]),
        tombstones=tombstones,
        bytes_on_disk=int(bytes_on_disk or 0),
        oldest=to_datetime(min(moments)) if moments else None,
        newest=to_datetime(max(moments)) if moments else None,
    )


async def iterate(
    connections: PostgresConnections, guild_id: int, author_id: int | None
) -> AsyncIterator[StoredMessage]:
    """All messages of a guild or of one author in it, in order of id."""
    sql = _ITERATE.format(author="" if author_id is None else " AND m.author_id = $4")
    last = 0
    while True:
        rows = await connections.read(sql, guild_id, last, _PAGE, *(() if author_id is None else (author_id,)))
        for row in rows:
            yield message_of(row)
        if len(rows) < _PAGE:
            return
        last = rows[-1][0]


async def get_setting(connections: PostgresConnections, guild_id: int, key: str) -> str | None:
    """A stored setting."""
    rows = await connections.read(SETTING, guild_id, text_in(key))
    return text_out(rows[0][0]) if rows else None


def _asked(sql: str, scope: Scope, ids: Sequence[int], table: str = "m") -> tuple[str, Arguments]:
    arguments = Arguments()
    condition = channel_condition(scope, table, arguments, by_id=True)
    return sql.format(ids=arguments.add(possible_ids(ids)), condition=condition, space="{space}"), arguments
