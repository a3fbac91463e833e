"""Every change of the database, as steps inside a transaction that the caller opened.

The full-text index stores no text: a row leaves it by being given what it was indexed with. So each change (1) takes
the affected messages out of the index as they stand, (2) changes the tables, (3) puts the affected messages back.
Affected are the messages themselves and, because the index also holds what was said before, the one after each.
"""

from __future__ import annotations

import json
import logging
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.records import UpsertResult
from cogs.memory.stores.message_rows import MessageRow, PlacedVectors, edited, latest_by_id
from cogs.memory.stores.sqlite_rows import id_list

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from cogs.memory.records import ChannelInfo, Embedding
    from cogs.memory.stores.sqlite_connections import Statements

log = logging.getLogger(__name__)

_COLUMNS = ", ".join(MessageRow._fields)
_OF_ROW = ", ".join(f"m.{name}" for name in MessageRow._fields)
_ROWS = f"SELECT {_OF_ROW} FROM json_each(?) j CROSS JOIN messages m ON m.id = j.value"  # noqa: S608  # constants
_TOMBSTONES = """
    SELECT t.guild_id, t.message_id FROM json_each(?) j
    CROSS JOIN tombstones t
        ON t.guild_id = json_extract(j.value, '$[0]') AND t.message_id = json_extract(j.value, '$[1]')
"""
_ERASURES = """
    SELECT e.guild_id, e.author_id, e.until_us FROM json_each(?) j
    CROSS JOIN erasures e
        ON e.guild_id = json_extract(j.value, '$[0]') AND e.author_id = json_extract(j.value, '$[1]')
"""
_NEXT_OF_PLACES = """
    SELECT (
        SELECT n.id FROM messages n INDEXED BY messages_by_channel
        WHERE n.guild_id = json_extract(j.value, '$[0]') AND n.channel_id = json_extract(j.value, '$[1]')
          AND n.id > json_extract(j.value, '$[2]')
        ORDER BY n.id LIMIT 1
    ) FROM json_each(?) j
"""
_WITH_NEXT = """
    SELECT m.id, (
        SELECT n.id FROM messages n INDEXED BY messages_by_channel
        WHERE n.guild_id = m.guild_id AND n.channel_id = m.channel_id AND n.id > m.id
        ORDER BY n.id LIMIT 1
    ) FROM json_each(?) j CROSS JOIN messages m ON m.id = j.value AND m.guild_id = ?
"""
_UNINDEX = """
    INSERT INTO message_search (message_search, rowid, author, content, previous, segments)
    SELECT 'delete', s.id, s.author, s.content, s.previous, s.segments
    FROM searchable s WHERE s.id IN (SELECT value FROM json_each(?))
"""
_INDEX = """
    INSERT INTO message_search (rowid, author, content, previous, segments)
    SELECT s.id, s.author, s.content, s.previous, s.segments
    FROM searchable s WHERE s.id IN (SELECT value FROM json_each(?)) ORDER BY s.id
"""
_PUT = (
    f"INSERT INTO messages ({_COLUMNS}) VALUES ({', '.join('?' * len(MessageRow._fields))})"  # noqa: S608
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in MessageRow._fields[1:])}"
)

# One statement for all of them: with one for each the writer's thread waits for the interpreter as many times.
_PUT_BLOBS = """
    INSERT OR REPLACE INTO {table}
    SELECT json_extract(j.value, '$[0]'),
        coalesce(substr(?2, json_extract(j.value, '$[1]'), json_extract(j.value, '$[2]')), x'')
    FROM json_each(?1) j
"""

IdsByGuild = dict[int, list[int]]
"""Messages whose vectors went: the vector index must follow."""


