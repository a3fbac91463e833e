"""Connections to one PostgreSQL server: a pool that heals by itself, and its errors as the `StoreError` family."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

from cogs.memory.exceptions import StoreBusy, StoreDamaged, StoreError, StoreReadOnly, StoreTimeout, StoreUnreachable
from cogs.memory.stores import CLOSED
from cogs.memory.stores.postgres_migrations import SCHEMA, migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence

    import asyncpg

    Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[Any]

T = TypeVar("T")

READ_S: Final = 10.0
"""Seconds that a read may take."""
WRITE_S: Final = 120.0
"""Seconds that one statement of a write may take: an erasure of a big guild, with waiting for others, does."""
CONNECT_S: Final = 5.0
"""Seconds to connect, and to wait for a connection to be free."""
WRITERS: Final = 3
"""Transactions that write at once; the other connections stay free for reads."""
MISSING: Final = (
    "MEMORY_DATABASE needs two packages that are not installed: run pip install asyncpg pgvector, or unset it to "
    "keep the memory in the data folder."
)
UNREACHABLE: Final = (
    "The database server {server} cannot be reached; it is tried again with every request. What was stored is safe."
)

_SENTENCES: Final[dict[str, tuple[type[StoreError], str]]] = {
    "25006": (StoreReadOnly, "The database server takes no writes: it is a standby, or was set to read-only."),
    "28": (StoreError, "The database server refuses the user name or password of MEMORY_DATABASE."),
    "3D000": (StoreError, "The database server has no database of the name in MEMORY_DATABASE: create it."),
    "42501": (StoreError, "The user of MEMORY_DATABASE may not do that in the database: make the user its owner."),
    "40": (StoreBusy, "The database had to undo the request because of another one: try again."),
    "53100": (StoreReadOnly, "The database server's disk is full: nothing new can be stored until space is free."),
    "53300": (StoreBusy, "The database server has no connection free: raise its max_connections."),
    "53": (StoreBusy, "The database server is out of memory or of another resource: try again in a moment."),
    "55P03": (StoreBusy, "The database is busy with another change: try again in a moment."),
    "57014": (StoreTimeout, "The database took too long to answer."),
    "XX001": (StoreDamaged, "The database is damaged and cannot be read: restore a backup of it."),
    "XX002": (StoreDamaged, "An index of the database is damaged: run REINDEX, or restore a backup."),
}
_LOST: Final = ("08", "57P01", "57P02", "57P03", "57P05")
"""SQLSTATEs of a server that is away: connection errors, shutting down, crashed, starting up, idle too long."""


def server_name(dsn: str) -> str:
    """Host and database of an address, without user and password, for logs and people."""
    try:
        parts = urlsplit(dsn)
        host = parts.hostname or "local socket"
        return f"{host}{f':{parts.port}' if parts.port else ''}{parts.path.rstrip('/')}"
    except ValueError:
        return "(unreadable address)"


class PostgresConnections:
    """A pool of connections. Every method raises the `StoreError` family.

    Args:
        dsn: ``postgresql://user:password@host:port/database``.
        schema: the schema that the tables live in.
        size: connections at most.
        read_s: seconds that a read may take.
    """

    def __init__(self, dsn: str, *, schema: str = SCHEMA, size: int = 8, read_s: float = READ_S) -> None:
        self._dsn = dsn
        self._schema = schema
        self._size = max(size, WRITERS + 1)
        self._pool: asyncpg.Pool[Any] | None = None
        self._writing = asyncio.Semaphore(WRITERS)
        self._given_up: set[asyncio.Task[Any]] = set()
        self.read_s = read_s
        self.server = server_name(dsn)

    async def open(self) -> None:
        """Connect and migrate; a failure leaves no connection behind."""
        try:
            import asyncpg
        except ImportError as error:
            raise StoreError(MISSING) from error

        with self.errors():
            first = await asyncpg.connect(
                self._dsn, timeout=CONNECT_S, server_settings={"search_path": self._search_path}
            )
            try:
                await migrate(first, self._schema)
            finally:
                await first.close(timeout=CONNECT_S)
            self._pool = await asyncpg.create_pool(
                self._dsn,
                min_size=0,  # asyncpg would log a traceback a second while the server is away
                max_size=self._size,
                timeout=CONNECT_S,
                command_timeout=WRITE_S,
                init=_know_vectors,
                reset=_leave_as_it_is,
                server_settings={
                    "search_path": self._search_path,
                    "application_name": "discord-memory",
                    "jit": "off",  # compiling costs more than these statements do
                    "plan_cache_mode": "force_custom_plan",  # guilds differ by a factor of a million
                    "max_parallel_workers_per_gather": "0",  # to start a worker takes longer than these statements do
                    # Every statement asks for a few rows of one guild by an index. On tables whose statistics are
                    # not gathered yet, the planner would rather read the whole guild.
                    "enable_seqscan": "off",
                    "enable_hashjoin": "off",
                    "enable_mergejoin": "off",
                    "statement_timeout": f"{int(WRITE_S)}s",
                    "idle_in_transaction_session_timeout": "60s",  # a vanished client must not keep a guild locked
                    "tcp_keepalives_idle": "30",
                },
            )

    async def close(self) -> None:
        """Wait for running reads, then disconnect; may be called twice."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(CONNECT_S):
                await pool.close()
        except TimeoutError:
            pool.terminate()
        await asyncio.gather(*self._given_up, return_exceptions=True)

    async def read(self, sql: str, *arguments: object, deadline_s: float | None = None) -> list[asyncpg.Record]:
        """All rows of one query.

        Raises:
            StoreTimeout: it took longer than ``deadline_s`` seconds.
        """
        return await self.within(self._fetch(sql, *arguments), deadline_s)

    async def within(self, reading: Coroutine[Any, Any, T], deadline_s: float | None = None) -> T:
        """What a read returns.

        One that takes too long is cancelled and left behind: over a network that swallows everything, to tell the
        server so takes as long again, and nobody who waits for an answer needs that.

        Raises:
            StoreTimeout: it took longer than ``deadline_s`` seconds.
        """
        task = asyncio.create_task(reading)
        try:
            done, _ = await asyncio.wait({task}, timeout=self.read_s if deadline_s is None else deadline_s)
        except asyncio.CancelledError:
            self._give_up(task)
            raise
        if not done:
            self._give_up(task)
            raise StoreTimeout(f"The database server {self.server} took too long to answer.")
        return task.result()

    def _give_up(self, task: asyncio.Task[Any]) -> None:
        self._given_up.add(task)
        task.add_done_callback(self._given_up.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody else asks how it ended
        task.cancel()

    async def _fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._acquired() as connection:
            return list(await connection.fetch(sql, *arguments))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A transaction that only reads, for settings that hold in it alone; to be used `within` a time."""
        async with self._acquired() as connection, connection.transaction(readonly=True):
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction: committed at the end of the block, rolled back if it raises."""
        async with self._writing, self._acquired() as connection, connection.transaction():
            yield connection

    async def execute(self, sql: str, *arguments: object, timeout_s: float | None = None) -> None:
        """One statement outside a transaction, such as VACUUM."""
        async with self._writing, self._acquired() as connection:
            await connection.execute(sql, *arguments, timeout=timeout_s)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Translate the engine's errors; mistakes of the program (wrong SQL, broken constraints) pass unchanged."""
        import asyncpg

        lost = UNREACHABLE.format(server=self.server)
        try:
            yield
        except TimeoutError as error:
            raise StoreTimeout(f"The database server {self.server} took too long to answer.") from error
        except asyncpg.PostgresError as error:
            code = error.sqlstate or ""
            if code.startswith(_LOST):
                raise StoreUnreachable(lost) from error
            known = _SENTENCES.get(code) or _SENTENCES.get(code[:2])
            if known is None:
                raise
            raise known[0](known[1]) from error
        except asyncpg.InterfaceError as error:
            if self._pool is None:
                raise StoreError(CLOSED) from error
            raise StoreUnreachable(lost) from error
        except (OSError, asyncpg.InternalClientError) as error:
            raise StoreUnreachable(lost) from error

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Connection]:
        if self._pool is None:
            raise StoreError(CLOSED)
        import asyncpg

        with self.errors():
            async with self._pool.acquire(timeout=CONNECT_S) as connection:
                try:
                    yield connection
                except asyncpg.InternalClientError:  # a server that ended the session between two statements
                    connection.terminate()
                    raise

    @property
    def _search_path(self) -> str:
        return f'"{self._schema}", public'


async def _leave_as_it_is(_: asyncpg.Connection[Any]) -> None:
    """Spare each statement a second round trip: whatever is set is set for one transaction."""


async def _know_vectors(connection: asyncpg.Connection[Any]) -> None:
    try:
        from pgvector.asyncpg import register_vector
    except ImportError as error:
        raise StoreError(MISSING) from error

    schema = await connection.fetchval(
        "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
    )
    await register_vector(connection, schema=schema)


def columns(rows: Sequence[Sequence[object]], count: int) -> list[list[object]]:
    """Rows as ``count`` columns, for ``unnest``."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]


async def drop_schema(dsn: str, schema: str) -> None:
    """Remove a schema with all that is in it, of an evaluation for example. Raises the `StoreError` family."""
    import asyncpg

    connections = PostgresConnections(dsn, schema=schema)
    with connections.errors():
        connection = await asyncpg.connect(dsn, timeout=CONNECT_S)
        try:
            await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
        finally:
            await connection.close(timeout=CONNECT_S)
