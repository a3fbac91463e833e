"""The database's schema as ordered SQL files, ``m001_….sql`` first; the version is SQLite's ``user_version``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cogs.memory.exceptions import StoreDamaged, StoreTooNew

if TYPE_CHECKING:
    import aiosqlite


@cache
def migrations() -> tuple[tuple[int, str], ...]:
    """Every migration as (version, SQL), in order; versions count 1, 2, 3, …. Read once for the life of the process."""
    files = sorted(Path(__file__).parent.glob("m[0-9][0-9][0-9]_*.sql"))
    return tuple((int(file.name[1:4]), file.read_text("utf-8")) for file in files)


def require_known(version: int) -> None:
    """See that a schema's version is one of ours. Raises StoreTooNew."""
    newest = migrations()[-1][0]
    if version > newest:
        raise StoreTooNew(
            f"The database was written by a newer version of this program (schema {version}, this one knows "
            f"{newest}): update the program, or choose another data folder."
        )


async def migrate(connection: aiosqlite.Connection) -> int:
    """Bring the database to the newest version, one transaction a step; returns how many steps ran.

    Raises:
        StoreTooNew: a newer version of the program wrote it.
        StoreDamaged: it is some other program's database.
    """
    steps = migrations()
    version = await _single_value(connection, "PRAGMA user_version")
    require_known(version)
    if version == 0 and await _single_value(connection, "SELECT count(*) FROM sqlite_master"):
        raise StoreDamaged(
            "The database belongs to another program: choose another data folder, or move the file away."
        )
    outstanding = [(number, sql) for number, sql in steps if number > version]
    for number, sql in outstanding:
        try:
            await connection.executescript(f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version = {number};\nCOMMIT;")
        except BaseException:
            await connection.rollback()  # behind what still runs: where that has committed it does nothing
            raise
    return len(outstanding)


async def _single_value(connection: aiosqlite.Connection, sql: str) -> int:
    [[value]] = await connection.execute_fetchall(sql)
    return int(value)
