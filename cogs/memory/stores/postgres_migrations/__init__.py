"""PostgreSQL's schema as ordered SQL files, ``m001_….sql`` first; table ``schema_version`` says how far they ran."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cogs.memory.exceptions import StoreDamaged, StoreError, StoreTooNew

if TYPE_CHECKING:
    import asyncpg

SCHEMA: Final = "discord_memory"
"""The schema that everything lives in, beside whatever else the database holds."""
LOCK: Final = 0x6D656D6F7279  # "memory"
"""The advisory lock under which the schema is changed: of several processes that start, one does."""
MINIMUM_SERVER: Final = 150_000
MINIMUM_PGVECTOR: Final = (0, 8)  # iterative scans


def migrations() -> list[tuple[int, str]]:
    """Every migration as (version, SQL), in order; versions count 1, 2, 3, …."""
    files = sorted(Path(__file__).parent.glob("m[0-9][0-9][0-9]_*.sql"))
    return [(int(file.name[1:4]), file.read_text("utf-8")) for file in files]


async def migrate(connection: asyncpg.Connection[Any], schema: str = SCHEMA) -> int:
    """Bring the schema to the newest version in one transaction; returns how many steps ran.

    Raises:
        StoreTooNew: a newer version of the program wrote it.
        StoreDamaged: the schema is some other program's.
        StoreError: the server or pgvector is too old, or pgvector is not installed.
    """
    steps = migrations()
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await _require_server(connection)
        version = await _version(connection, schema)
        if version > steps[-1][0]:
            raise StoreTooNew(
                f"The database was written by a newer version of this program (schema {version}, this one knows "
                f"{steps[-1][0]}): update the program, or choose another database."
            )
        outstanding = [(number, sql) for number, sql in steps if number > version]
        for number, sql in outstanding:
            await connection.execute(sql)
            await connection.execute("UPDATE schema_version SET version = $1", number)
    return len(outstanding)


async def _require_server(connection: asyncpg.Connection[Any]) -> None:
    number = int(await connection.fetchval("SHOW server_version_num"))
    if number < MINIMUM_SERVER:
        raise StoreError(f"PostgreSQL 15 or newer is needed, the server is {number // 10_000}.")
    if not await connection.fetchval("SELECT count(*) FROM pg_extension WHERE extname = 'vector'"):
        await _create_extension(connection)
    text = str(await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'vector'"))
    if tuple(int(part) for part in text.split(".")[:2]) < MINIMUM_PGVECTOR:
        raise StoreError(
            f"pgvector 0.8 or newer is needed, the database has {text}: install it on the server, then run "
            "ALTER EXTENSION vector UPDATE in this database."
        )


async def _create_extension(connection: asyncpg.Connection[Any]) -> None:
    import asyncpg

    try:
        await connection.execute("CREATE EXTENSION vector SCHEMA public")
    except (asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError, asyncpg.UndefinedFileError) as error:
        raise StoreError(
            "The database has no pgvector: install it on the server (pgvector 0.8 or newer), then let an administrator "
            "run CREATE EXTENSION vector in this database."
        ) from error


async def _version(connection: asyncpg.Connection[Any], schema: str) -> int:
    await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = $1", schema)
    if not tables:
        await connection.execute("CREATE TABLE schema_version (version integer NOT NULL)")
        await connection.execute("INSERT INTO schema_version VALUES (0)")
        return 0
    if not await connection.fetchval(
        "SELECT count(*) FROM pg_tables WHERE schemaname = $1 AND tablename = 'schema_version'", schema
    ):
        raise StoreDamaged(f"The schema {schema} of the database belongs to another program: choose another database.")
    return int(await connection.fetchval("SELECT version FROM schema_version"))