def upsert(database: Statements, rows: Iterable[MessageRow]) -> tuple[UpsertResult, IdsByGuild]:
    """Store new rows and replace changed ones; of several rows with one id the latest edit counts."""
    latest = latest_by_id(rows)
    stored = {row[0]: MessageRow(*row) for row in database.execute(_ROWS, (id_list(latest),))}
    refused = _refused(database, [row for row in latest.values() if row.id not in stored])
    inserted: list[MessageRow] = []
    changed: list[MessageRow] = []
    unchanged: list[int] = []
    for row in latest.values():
        before = stored.get(row.id)
        if row.id in refused:
            continue
        if before is None:
            inserted.append(row)
        elif before.guild_id != row.guild_id:
            log.warning(
                "message %d of guild %d claims the id of one in guild %d", row.id, row.guild_id, before.guild_id
            )
            refused.add(row.id)
        elif before == row or edited(row) < edited(before):
            unchanged.append(row.id)
        else:
            changed.append(row)
    gone = _put_rows(database, inserted, changed, stored)
    result = UpsertResult(
        tuple(row.id for row in inserted), tuple(row.id for row in changed), tuple(unchanged), tuple(refused)
    )
    return result, gone


def delete(database: Statements, guild_id: int, ids: Collection[int]) -> list[int]:
    """Remove messages of a guild and leave tombstones, also for ids never seen; returns those that were stored."""
    rows = database.execute(_WITH_NEXT, (id_list(ids), guild_id))
    stored = [row[0] for row in rows]
    if stored:
        after = {row[1] for row in rows} - {None, *stored}
        database.execute(_UNINDEX, (id_list({*stored, *after}),))
        database.execute("DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))", (id_list(stored),))
        if after:
            database.execute(_INDEX, (id_list(after),))
    bury(database, [(guild_id, i) for i in ids])
    return stored


def bury(database: Statements, dead: Iterable[tuple[int, int]]) -> None:
    """Leave tombstones of messages, each by guild and id."""
    database.executemany("INSERT OR IGNORE INTO tombstones VALUES (?, ?)", dead)


def erase_some(
    database: Statements, guild_id: int, author_id: int | None, channel_id: int | None, *, limit: int
) -> list[int]:
    """Remove at most so many messages of an author, a channel or a guild; returns the ids that were stored."""
    conditions, parameters = ["guild_id = ?"], [guild_id]
    for column, value in (("author_id", author_id), ("channel_id", channel_id)):
        if value is not None:
            conditions.append(f"{column} = ?")
            parameters.append(value)
    sql = f"SELECT id, created_us FROM messages WHERE {' AND '.join(conditions)} LIMIT ?"  # noqa: S608  # constants
    doomed = database.execute(sql, (*parameters, limit))
    if author_id is not None and channel_id is None and doomed:
        mark_erased(database, [(guild_id, author_id, max(row[1] for row in doomed))])
    ids = [int(row[0]) for row in doomed]
    return delete(database, guild_id, ids) if ids else []


def drop_names(database: Statements, guild_id: int, author_id: int | None, channel_id: int | None) -> None:
    """Forget the name of a channel, or those of all channels of a guild; of an author there is none apart."""
    if author_id is None:
        database.execute("DELETE FROM channels WHERE guild_id = ?1 AND (?2 IS NULL OR id = ?2)", (guild_id, channel_id))


def mark_erased(database: Statements, erasures: Iterable[tuple[int, int, int]]) -> None:
    """Refuse from now on what authors, each by guild and id, wrote up to a time in microseconds since 1970."""
    database.executemany(
        "INSERT INTO erasures VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET until_us = max(until_us, excluded.until_us)",
        erasures,
    )


def put_embeddings(database: Statements, space_id: int, embeddings: Iterable[Embedding]) -> PlacedVectors | None:
    """Store the vectors of messages that still have the text that was embedded, and return those, if any."""
    latest = {embedding.message_id: embedding for embedding in embeddings}
    sql = (
        "SELECT m.id, m.guild_id, m.channel_id, m.content_hash"
        " FROM json_each(?) j CROSS JOIN messages m ON m.id = j.value ORDER BY m.id"
    )
    rows = [row for row in database.execute(sql, (id_list(latest),)) if row[3] == latest[row[0]].content_hash]
    if not rows:
        return None
    ids, guild_ids, channel_ids = ([row[column] for row in rows] for column in range(3))
    matrix = np.stack([latest[i].vector for i in ids]).astype("<f2")
    _put_blobs(database, "vectors", ids, [row.tobytes() for row in matrix])
    _put_blobs(database, "sketches", ids, [latest[i].sketch for i in ids])
    database.execute(
        "UPDATE messages SET vector_space = ? WHERE id IN (SELECT value FROM json_each(?))", (space_id, id_list(ids))
    )
    return PlacedVectors(ids, guild_ids, channel_ids, matrix)


