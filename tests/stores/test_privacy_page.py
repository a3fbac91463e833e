"""PRIVACY.md names every field that is stored, and none that is not."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from cogs.memory.stores.migrations import migrations

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "PRIVACY.md").read_text("utf-8")
_SHADOW = re.compile(r"message_search_\w+")
"""What the full-text index is made of."""


def described() -> Iterator[tuple[str, set[str]]]:
    for table, columns in re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|", PAGE, re.MULTILINE):
        yield table, set(re.findall(r"`(\w+)`", columns))


def stored() -> Iterator[tuple[str, set[str]]]:
    with closing(sqlite3.connect(":memory:")) as database:
        for _, sql in migrations():
            database.executescript(sql)
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if not _SHADOW.fullmatch(table):
                yield table, {row[1] for row in database.execute(f"PRAGMA table_info({table})")}


def test_the_privacy_page_lists_exactly_the_fields_of_the_schema() -> None:
    assert dict(described()) == dict(stored())
