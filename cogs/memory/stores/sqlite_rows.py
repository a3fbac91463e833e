"""A `Scope` and lists of ids as SQLite's SQL takes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.records import MAX_ID
from cogs.memory.stores.message_rows import to_microseconds, wanted_flags

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from cogs.memory.records import Scope


def id_list(ids: Iterable[int]) -> str:
    """Ids as a JSON array for ``json_each``; numbers that cannot be ids are left out, for no row has them."""
    return json.dumps([i for i in ids if 0 < i <= MAX_ID])


def joined_ids(text: str | None) -> NDArray[np.int64]:
    """Ids as ``group_concat`` joins them, which takes half the time that a row for each would; None for none."""
    return np.fromstring(text or "", dtype=np.int64, sep=",")


def channel_condition(scope: Scope, *, by_id: bool = False) -> tuple[str, dict[str, object]]:
    """The condition on table ``messages m`` that a row lies in the scope's channels, with its parameters.

    ``by_id``: an index that begins with the id finds the row. Then guild and channels must not look like a way in:
    SQLite would look once for each channel that the row may be in.
    """
    guild = scope.guild_id if 0 < scope.guild_id <= MAX_ID else 0
    plus = "+" if by_id else ""
    return (
        f"{plus}m.guild_id = :guild AND {plus}m.channel_id IN (SELECT value FROM json_each(:channels))",  # noqa: S608
        {"guild": guild, "channels": id_list(scope.channel_ids)},
    )


def scope_condition(scope: Scope, *, by_id: bool = False) -> tuple[str, dict[str, object]]:
    """The condition on table ``messages m`` that a row lies in the whole scope, with its parameters.

    ``by_id`` is that of `channel_condition`.

    Raises:
        ValueError: ``has`` asks for something unknown.
    """
    condition, parameters = channel_condition(scope, by_id=by_id)
    if scope.author_ids is not None:
        condition += " AND m.author_id IN (SELECT value FROM json_each(:authors))"
        parameters["authors"] = id_list(scope.author_ids)
    if scope.after is not None:
        condition += " AND m.created_us >= :after"
        parameters["after"] = to_microseconds(scope.after)
    if scope.before is not None:
        condition += " AND m.created_us < :before"
        parameters["before"] = to_microseconds(scope.before)
    if scope.has:
        condition += " AND (m.flags & :has) = :has"
        parameters["has"] = wanted_flags(scope.has)
    return condition, parameters
