"""Dates as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cogs.memory.exceptions import InvalidQuery
from cogs.memory.natural_dates import parse_date

NOW = datetime(2025, 6, 18, 15, 30, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-03-01", "2025-03-01 00:00"),
        ("2025-03-01T12:00:00+02:00", "2025-03-01 10:00"),
        ("yesterday", "2025-06-17 00:00"),
        ("gestern", "2025-06-17 00:00"),
        ("3 days ago", "2025-06-15 00:00"),
        ("2 hours ago", "2025-06-18 13:30"),
        ("last week", "2025-06-11 15:30"),
        ("in March", "2025-03-01 00:00"),
        ("December 2024", "2024-12-01 00:00"),
    ],
)
def test_dates_are_read(text: str, expected: str) -> None:
    assert f"{parse_date(text, NOW).astimezone(UTC):%Y-%m-%d %H:%M}" == expected


@pytest.mark.parametrize("text", ["", "the day of the owl", "x" * 500, "32.13.2025", "\x00"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery, match="is no date I know"):
        parse_date(text, NOW)
