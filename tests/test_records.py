"""What could be stored but not read again never becomes a message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from cogs.memory.records import MAX_ID, StoredMessage
from cogs.memory.stores.message_rows import to_datetime, to_microseconds

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def message(**changes: Any) -> StoredMessage:
    values = {"id": 1, "guild_id": 2, "channel_id": 3, "author_id": 4, "created_at": NOON, **changes}
    return StoredMessage(author_name="Mia", content="hello", **values)


@pytest.mark.parametrize("name", ["id", "guild_id", "channel_id", "author_id"])
@pytest.mark.parametrize("value", [0, -5, MAX_ID + 1])
def test_ids_are_snowflakes(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        message(**{name: value})


@pytest.mark.parametrize("name", ["created_at", "edited_at"])
@pytest.mark.parametrize(
    "moment",
    [
        NOON.replace(tzinfo=None),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
        datetime.min.replace(tzinfo=UTC),
    ],
)
def test_times_have_a_zone_and_lie_in_the_calendar(name: str, moment: datetime) -> None:
    with pytest.raises(ValueError, match=name):
        message(**{name: moment})


@pytest.mark.parametrize("year", [2, 9998])
def test_every_time_that_is_accepted_can_be_read_again(year: int) -> None:
    for zone in (timezone(timedelta(hours=-23)), timezone(timedelta(hours=23))):
        accepted = message(created_at=datetime(year, 12, 31, 23, 59, tzinfo=zone)).created_at
        assert to_datetime(to_microseconds(accepted)) == accepted
