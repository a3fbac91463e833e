"""Connections to one SQLite file: one writer, a few readers, and SQLite's errors as the `StoreError` family."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import aiosqlite

from cogs.memory.exceptions import StoreBusy, StoreDamaged, StoreError, StoreReadOnly, StoreTimeout
from cogs.memory.stores import CLOSED
from cogs.memory.stores.data_folder import create_private, durable_replace, folder_errors
from cogs.memory.stores.migrations import migrate
from cogs.memory.stores.sqlite_engine import DAMAGED, SqliteEngine, database_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from pathlib import Path

T = TypeVar("T")

MINIMUM_SQLITE = (3, 37)  # STRICT tables

_PRAGMAS = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA temp_store = MEMORY",  # sorted text must not reach the disk by the back door
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cache_size = -16384",
)
_WRITER_PRAGMAS = (
    *_PRAGMAS,
    "PRAGMA synchronous = NORMAL",
    "PRAGMA secure_delete = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_size_limit = 67108864",
)
_READER_PRAGMAS = (*_PRAGMAS, "PRAGMA query_only = ON")
_INTERRUPT_AGAIN_S = 0.05


_NOT_WRITABLE = "The database cannot be written to: check the owner and permissions of the data folder."
_NO_MEMORY = "The machine has no memory left for the database: try again in a moment."
_IN_USE = "The database is in use by another program: try again when it has ended."
_SENTENCES: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_FULL: (
        StoreReadOnly,
        "The disk is full: nothing new can be stored until space is free. What is stored is safe.",
    ),
    sqlite3.SQLITE_IOERR: (
        StoreReadOnly,
        "The disk refuses to read or write the database: check its free space and its health.",
    ),
    sqlite3.SQLITE_NOMEM: (StoreError, _NO_MEMORY),
    sqlite3.SQLITE_READONLY: (StoreReadOnly, _NOT_WRITABLE),
    sqlite3.SQLITE_PERM: (StoreReadOnly, _NOT_WRITABLE),
    sqlite3.SQLITE_CANTOPEN: (StoreReadOnly, _NOT_WRITABLE),
    sqlite3.SQLITE_CORRUPT: (StoreDamaged, DAMAGED),
    sqlite3.SQLITE_NOTADB: (StoreDamaged, DAMAGED),
    sqlite3.SQLITE_INTERRUPT: (StoreTimeout, "The search took too long and was stopped."),
    sqlite3.SQLITE_BUSY: (StoreBusy, _IN_USE),
    sqlite3.SQLITE_LOCKED: (StoreBusy, _IN_USE),
}


Parameters = Sequence[object] | Mapping[str, object]


class Statements:
    """Runs statements where it is called, on the thread of their connection; raises the engine's own errors."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """Run one and return all its rows."""
        return self._connection.execute(sql, parameters).fetchall()

    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one for each row of parameters."""
        self._connection.executemany(sql, rows)

    def rollback(self) -> None:
        """End a transaction, if there is one, without what was done in it."""
        self._connection.rollback()


class _Connection(aiosqlite.Connection):
    """A connection on whose thread a whole piece of work can run, not only one statement."""

    async def run(self, work: Callable[[Statements], T]) -> T:
        """Run ``work`` on the connection's thread."""
        result: T = await self._execute(lambda: work(Statements(self._conn)))  # type: ignore[no-untyped-call]
        return result


