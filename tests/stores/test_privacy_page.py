"""PRIVACY.md names every field that is stored, by either engine, and none that is not."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from cogs.memory.stores.migrations import migrations
from cogs.memory.stores.postgres import PostgresStore
from tests.postgres_server import TEST_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "PRIVACY.md").read_text("utf-8")
_SHADOW = re.compile(r"message_search_\w+")
"""What the full-text index is made of."""


def described(heading: str) -> dict[str, set[str]]:
    """The columns of each table below a heading."""
    section = re.split(r"^#+ ", PAGE.split(f"### {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    tables = re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|", section, re.MULTILINE)
    return {table: set(re.findall(r"`(\w+)`", columns)) for table, columns in tables}


def stored() -> Iterator[tuple[str, set[str]]]:
    with closing(sqlite3.connect(":memory:")) as database:
        for _, sql in migrations():
            database.executescript(sql)
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if not _SHADOW.fullmatch(table):
                yield table, {row[1] for row in database.execute(f"PRAGMA table_info({table})")}


def test_the_privacy_page_lists_exactly_the_fields_of_the_file() -> None:
    assert described("In the file") == dict(stored())


async def test_the_privacy_page_lists_exactly_the_fields_on_a_server(postgres_dsn: str) -> None:
    store = PostgresStore(postgres_dsn, schema=TEST_SCHEMA)
    await store.open()
    rows = await store.connections.read(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND a.attnum > 0 AND NOT a.attisdropped"
    )
    await store.close()
    columns: dict[str, set[str]] = {}
    for table, column in rows:
        columns.setdefault(table, set()).add(column)
    assert described("On a PostgreSQL server") == columns
