"""What a server's admins have decided about its memory, and which of its members do not want to be in it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from cogs.memory.exceptions import StoreError
from cogs.memory.records import MAX_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogs.memory.stores import MemoryStore

SETTINGS_KEY: Final = "guild-settings"
OPTED_OUT_KEY: Final = "opted-out"

MAX_RETENTION_DAYS: Final = 36_500
"""A hundred years."""
MAX_INSTRUCTION: Final = 500
"""Characters of a reranker's instruction."""


class DamagedSettings(StoreError):
    """What is stored as a guild's settings cannot be understood; nothing is assumed in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuildSettings:
    """The decisions of one guild's admins; the defaults are those of a guild whose admins decided nothing.

    Raises:
        ValueError: a value is of the wrong type or out of range; the sentence says what is allowed.
    """

    allowed_channels: frozenset[int] = frozenset()
    """Only these channels, and the threads in them, are remembered; empty for all."""
    denied_channels: frozenset[int] = frozenset()
    """These channels, and the threads in them, are never remembered, allowed or not."""
    retention_days: int | None = None
    """Messages older than this are deleted; None keeps them."""
    instruction: str | None = None
    """What "relevant" means here, for rerankers that read an instruction."""
    backfill_on_join: bool = True
    """Whether the history may be read in as soon as the bot joins."""

    def __post_init__(self) -> None:
        for name in ("allowed_channels", "denied_channels"):
            _check_ids(name, getattr(self, name))
        days = self.retention_days
        if days is not None and (type(days) is not int or not 1 <= days <= MAX_RETENTION_DAYS):
            raise ValueError(f"retention_days must be a whole number from 1 to {MAX_RETENTION_DAYS:,}, or nothing")
        if self.instruction is not None:
            _check_instruction(self.instruction)
        if type(self.backfill_on_join) is not bool:
            raise ValueError("backfill_on_join must be true or false")

    def indexes(self, channel_id: int, parent_id: int | None) -> bool:
        """Whether messages of a channel are remembered; a thread goes with the channel it hangs under."""
        place = {channel_id} if parent_id is None else {channel_id, parent_id}
        if place & self.denied_channels:
            return False
        return not self.allowed_channels or bool(place & self.allowed_channels)


class GuildSettingsStore:
    """Reads and writes the settings of all guilds; each guild's are read from the store once.

    There must be only one of these for a store: what another one writes is not seen.

    Args:
        store: where settings are kept.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._settings: dict[int, GuildSettings] = {}
        self._opted_out: dict[int, frozenset[int]] = {}
        self._writing = asyncio.Lock()

    async def get(self, guild_id: int) -> GuildSettings:
        """Return a guild's settings.

        Raises:
            DamagedSettings: something else is stored in their place.
            StoreError: the store cannot be read.
        """
        known = self._settings.get(guild_id)
        if known is None:
            async with self._writing:
                known = await self._read_settings(guild_id)
        return known

    async def put(self, guild_id: int, settings: GuildSettings) -> None:
        """Store a guild's settings in place of all earlier ones, damaged ones included. Raises StoreError."""
        async with self._writing:
            await self._write_settings(guild_id, settings)

    async def change(self, guild_id: int, change: Callable[[GuildSettings], GuildSettings]) -> GuildSettings:
        """Apply ``change`` to a guild's settings, so that no other change is lost, and return the result.

        Raises:
            DamagedSettings: there is nothing sound to change.
            StoreError: the store failed.
        """
        async with self._writing:
            settings = change(await self._read_settings(guild_id))
            await self._write_settings(guild_id, settings)
        return settings

    async def is_opted_out(self, guild_id: int, user_id: int) -> bool:
        """Whether a member does not want to be remembered. Raises what `get` raises."""
        return user_id in await self.opted_out(guild_id)

    async def opted_out(self, guild_id: int) -> frozenset[int]:
        """Return all members who do not want to be remembered. Raises what `get` raises."""
        known = self._opted_out.get(guild_id)
        if known is None:
            async with self._writing:
                known = await self._read_opted_out(guild_id)
        return known

    async def opt_out(self, guild_id: int, user_id: int) -> None:
        """Note that a member does not want to be remembered. Raises what `get` raises."""
        _check_ids("user_id", frozenset([user_id]))
        async with self._writing:
            await self._write_opted_out(guild_id, await self._read_opted_out(guild_id) | {user_id})

    async def opt_in(self, guild_id: int, user_id: int) -> None:
        """Note that a member may be remembered. Raises what `get` raises."""
        async with self._writing:
            await self._write_opted_out(guild_id, await self._read_opted_out(guild_id) - {user_id})

    async def reset(self, guild_id: int) -> bool:
        """Give a guild the settings of one that decided nothing; return whether the opt-outs had to go as well.

        They go only if what is stored of them cannot be understood. Raises StoreError.
        """
        async with self._writing:
            await self._write_settings(guild_id, GuildSettings())
            try:
                await self._read_opted_out(guild_id)
            except DamagedSettings:
                await self._write_opted_out(guild_id, frozenset())
                return True
        return False

    async def remove(self, guild_id: int) -> None:
        """Remove a guild's settings. Who opted out stays so: the bot may be invited again. Raises StoreError."""
        async with self._writing:
            await self._store.put_setting(guild_id, SETTINGS_KEY, None)
            self._settings.pop(guild_id, None)

    # --- under the lock, so that no late read hides a newer write

    async def _read_settings(self, guild_id: int) -> GuildSettings:
        known = self._settings.get(guild_id)
        if known is None:
            text = await self._store.get_setting(guild_id, SETTINGS_KEY)
            known = self._settings[guild_id] = GuildSettings() if text is None else decode_settings(text)
        return known

    async def _write_settings(self, guild_id: int, settings: GuildSettings) -> None:
        text = None if settings == GuildSettings() else encode_settings(settings)
        await self._store.put_setting(guild_id, SETTINGS_KEY, text)
        self._settings[guild_id] = settings

    async def _read_opted_out(self, guild_id: int) -> frozenset[int]:
        known = self._opted_out.get(guild_id)
        if known is None:
            text = await self._store.get_setting(guild_id, OPTED_OUT_KEY)
            known = self._opted_out[guild_id] = frozenset() if text is None else _decode_opted_out(text)
        return known

    async def _write_opted_out(self, guild_id: int, user_ids: frozenset[int]) -> None:
        text = json.dumps(sorted(user_ids)) if user_ids else None
        await self._store.put_setting(guild_id, OPTED_OUT_KEY, text)
        self._opted_out[guild_id] = user_ids


