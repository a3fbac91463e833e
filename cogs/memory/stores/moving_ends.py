"""Both engines as ends of a move."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cogs.memory.stores import postgres_replies, sqlite_replies, sqlite_writes
from cogs.memory.stores import postgres_writes as writes
from cogs.memory.stores.moving import STORE, End, Marks, ReplyRow, SpaceRow
from cogs.memory.stores.postgres import PostgresStore
from cogs.memory.stores.postgres_rows import text_out
from cogs.memory.stores.postgres_vectors import INDEX_S
from cogs.memory.stores.routed import RoutedStore
from cogs.memory.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from cogs.memory.stores import MemoryStore
    from cogs.memory.stores.sqlite_connections import Statements


class SqliteEnd:
    """The embedded store of a data folder."""

    def __init__(self, folder: Path, store: SqliteStore) -> None:
        self.name = str(folder)
        self.store = store
        self._connections = store.connections

    async def guilds(self) -> list[int]:
        """All guilds of which the store holds anything but settings, in order."""
        tables = ("messages", "tombstones", "erasures", "channels", "replies")
        union = " UNION ".join(f"SELECT guild_id FROM {table}" for table in tables)  # noqa: S608  # constants
        return sorted(row[0] for row in await self._connections.read(union))

    async def settings(self) -> dict[tuple[int, str], str]:
        """All settings by guild and key, without the store's own."""
        rows = await self._connections.read("SELECT guild_id, key, value FROM settings WHERE guild_id <> ?", (STORE,))
        return {(guild, key): value for guild, key, value in rows}

    async def marks(self, guild_id: int) -> Marks:
        """What must never come back to a guild."""
        dead = await self._connections.read(
            "SELECT message_id FROM tombstones WHERE guild_id = ? ORDER BY message_id", (guild_id,)
        )
        until = await self._connections.read(
            "SELECT author_id, until_us FROM erasures WHERE guild_id = ? ORDER BY author_id", (guild_id,)
        )
        return Marks(tuple(row[0] for row in dead), tuple((author, moment) for author, moment in until))

    async def put_marks(self, guild_id: int, marks: Marks) -> None:
        """Add marks to those that are there."""

        def put(database: Statements) -> None:
            sqlite_writes.bury(database, [(guild_id, i) for i in marks.tombstones])
            sqlite_writes.mark_erased(database, [(guild_id, *mark) for mark in marks.erasures])

        async with self._connections.write_lock:
            await self._connections.write(put)

    async def replies(self, guild_id: int) -> list[ReplyRow]:
        """The bot's replies in a guild that quote messages, in order of id."""
        rows = await sqlite_replies.all_of(self._connections, guild_id)
        return [ReplyRow(*row) for row in rows]

    async def put_replies(self, guild_id: int, rows: Sequence[ReplyRow]) -> None:
        """Store replies as they stand."""

        def put(database: Statements) -> None:
            for row in rows:
                sqlite_replies.put_as_is(database, row.reply, row.sources, is_stale=row.is_stale)

        async with self._connections.write_lock:
            await self._connections.write(put)

    async def last_space(self) -> SpaceRow | None:
        """The space used last."""
        number = await self.store.get_setting(STORE, "space")
        rows = await self._connections.read("SELECT key, dim, sketch_dim FROM spaces WHERE id = ?", (number or 0,))
        return SpaceRow(*rows[0]) if rows else None

    async def take_space(self, space: SpaceRow, *, is_last: bool) -> None:  # the index is in memory
        """Use a space as if its embedder were there."""
        await self.store.take_space(space.key, space.dim, space.sketch_dim)


