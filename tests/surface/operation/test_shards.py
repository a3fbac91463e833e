"""Which servers belong to which process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.memory.surface.operation.shards import WHOLE, Shards, shards_of


@pytest.mark.parametrize(
    ("text", "ids", "count"),
    [
        ("0/1", (0,), 1),
        ("0-3/16", (0, 1, 2, 3), 16),
        ("0,2/4", (0, 2), 4),
        ("5/16", (5,), 16),
        ("4-5, 0/8", (0, 4, 5), 8),
    ],
)
def test_shards_are_read(text: str, ids: tuple[int, ...], count: int) -> None:
    assert Shards.parse(text) == Shards(ids, count)


@pytest.mark.parametrize(
    "text", ["", "3", "0-3", "16/16", "3-1/8", "0-/4", "-1/4", "a/b", "0/0", "0/4/8", "0-999999/9"]
)
def test_what_is_no_shard_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="0-3/16"):
        Shards.parse(text)


@given(st.integers(1, 2**63 - 1), st.integers(1, 64))
@settings(derandomize=True, max_examples=50)
def test_every_server_belongs_to_exactly_one_shard(guild_id: int, count: int) -> None:
    assert sum(Shards((shard,), count).own(guild_id) for shard in range(count)) == 1


@pytest.mark.parametrize(
    ("bot", "expected"),
    [
        ({"shard_count": None, "shard_id": None, "shard_ids": None}, WHOLE),
        ({"shard_count": 4, "shard_id": None, "shard_ids": None}, WHOLE),
        ({"shard_count": 4, "shard_id": None, "shard_ids": [0, 1, 2, 3]}, WHOLE),
        ({"shard_count": 4, "shard_id": None, "shard_ids": [3, 1]}, Shards((1, 3), 4)),
        ({"shard_count": 4, "shard_id": 2}, Shards((2,), 4)),
        ({"shard_count": None, "shard_id": None}, WHOLE),
    ],
    ids=["not started", "automatic", "all named", "some", "one, unsharded client", "unsharded"],
)
def test_the_shards_of_a_bot_are_known(bot: dict[str, Any], expected: Shards) -> None:
    client: Any = SimpleNamespace(**bot)
    assert shards_of(client) == expected
