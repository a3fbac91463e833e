"""Rows that come in one are the rows that would have come one by one."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogs.memory.stores.sqlite_packing import Packed

NUMBERS = st.none() | st.integers(-(2**63), 2**63 - 1)
TEXTS = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
BLOBS = st.none() | st.binary(max_size=40)
ROWS = st.lists(st.tuples(NUMBERS, TEXTS, BLOBS, BLOBS), max_size=12)


@given(ROWS)
def test_packed_rows_are_the_rows(rows: list[tuple[int | None, str | None, bytes | None, bytes | None]]) -> None:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (n INTEGER, s TEXT, a BLOB, b BLOB)")
    database.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    packed = Packed("n, s", "a", "b")
    assert packed.rows(database.execute(f"SELECT {packed.select} FROM t").fetchall()) == [list(row) for row in rows]


def test_no_rows_are_none() -> None:
    database = sqlite3.connect(":memory:")
    packed = Packed("1", "x'00'")
    assert packed.rows(database.execute(f"SELECT {packed.select} WHERE 0").fetchall()) == []


@pytest.mark.parametrize("columns", ["1, 'a'", "NULL"])
def test_without_blobs(columns: str) -> None:
    database = sqlite3.connect(":memory:")
    packed = Packed(columns)
    [row] = packed.rows(database.execute(f"SELECT {packed.select}").fetchall())
    assert tuple(row) == database.execute(f"SELECT {columns}").fetchone()