class PostgresEnd:
    """The store on one server."""

    def __init__(self, store: PostgresStore) -> None:
        self.name = store.server
        self.store = store
        self._connections = store.connections

    async def guilds(self) -> list[int]:
        """All guilds of which the store holds anything but settings, in order."""
        tables = ("guilds", "tombstones", "erasures", "channels", "replies")
        union = " UNION ".join(f"SELECT guild_id FROM {table}" for table in tables)  # noqa: S608  # constants
        return sorted(row[0] for row in await self._connections.read(union))

    async def settings(self) -> dict[tuple[int, str], str]:
        """All settings by guild and key, without the store's own."""
        settings: dict[tuple[int, str], str] = {}
        for (guild,) in await self._connections.read("SELECT DISTINCT guild_id FROM settings"):
            if guild != STORE:
                rows = await self._connections.read("SELECT key, value FROM settings WHERE guild_id = $1", guild)
                settings |= {(guild, text_out(key)): text_out(value) for key, value in rows}
        return settings

    async def marks(self, guild_id: int) -> Marks:
        """What must never come back to a guild."""
        dead = await self._connections.read(
            "SELECT message_id FROM tombstones WHERE guild_id = $1 ORDER BY message_id", guild_id
        )
        until = await self._connections.read(
            "SELECT author_id, until_us FROM erasures WHERE guild_id = $1 ORDER BY author_id", guild_id
        )
        return Marks(tuple(row[0] for row in dead), tuple((author, moment) for author, moment in until))

    async def put_marks(self, guild_id: int, marks: Marks) -> None:
        """Add marks to those that are there."""
        async with self._connections.transaction() as connection:
            await writes.bury(connection, guild_id, marks.tombstones)
            for author, until in marks.erasures:
                await writes.forget_author(connection, guild_id, author, until)

    async def replies(self, guild_id: int) -> list[ReplyRow]:
        """The bot's replies in a guild that quote messages, in order of id."""
        rows = await postgres_replies.all_of(self._connections, guild_id)
        return [ReplyRow(*row) for row in rows]

    async def put_replies(self, guild_id: int, rows: Sequence[ReplyRow]) -> None:
        """Store replies as they stand."""
        async with self._connections.transaction() as connection:
            for row in rows:
                await postgres_replies.put_as_is(connection, row.reply, row.sources, is_stale=row.is_stale)

    async def last_space(self) -> SpaceRow | None:
        """The space used last."""
        number = await self.store.get_setting(STORE, "space")
        rows = await self._connections.read("SELECT key, dim, sketch_dim FROM spaces WHERE id = $1", int(number or 0))
        return SpaceRow(*rows[0]) if rows else None

    async def take_space(self, space: SpaceRow, *, is_last: bool) -> None:
        """Use a space as if its embedder were there; its index is built in one go, when all vectors are there."""
        await self.store.take_space(space.key, space.dim, space.sketch_dim, indexed=is_last)
        if is_last:
            # What was gathered while the tables were empty would lead to plans that read them from end to end; and
            # until a page is known to be visible to all, an index that holds all columns looks at the rows as well.
            for table in ("messages", "search", "vectors", "sketches"):
                await self._connections.execute(f"VACUUM (ANALYZE) {table}", timeout_s=INDEX_S)


class RoutedEnd:
    """Several servers as one end."""

    def __init__(self, store: RoutedStore, ends: Sequence[End]) -> None:
        self.name = ", ".join(end.name for end in ends)
        self.store = store
        self._ends = ends

    def _of(self, guild_id: int) -> End:
        return self._ends[self.store.stores.index(self.store.of(guild_id))]

    async def guilds(self) -> list[int]:
        """All guilds of all servers."""
        return sorted({guild for end in self._ends for guild in await end.guilds()})

    async def settings(self) -> dict[tuple[int, str], str]:
        """All settings of all servers."""
        return {place: value for end in self._ends for place, value in (await end.settings()).items()}

    async def marks(self, guild_id: int) -> Marks:
        """What must never come back to a guild."""
        return await self._of(guild_id).marks(guild_id)

    async def put_marks(self, guild_id: int, marks: Marks) -> None:
        """Add marks to those that are there."""
        await self._of(guild_id).put_marks(guild_id, marks)

    async def replies(self, guild_id: int) -> list[ReplyRow]:
        """The bot's replies in a guild that quote messages, in order of id."""
        return await self._of(guild_id).replies(guild_id)

    async def put_replies(self, guild_id: int, rows: Sequence[ReplyRow]) -> None:
        """Store replies as they stand."""
        await self._of(guild_id).put_replies(guild_id, rows)

    async def last_space(self) -> SpaceRow | None:
        """The space used last, on the first server."""
        return await self._ends[0].last_space()

    async def take_space(self, space: SpaceRow, *, is_last: bool) -> None:
        """Use a space everywhere."""
        for end in self._ends:
            await end.take_space(space, is_last=is_last)


@asynccontextmanager
async def opened_end(store: MemoryStore, folder: Path) -> AsyncIterator[End]:
    """Open a store for a move, and close it afterwards. Raises the `StoreError` family."""
    await store.open()
    try:
        yield _end(store, folder)
    finally:
        await store.close()


def _end(store: MemoryStore, folder: Path) -> End:
    if isinstance(store, SqliteStore):
        return SqliteEnd(folder, store)
    if isinstance(store, PostgresStore):
        return PostgresEnd(store)
    if isinstance(store, RoutedStore):
        return RoutedEnd(store, [_end(one, folder) for one in store.stores])
    raise TypeError(f"a {type(store).__name__} cannot be moved")