class Connections:
    """One writer and ``readers`` readers. Every method raises the `StoreError` family.

    Writes are one at a time: hold ``write_lock`` around each transaction and around what must stay in step with it.
    """

    def __init__(self, database: Path, engine: SqliteEngine | None = None, *, readers: int = 2) -> None:
        self._database = database
        self._engine = engine or SqliteEngine()
        self._reader_count = readers
        self._writer: _Connection | None = None
        self._is_cut_off = False
        self._reopening = asyncio.Lock()
        self._idle_readers: list[_Connection] = []
        self._reading = asyncio.Semaphore(readers)
        self._all: list[aiosqlite.Connection] = []
        self.write_lock = asyncio.Lock()

    async def open(self) -> None:
        """Connect and migrate; a failure leaves no connection behind."""
        if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
            raise StoreError(f"SQLite 3.37 or newer is needed, this Python brings {sqlite3.sqlite_version}.")
        try:
            with folder_errors(self._database.parent):
                self._engine.check(self._database)
            with engine_errors():
                writer = await self._connect(_WRITER_PRAGMAS)
                await _use_write_ahead_log(writer)
                await migrate(writer)
                self._idle_readers = [await self._connect(_READER_PRAGMAS) for _ in range(self._reader_count)]
        except BaseException:
            await self._disconnect()
            raise
        self._writer = writer
        self._is_cut_off = False

    async def close(self) -> None:
        """Wait for running reads and writes, then close; may be called twice."""
        async with self.write_lock, self._no_readers():
            self._is_cut_off = False
            await self._disconnect()

    async def write(self, work: Callable[[Statements], T], *, durable: bool = False) -> T:
        """Do ``work`` as one transaction on the writer's thread: whole, or not at all if it raises.

        The caller holds ``write_lock``. Who is cancelled does not know whether it was done. ``durable`` waits until
        the disk has it (``synchronous = FULL``).
        """
        writer = await self._open_writer()
        with engine_errors():
            return await writer.run(partial(_transaction, work, durable=durable))

    async def read(
        self, sql: str, parameters: Parameters = (), *, deadline_s: float | None = None
    ) -> list[tuple[Any, ...]]:
        """All rows of one query on a reader.

        Raises:
            StoreTimeout: it took longer than ``deadline_s`` seconds.
        """
        return await self.run(lambda database: database.execute(sql, parameters), deadline_s=deadline_s)

    async def run(self, work: Callable[[Statements], T], *, deadline_s: float | None = None) -> T:
        """Do what takes several queries on a reader's thread: each way there and back costs as much as a short query.

        Raises:
            StoreTimeout: it took longer than ``deadline_s`` seconds.
        """
        async with self._reading:
            await self._open_writer()
            reader = self._idle_readers.pop()
            try:
                with engine_errors():
                    return await _within(deadline_s, reader, work)
            finally:
                self._idle_readers.append(reader)

    async def rewrite(self) -> None:
        """Replace the database by a fresh copy of what is in it; the caller holds ``write_lock``.

        SQLite zeroes a deleted row where it stood, but not what was left of it in the gaps of pages that it was
        moved away from. The copy has only what is stored. Reads go on until the files change places.

        Raises:
            StoreReadOnly: the disk has no room for the copy; the database is as it was.
            StoreError: another program holds the database open.
        """
        writer = await self._open_writer()
        copy = self._database.with_suffix(".new")
        with folder_errors(self._database.parent):
            create_private(copy)
            try:
                with engine_errors():
                    await writer.execute("VACUUM INTO ?", (str(copy),))
                async with self._no_readers():
                    await self._replace_by(writer, copy)
            finally:
                copy.unlink(missing_ok=True)

    async def recycle_log(self) -> None:
        """Have what is written next take the log's own place on the disk; the caller holds ``write_lock``."""
        writer = await self._open_writer()
        with engine_errors():
            await _fetch_all(writer, "PRAGMA wal_checkpoint(RESTART)")

    async def _replace_by(self, writer: aiosqlite.Connection, copy: Path) -> None:
        try:
            with engine_errors():
                [[busy, *_]] = await _fetch_all(writer, "PRAGMA wal_checkpoint(TRUNCATE)")
            if busy:
                raise StoreBusy(_IN_USE)  # a log that still holds something would be replayed onto the copy
            await self._disconnect()
            if self._database.with_name("memory.db-wal").exists():  # the last one out would have removed it
                raise StoreBusy(_IN_USE)
            durable_replace(copy, self._database)
        finally:
            self._is_cut_off = True  # until it is open again: whoever needs it next tries once more
            await self._disconnect()
            await self.open()

    @asynccontextmanager
    async def _no_readers(self) -> AsyncIterator[None]:
        """Wait until no query runs, and let none begin; the caller holds ``write_lock``."""
        async with AsyncExitStack() as all_readers:
            for _ in range(self._reader_count):
                await all_readers.enter_async_context(self._reading)
            yield

    async def _open_writer(self) -> _Connection:
        """The writer of an open database; connects again where that failed after the files changed places."""
        if self._is_cut_off:
            async with self._reopening:
                if self._is_cut_off and self._writer is None:
                    await self.open()
        if self._writer is None:
            raise StoreError(CLOSED)
        return self._writer

    async def _connect(self, pragmas: Iterable[str]) -> _Connection:
        connection = _Connection(partial(self._engine.connect, self._database), iter_chunk_size=64)
        await connection
        self._all.append(connection)
        for pragma in pragmas:
            await connection.execute(pragma)
        return connection

    async def _disconnect(self) -> None:
        self._writer = None
        self._idle_readers = []
        # The writer was connected first and goes last: the last one out folds the log into the database.
        if self._all:
            try:
                with engine_errors():
                    await self._all.pop().close()
            finally:
                await self._disconnect()


@contextmanager
def engine_errors() -> Iterator[None]:
    """Translate SQLite's errors; mistakes of the program (wrong SQL, broken constraints) pass unchanged."""
    try:
        yield
    except MemoryError as error:  # what Python makes of SQLITE_NOMEM
        raise StoreError(_NO_MEMORY) from error
    except database_errors() as error:
        primary_code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if primary_code not in _SENTENCES:
            raise
        kind, sentence = _SENTENCES[primary_code]
        raise kind(sentence) from error


def _transaction(work: Callable[[Statements], T], statements: Statements, *, durable: bool) -> T:
    if durable:
        statements.execute("PRAGMA synchronous = FULL")
    try:
        statements.execute("BEGIN IMMEDIATE")
        try:
            result = work(statements)
            statements.execute("COMMIT")
        except BaseException:
            statements.rollback()
            raise
    finally:
        if durable:
            statements.execute("PRAGMA synchronous = NORMAL")
    return result


async def _fetch_all(connection: aiosqlite.Connection, sql: str) -> list[tuple[Any, ...]]:
    rows: Any = await connection.execute_fetchall(sql)
    return list(rows)


async def _within(deadline_s: float | None, connection: _Connection, work: Callable[[Statements], T]) -> T:
    """Leave the connection idle, however it ends: at the deadline or when its caller is cancelled, too."""
    task = asyncio.create_task(connection.run(work))
    try:
        await asyncio.wait({task}, timeout=deadline_s)
    finally:
        await _stop(task, connection)
    return task.result()


async def _stop(query: asyncio.Task[T], connection: aiosqlite.Connection) -> None:
    """Interrupt a query until it has ended, if it has not; a cancellation is passed on after that."""
    cancellation: asyncio.CancelledError | None = None
    while not query.done():
        try:
            await connection.interrupt()  # in vain as long as the thread has not begun the query: so once more
            await asyncio.wait({query}, timeout=_INTERRUPT_AGAIN_S)
        except asyncio.CancelledError as error:
            cancellation = error
    if not query.cancelled():
        query.exception()  # whether it failed matters only to who still waits
    if cancellation is not None:
        raise cancellation


async def _use_write_ahead_log(writer: aiosqlite.Connection) -> None:
    [[mode]] = await _fetch_all(writer, "PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise StoreError("The file system of the data folder cannot share memory: choose a folder on a local disk.")