def encode_settings(settings: GuildSettings) -> str:
    """Return settings as the JSON text that is stored."""
    data = asdict(settings)
    return json.dumps({name: sorted(value) if isinstance(value, frozenset) else value for name, value in data.items()})


def decode_settings(text: str) -> GuildSettings:
    """Return the settings that a JSON text holds; a field it lacks has its default.

    Raises:
        DamagedSettings: it is no JSON object, a field is unknown, or a value is not allowed.
    """
    data = _decode_json(text)
    if not isinstance(data, dict):
        raise _damaged("they are not a JSON object")
    unknown = data.keys() - {field.name for field in fields(GuildSettings)}
    if unknown:
        raise _damaged(f"{min(unknown)!r:.60} is not a setting that this version knows")
    for name in ("allowed_channels", "denied_channels"):
        if name in data:
            data[name] = _ids(name, data[name])
    try:
        return replace(GuildSettings(), **data)
    except ValueError as error:
        raise _damaged(str(error)) from error


def _decode_opted_out(text: str) -> frozenset[int]:
    return _ids("the list of members who opted out", _decode_json(text))


def _decode_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _damaged("they are not JSON") from error


def _ids(name: str, value: object) -> frozenset[int]:
    try:
        if not isinstance(value, list):
            raise TypeError
        ids = frozenset(value)
        _check_ids(name, ids)
    except (TypeError, ValueError) as error:  # TypeError: a list or an object in the list
        raise _damaged(f"{name} must be a list of ids") from error
    return ids


def _check_ids(name: str, ids: object) -> None:
    if not isinstance(ids, frozenset) or not all(type(i) is int and 0 < i <= MAX_ID for i in ids):
        raise ValueError(f"{name} must be ids, numbers from 1 to 2**63 - 1")


def _check_instruction(text: object) -> None:
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_INSTRUCTION or not text.isprintable():
        raise ValueError(f"instruction must be one line of text of at most {MAX_INSTRUCTION} characters, or nothing")


def _damaged(why: str) -> DamagedSettings:
    return DamagedSettings(
        f"The memory settings of this server cannot be understood: {why}. "
        "Nothing is remembered until an admin sets them anew with /memory reset-settings."
    )
