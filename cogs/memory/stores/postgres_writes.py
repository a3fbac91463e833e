"""Every change of the database on PostgreSQL, guild by guild, as steps inside a transaction that the caller opened.

Each begins with the guild's row locked (`lock_guild`), so that writers of one guild come one after the other. A change
of messages ends with `_reindex`: it writes anew the search entries of the messages themselves and, because an entry
also holds what was said before, of the one after each.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from cogs.memory.records import UpsertResult
from cogs.memory.stores.message_rows import MessageRow, edited, latest_by_id
from cogs.memory.stores.postgres_connections import columns
from cogs.memory.stores.postgres_replies import mark_stale
from cogs.memory.stores.postgres_rows import PLAIN_COLUMNS, author_key, stored_values, text_in, text_out
from cogs.memory.stores.postgres_search import search_entry
from cogs.memory.stores.postgres_vectors import lock_vectors
from cogs.memory.stores.unspaced_scripts import segments

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cogs.memory.records import ChannelInfo
    from cogs.memory.stores.postgres_connections import Connection

_CHUNK: Final = 2000
"""Messages written or taken out at a time."""
_IN_THREAD: Final = 50
"""From so many messages on, words are cut in a thread: the event loop has others to serve."""

_TYPES = {
    "content_hash": "bytea", "flags": "integer", "words": "text",
    **dict.fromkeys(("author_name", "author_handle", "content", "extra", "attachments"), "text"),
}  # fmt: skip
_WRITTEN = (*(name for name in PLAIN_COLUMNS if name != "guild_id"), "author_key")
_PLACED = ("channel_id", "author_id", "created_us", "flags")


def _unnest(names: Sequence[str], first: int = 2) -> str:
    arrays = ", ".join(f"${n}::{_TYPES.get(name, 'bigint')}[]" for n, name in enumerate(names, start=first))
    return f"unnest({arrays}) r ({', '.join(names)})"


def _assigned(names: Sequence[str]) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in names)


_MAKE_GUILD = "INSERT INTO guilds (guild_id) VALUES ($1) ON CONFLICT (guild_id) DO NOTHING"
_LOCK_GUILD = "SELECT number FROM guilds WHERE guild_id = $1 FOR UPDATE"
_COUNT_GUILD = """
    UPDATE guilds SET documents = documents + $2, pending = pending OR $3 WHERE guild_id = $1
"""
_STORED = f"""
    SELECT {", ".join(PLAIN_COLUMNS)} FROM messages WHERE guild_id = $1 AND id = ANY ($2::bigint[])
"""  # noqa: S608  # constants
_DEAD = "SELECT message_id FROM tombstones WHERE guild_id = $1 AND message_id = ANY ($2::bigint[])"
_FORGOTTEN = "SELECT author_id, until_us FROM erasures WHERE guild_id = $1 AND author_id = ANY ($2::bigint[])"
_PUT_MESSAGES = f"""
    INSERT INTO messages (guild_id, {", ".join(_WRITTEN)}) SELECT $1, r.* FROM {_unnest(_WRITTEN)}
    ON CONFLICT (guild_id, id) DO UPDATE SET {_assigned(_WRITTEN[1:])}
"""  # noqa: S608  # constants
_VECTOR_COLUMNS = ("message_id", *_PLACED, "content_hash")
_PUT_VECTORS = f"""
    INSERT INTO vectors AS v (guild_id, {", ".join(_VECTOR_COLUMNS)})
    SELECT $1, r.* FROM {_unnest(_VECTOR_COLUMNS)} ORDER BY r.message_id
    ON CONFLICT (guild_id, message_id) DO UPDATE SET {_assigned(_VECTOR_COLUMNS[1:])},
        space_id = CASE WHEN v.content_hash = excluded.content_hash THEN v.space_id ELSE 0 END,
        vector = CASE WHEN v.content_hash = excluded.content_hash THEN v.vector END,
        claimed_by = NULL, claimed_until = NULL
"""  # noqa: S608  # constants
_NEXT = """
    SELECT n.id FROM unnest($2::bigint[], $3::bigint[]) p (channel_id, id) CROSS JOIN LATERAL (
        SELECT m.id FROM messages m WHERE m.guild_id = $1 AND m.channel_id = p.channel_id AND m.id > p.id
        ORDER BY m.id LIMIT 1
    ) n
"""
_TEXTS = """
    SELECT m.id, m.channel_id, m.author_id, m.created_us, m.flags, m.author_name, m.author_handle, m.content, m.extra,
        p.content AS previous
    FROM messages m LEFT JOIN LATERAL (
        SELECT b.content FROM messages b WHERE b.guild_id = $1 AND b.channel_id = m.channel_id AND b.id < m.id
        ORDER BY b.id DESC LIMIT 1
    ) p ON true
    WHERE m.guild_id = $1 AND m.id = ANY ($2::bigint[])
