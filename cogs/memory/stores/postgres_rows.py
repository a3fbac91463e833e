"""Messages and a `Scope` as PostgreSQL's SQL takes them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from cogs.memory.records import MAX_ID
from cogs.memory.stores.message_rows import MessageRow, to_message, to_microseconds, wanted_flags

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cogs.memory.records import Scope, StoredMessage

PLAIN_COLUMNS: Final = MessageRow._fields[:-1]
"""The columns of table ``messages`` that both engines have: pairs of characters are made when words are."""

_ESCAPE, _ESCAPED, _NUL = "\ufdd0", "\ufdd0\ufdd1", "\ufdd0\ufdd2"
"""PostgreSQL's text holds no NUL: three characters that Unicode keeps for programs stand for it, and for themselves."""


class Arguments:
    """The values of one statement in the order of their placeholders."""

    def __init__(self, *values: object) -> None:
        self.values = list(values)

    def add(self, value: object) -> str:
        """Take one more value; returns its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"


def text_in(text: str) -> str:
    """A text as the database can hold it."""
    if "\x00" not in text and _ESCAPE not in text:
        return text
    return text.replace(_ESCAPE, _ESCAPED).replace("\x00", _NUL)


def text_out(text: str) -> str:
    """The text that `text_in` was given."""
    return text.replace(_NUL, "\x00").replace(_ESCAPED, _ESCAPE) if _ESCAPE in text else text


def stored_values(row: MessageRow) -> tuple[object, ...]:
    """The values of `PLAIN_COLUMNS`."""
    return tuple(text_in(value) if isinstance(value, str) else value for value in row[:-1])


def message_of(row: Sequence[Any]) -> StoredMessage:
    """The message of a row that begins with `message_rows.READ_COLUMNS`."""
    return to_message(tuple(text_out(value) if isinstance(value, str) else value for value in row))


def author_key(name: str, handle: str) -> int:
    """64 bits that stand for a name and an account name, signed as PostgreSQL has them."""
    digest = hashlib.blake2b(f"{name}\x00{handle}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def possible_ids(ids: Iterable[int]) -> list[int]:
    """Without the numbers that cannot be ids, for no row has them."""
    return [i for i in ids if 0 < i <= MAX_ID]


def channel_condition(scope: Scope, table: str, arguments: Arguments, *, by_id: bool = False) -> str:
    """The condition that a row of ``table`` lies in the scope's channels; its values are added to the arguments.

    ``by_id``: the rows are named by their ids besides. Then the channels must not look like a way in: PostgreSQL would
    rather read every message of three hundred channels than look up as many ids.
    """
    guild = arguments.add(scope.guild_id if 0 < scope.guild_id <= MAX_ID else 0)
    channels = arguments.add(possible_ids(scope.channel_ids))
    channel = f"({table}.channel_id + 0)" if by_id else f"{table}.channel_id"
    return f"{table}.guild_id = {guild}::bigint AND {channel} = ANY ({channels}::bigint[])"


def scope_condition(scope: Scope, table: str, arguments: Arguments, *, by_id: bool = False) -> str:
    """The condition that a row of ``table`` lies in the whole scope.

    Raises:
        ValueError: ``has`` asks for something unknown.
    """
    conditions = [channel_condition(scope, table, arguments, by_id=by_id)]
    if scope.author_ids is not None:
        conditions.append(f"{table}.author_id = ANY ({arguments.add(possible_ids(scope.author_ids))}::bigint[])")
    if scope.after is not None:
        conditions.append(f"{table}.created_us >= {arguments.add(to_microseconds(scope.after))}::bigint")
    if scope.before is not None:
        conditions.append(f"{table}.created_us < {arguments.add(to_microseconds(scope.before))}::bigint")
    if scope.has:
        wanted = arguments.add(wanted_flags(scope.has))
        conditions.append(f"({table}.flags & {wanted}::integer) = {wanted}::integer")
    return " AND ".join(conditions)