def put_channels(database: Statements, channels: Iterable[ChannelInfo]) -> None:
    """Store or rename channels."""
    database.executemany(
        "INSERT INTO channels VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET name = excluded.name, parent_id = excluded.parent_id",
        [(channel.guild_id, channel.id, channel.name, channel.parent_id) for channel in channels],
    )


def put_setting(database: Statements, guild_id: int, key: str, value: str | None) -> None:
    """Store a setting; ``None`` removes it."""
    if value is None:
        database.execute("DELETE FROM settings WHERE guild_id = ? AND key = ?", (guild_id, key))
    else:
        database.execute("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", (guild_id, key, value))


def put_space(database: Statements, key: str, dim: int, sketch_dim: int) -> int:
    """The number of a space, new or known."""
    database.execute(
        "INSERT INTO spaces (key, dim, sketch_dim) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (key, dim, sketch_dim)
    )
    [[space_id]] = database.execute("SELECT id FROM spaces WHERE key = ?", (key,))
    return int(space_id)


def optimize_search(database: Statements) -> None:
    """Merge the full-text index into one segment: what was deleted from it leaves the file only then."""
    database.execute("INSERT INTO message_search (message_search) VALUES ('optimize')")


def _put_rows(
    database: Statements,
    inserted: Sequence[MessageRow],
    changed: Sequence[MessageRow],
    stored: Mapping[int, MessageRow],
) -> IdsByGuild:
    gone: IdsByGuild = {}
    if not inserted and not changed:
        return gone
    rows = sorted([*inserted, *changed])  # by id: history that comes newest first would half fill its pages
    # A message that changes channels leaves a gap behind: the place it had counts as well.
    places = rows + [stored[row.id] for row in changed if stored[row.id].channel_id != row.channel_id]
    places_json = json.dumps([(row.guild_id, row.channel_id, row.id) for row in places])
    after = [row[0] for row in database.execute(_NEXT_OF_PLACES, (places_json,)) if row[0] is not None]
    affected = id_list({*(row.id for row in rows), *after})
    if changed or after:
        database.execute(_UNINDEX, (affected,))
    for row in changed:
        before = stored[row.id]
        if before.content_hash != row.content_hash or before.channel_id != row.channel_id:
            gone.setdefault(row.guild_id, []).append(row.id)
    database.executemany(_PUT, rows)
    _drop_vectors(database, gone)
    database.execute(_INDEX, (affected,))
    return gone


def _drop_vectors(database: Statements, gone: IdsByGuild) -> None:
    if not gone:
        return
    ids = id_list(i for ids in gone.values() for i in ids)
    database.execute("DELETE FROM vectors WHERE message_id IN (SELECT value FROM json_each(?))", (ids,))
    database.execute("DELETE FROM sketches WHERE message_id IN (SELECT value FROM json_each(?))", (ids,))
    database.execute("UPDATE messages SET vector_space = 0 WHERE id IN (SELECT value FROM json_each(?))", (ids,))


def _refused(database: Statements, new_rows: Sequence[MessageRow]) -> set[int]:
    """Which of the rows were deleted before, or written by an author before he was forgotten."""
    messages = json.dumps([(row.guild_id, row.id) for row in new_rows])
    authors = json.dumps(list({(row.guild_id, row.author_id) for row in new_rows}))
    dead = {(guild, message) for guild, message in database.execute(_TOMBSTONES, (messages,))}
    until = {(guild, author): moment for guild, author, moment in database.execute(_ERASURES, (authors,))}
    return {
        row.id
        for row in new_rows
        if (row.guild_id, row.id) in dead or row.created_us <= until.get((row.guild_id, row.author_id), -1)
    }


def _put_blobs(database: Statements, table: str, ids: Sequence[int], blobs: Sequence[bytes]) -> None:
    starts = accumulate((len(blob) for blob in blobs), initial=1)
    places = json.dumps([(i, start, len(blob)) for i, start, blob in zip(ids, starts, blobs, strict=False)])
    database.execute(_PUT_BLOBS.format(table=table), (places, b"".join(blobs)))