"""
_ENTRY_COLUMNS = ("message_id", *_PLACED, "words")
_PUT_ENTRIES = f"""
    INSERT INTO search (guild_id, {", ".join(_ENTRY_COLUMNS)})
    SELECT $1, r.message_id, r.channel_id, r.author_id, r.created_us, r.flags, r.words::tsvector
    FROM {_unnest(_ENTRY_COLUMNS)} ON CONFLICT (guild_id, message_id) DO UPDATE SET {_assigned(_ENTRY_COLUMNS[1:])}
"""  # noqa: S608  # constants
_DELETE = "DELETE FROM {table} WHERE guild_id = $1 AND {key} = ANY ($2::bigint[])"
_DOOMED = """
    SELECT id, created_us FROM messages WHERE guild_id = $1
    AND ($2::bigint IS NULL OR author_id = $2) AND ($3::bigint IS NULL OR channel_id = $3) ORDER BY id
"""
_BURY = """
    INSERT INTO tombstones (guild_id, message_id) SELECT $1, r.id FROM unnest($2::bigint[]) r (id)
    ON CONFLICT (guild_id, message_id) DO NOTHING
"""
_FORGET_AUTHOR = """
    INSERT INTO erasures AS e (guild_id, author_id, until_us) VALUES ($1, $2, $3)
    ON CONFLICT (guild_id, author_id) DO UPDATE SET until_us = greatest(e.until_us, excluded.until_us)
"""
_FORGET_CHANNELS = "DELETE FROM channels WHERE guild_id = $1 AND ($2::bigint IS NULL OR id = $2)"
_PUT_CHANNELS = """
    INSERT INTO channels (guild_id, id, name, parent_id)
    SELECT $1, r.* FROM unnest($2::bigint[], $3::text[], $4::bigint[]) r (id, name, parent_id) ORDER BY r.id
    ON CONFLICT (guild_id, id) DO UPDATE SET name = excluded.name, parent_id = excluded.parent_id
"""
_PUT_SETTING = """
    INSERT INTO settings (guild_id, key, value) VALUES ($1, $2, $3)
    ON CONFLICT (guild_id, key) DO UPDATE SET value = excluded.value
"""
_DROP_SETTING = "DELETE FROM settings WHERE guild_id = $1 AND key = $2"


async def lock_guild(connection: Connection, guild_id: int) -> int:
    """Wait until no other transaction writes messages of the guild; returns the guild's number."""
    number = await connection.fetchval(_LOCK_GUILD, guild_id)
    if number is None:
        await connection.execute(_MAKE_GUILD, guild_id)
        number = await connection.fetchval(_LOCK_GUILD, guild_id)
    return int(number)


async def upsert(connection: Connection, guild_id: int, rows: Iterable[MessageRow]) -> UpsertResult:
    """Store new rows of a guild and replace changed ones; of several rows with one id the latest edit counts."""
    number = await lock_guild(connection, guild_id)
    latest = latest_by_id(rows)
    stored = {row[0]: _row(row) for row in await connection.fetch(_STORED, guild_id, list(latest))}
    refused = await _refused(connection, guild_id, [row for row in latest.values() if row.id not in stored])
    inserted: list[MessageRow] = []
    changed: list[MessageRow] = []
    unchanged: list[int] = []
    for row in latest.values():
        before = stored.get(row.id)
        if row.id in refused:
            continue
        if before is None:
            inserted.append(row)
        elif before == row._replace(segments="") or edited(row) < edited(before):
            unchanged.append(row.id)
        else:
            changed.append(row)
    await _put_rows(connection, guild_id, number, sorted([*inserted, *changed]), [stored[row.id] for row in changed])
    await mark_stale(connection, guild_id, [row.id for row in changed if row.content != stored[row.id].content])
    if inserted or changed:
        await connection.execute(_COUNT_GUILD, guild_id, len(inserted), True)
    return UpsertResult(
        tuple(row.id for row in inserted), tuple(row.id for row in changed), tuple(unchanged), tuple(refused)
    )


async def delete(connection: Connection, guild_id: int, ids: Sequence[int]) -> list[int]:
    """Remove messages of a guild and leave tombstones, also for ids never seen; returns those that were stored."""
    number = await lock_guild(connection, guild_id)
    rows = [_row(row) for row in await connection.fetch(_STORED, guild_id, list(ids))]
    stored = [row.id for row in rows]
    if stored:
        await mark_stale(connection, guild_id, stored)
        await lock_vectors(connection, guild_id, stored)
        # Vectors before sketches: who stores both at this moment has the vector's row, and this waits for him there.
        for table, key in (
            ("messages", "id"),
            ("vectors", "message_id"),
            ("sketches", "message_id"),
            ("search", "message_id"),
        ):
            await connection.execute(_DELETE.format(table=table, key=key), guild_id, stored)
        after = await _next_ids(connection, guild_id, rows)
        await _reindex(connection, guild_id, number, after)
        await connection.execute(_COUNT_GUILD, guild_id, -len(stored), False)
    await bury(connection, guild_id, ids)
    return stored


