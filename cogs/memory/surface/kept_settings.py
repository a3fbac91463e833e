"""What is decided for a guild, kept in the store: read once, changed in turn, never guessed when it is damaged."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from cogs.memory.records import MAX_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from dataclasses import Field

    from cogs.memory.exceptions import StoreError
    from cogs.memory.stores import MemoryStore

    Damaged = Callable[[str], StoreError]
    """Makes the error that says, and why, that what is stored cannot be understood."""


class _Record(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Value = TypeVar("Value")
Record = TypeVar("Record", bound=_Record)


class KeptSettings(Generic[Value]):
    """One value for each guild; a guild's is read from the store once.

    There must be only one of these for a store and a key: what another one writes is not seen.

    Args:
        store: where they are kept.
        key: of the store's settings.
        default: the value of guilds for which nothing is stored; it is never stored itself.
        encode: makes the text that is stored.
        decode: reads it; raises a `StoreError` of its own for what it cannot understand.
    """

    def __init__(
        self,
        store: MemoryStore,
        key: str,
        default: Value,
        *,
        encode: Callable[[Value], str],
        decode: Callable[[str], Value],
    ) -> None:
        self._store = store
        self._key = key
        self._default = default
        self._encode = encode
        self._decode = decode
        self._known: dict[int, Value] = {}
        self._writing = asyncio.Lock()
        """Held for reads too, so that none that comes late hides a newer write."""

    async def get(self, guild_id: int) -> Value:
        """Return a guild's value.

        Raises:
            StoreError: the store cannot be read, or what it holds cannot be understood; nothing is assumed then.
        """
        if guild_id in self._known:
            return self._known[guild_id]
        async with self._writing:
            return await self._read(guild_id)

    async def put(self, guild_id: int, value: Value) -> None:
        """Store a guild's value in place of an earlier one, a damaged one included. Raises StoreError."""
        async with self._writing:
            await self._write(guild_id, value)

    async def change(self, guild_id: int, change: Callable[[Value], Value]) -> Value:
        """Apply ``change`` to a guild's value, so that no other change is lost, and return the result.

        Raises what `get` raises.
        """
        async with self._writing:
            value = change(await self._read(guild_id))
            await self._write(guild_id, value)
        return value

    async def reset(self, guild_id: int) -> None:
        """Give a guild the default, whatever is stored. Raises StoreError."""
        await self.put(guild_id, self._default)

    async def _read(self, guild_id: int) -> Value:
        if guild_id not in self._known:
            text = await self._store.get_setting(guild_id, self._key)
            self._known[guild_id] = self._default if text is None else self._decode(text)
        return self._known[guild_id]

    async def _write(self, guild_id: int, value: Value) -> None:
        await self._store.put_setting(guild_id, self._key, None if value == self._default else self._encode(value))
        self._known[guild_id] = value


def encode_record(record: _Record) -> str:
    """Return a dataclass of plain values and sets of ids as JSON."""
    data = asdict(record)
    return json.dumps({name: sorted(value) if isinstance(value, frozenset) else value for name, value in data.items()})


def decode_record(kind: type[Record], text: str, damaged: Damaged) -> Record:
    """Return the record that a JSON text holds; a field it lacks has its default.

    Raises what ``damaged`` makes: it is no JSON object, a field is unknown, or a value is not allowed.
    """
    data = decode_json(text, damaged)
    if not isinstance(data, dict):
        raise damaged("they are not a JSON object")
    known = {field.name: field for field in fields(kind)}
    if unknown := data.keys() - known:
        raise damaged(f"{min(unknown)!r:.60} is not a setting that this version knows")
    for name, value in data.items():
        if isinstance(known[name].default, frozenset):
            data[name] = decode_ids(name, value, damaged)
    try:
        return kind(**data)
    except (TypeError, ValueError) as error:
        raise damaged(str(error)) from error


def decode_json(text: str, damaged: Damaged) -> Any:
    """Return what a JSON text holds. Raises what ``damaged`` makes."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged("they are not JSON") from error


def decode_ids(name: str, value: object, damaged: Damaged) -> frozenset[int]:
    """Return the ids of a list. Raises what ``damaged`` makes."""
    if not isinstance(value, list) or not are_ids(value):
        raise damaged(f"{name} must be a list of ids")
    return frozenset(value)


def check_ids(name: str, ids: object) -> None:
    """Refuse what is no set of ids. Raises ValueError."""
    if not isinstance(ids, frozenset) or not are_ids(ids):
        raise ValueError(f"{name} must be ids, numbers from 1 to 2**63 - 1")


def are_ids(values: Collection[object]) -> bool:
    """Whether all are ids; True is none."""
    return all(type(value) is int and 0 < value <= MAX_ID for value in values)
