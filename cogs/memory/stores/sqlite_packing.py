"""Many rows in one.

Python's SQLite module gives the interpreter away for every row that it fetches, and waits to get it back. While other
threads are busy that wait is up to five milliseconds; a question reads some five hundred rows.
"""

from __future__ import annotations

import json
from typing import Any


class Packed:
    """What a query selects, brought back in one row; for queries without an order, a group or a limit of their own.

    Args:
        columns: expressions that give numbers, texts or NULL.
        blobs: expressions that give bytes or NULL.
    """

    def __init__(self, columns: str, *blobs: str) -> None:
        lengths = "".join(f", length({blob})" for blob in blobs)
        # Joining takes bytes for text as they are, and the cast takes the text for bytes again.
        joined = "".join(f", CAST(group_concat({blob}, '') AS BLOB)" for blob in blobs)
        self.select = f"json_group_array(json_array({columns}{lengths})){joined}"
        self._blobs = len(blobs)

    def rows(self, fetched: list[tuple[Any, ...]]) -> list[list[Any]]:
        """The rows that a query for ``select`` would have had with the columns and the blobs themselves."""
        [[text, *joined]] = fetched
        rows: list[list[Any]] = json.loads(text)
        for column, whole in zip(range(-self._blobs, 0), joined, strict=True):
            start = 0
            for row in rows:
                length = row[column]
                if length is not None:
                    row[column] = whole[start : start + length]
                    start += length
        return rows