async def erase(
    connection: Connection, guild_id: int, author_id: int | None, channel_id: int | None, now_us: int
) -> int:
    """Remove an author's, a channel's or a guild's messages, names and all; returns how many were stored."""
    await lock_guild(connection, guild_id)
    doomed = await connection.fetch(_DOOMED, guild_id, author_id, channel_id)
    ids = [row[0] for row in doomed]
    for start in range(0, len(ids), _CHUNK):
        await delete(connection, guild_id, ids[start : start + _CHUNK])
    if author_id is None:
        await connection.execute(_FORGET_CHANNELS, guild_id, channel_id)
    elif channel_id is None:
        until = max([now_us, *(row[1] for row in doomed)])
        await forget_author(connection, guild_id, author_id, until)
    return len(ids)


async def bury(connection: Connection, guild_id: int, ids: Sequence[int]) -> None:
    """Leave tombstones."""
    await connection.execute(_BURY, guild_id, list(ids))


async def forget_author(connection: Connection, guild_id: int, author_id: int, until_us: int) -> None:
    """Refuse an author's messages up to a moment."""
    await connection.execute(_FORGET_AUTHOR, guild_id, author_id, until_us)


async def put_channels(connection: Connection, guild_id: int, channels: Iterable[ChannelInfo]) -> None:
    """Store or rename channels of a guild."""
    latest = {channel.id: (channel.id, text_in(channel.name), channel.parent_id) for channel in channels}
    await connection.execute(_PUT_CHANNELS, guild_id, *columns(list(latest.values()), 3))


async def put_setting(connection: Connection, guild_id: int, key: str, value: str | None) -> None:
    """Store a setting; ``None`` removes it."""
    if value is None:
        await connection.execute(_DROP_SETTING, guild_id, text_in(key))
    else:
        await connection.execute(_PUT_SETTING, guild_id, text_in(key), text_in(value))


async def _put_rows(
    connection: Connection, guild_id: int, number: int, rows: Sequence[MessageRow], before: Sequence[MessageRow]
) -> None:
    """Write rows; ``before`` are those that they replace, as they stood."""
    if not rows:
        return
    written = [_written(row) for row in rows]
    await connection.execute(_PUT_MESSAGES, guild_id, *columns(written, len(_WRITTEN)))
    placed = [(r.id, r.channel_id, r.author_id, r.created_us, r.flags, r.content_hash) for r in rows]
    await connection.execute(_PUT_VECTORS, guild_id, *columns(placed, len(_VECTOR_COLUMNS)))
    hashes = {row.id: row.content_hash for row in rows}
    stale = [row.id for row in before if row.content_hash != hashes[row.id]]
    if stale:
        await connection.execute(_DELETE.format(table="sketches", key="message_id"), guild_id, stale)
    # A message that changes channels leaves a gap behind: the place it had counts as well.
    after = await _next_ids(connection, guild_id, [*rows, *before])
    await _reindex(connection, guild_id, number, after | hashes.keys())


async def _next_ids(connection: Connection, guild_id: int, places: Iterable[MessageRow]) -> set[int]:
    """The message after each place, in its channel."""
    pairs = columns([(row.channel_id, row.id) for row in places], 2)
    return {row[0] for row in await connection.fetch(_NEXT, guild_id, *pairs)}


async def _reindex(connection: Connection, guild_id: int, number: int, ids: Iterable[int]) -> None:
    """Write the search entries of messages anew."""
    texts = await connection.fetch(_TEXTS, guild_id, sorted(ids))
    if len(texts) < _IN_THREAD:
        entries = _entries(number, texts)
    else:
        entries = await asyncio.to_thread(_entries, number, texts)
    values = [(*row[:5], entry) for row, entry in zip(texts, entries, strict=True)]
    await connection.execute(_PUT_ENTRIES, guild_id, *columns(values, len(_ENTRY_COLUMNS)))


def _entries(number: int, texts: Sequence[Any]) -> list[str]:
    entries = []
    for row in texts:
        name, handle, content, extra = map(text_out, row[5:9])
        entries.append(
            search_entry(
                number,
                f"{content}\n{extra}",
                f"{name} {handle}",
                text_out(row[9]) if row[9] else "",
                segments("\n".join((name, handle, content, extra))),
            )
        )
    return entries


def _row(values: Sequence[Any]) -> MessageRow:
    """A row as it is stored, without its pairs: they follow from the rest."""
    return MessageRow._make([*(text_out(value) if isinstance(value, str) else value for value in values), ""])


def _written(row: MessageRow) -> tuple[object, ...]:
    """The values of `_WRITTEN`."""
    values = dict(zip(PLAIN_COLUMNS, stored_values(row), strict=True))
    values["author_key"] = author_key(row.author_name, row.author_handle)
    return tuple(values[name] for name in _WRITTEN)


async def _refused(connection: Connection, guild_id: int, new_rows: Sequence[MessageRow]) -> set[int]:
    """Which of the rows were deleted before, or written by an author before he was forgotten."""
    if not new_rows:
        return set()
    dead = {row[0] for row in await connection.fetch(_DEAD, guild_id, [row.id for row in new_rows])}
    authors = list({row.author_id for row in new_rows})
    until = dict(map(tuple, await connection.fetch(_FORGOTTEN, guild_id, authors)))
    return {row.id for row in new_rows if row.id in dead or row.created_us <= until.get(row.author_id, -1)}
