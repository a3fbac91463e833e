"""What a server's admins have decided about its memory, and which of its members do not want to be in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogs.memory.exceptions import StoreError
from cogs.memory.surface.kept_settings import (
    KeptSettings,
    check_ids,
    decode_ids,
    decode_json,
    decode_record,
    encode_record,
)

if TYPE_CHECKING:
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
            check_ids(name, getattr(self, name))
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


class GuildSettingsStore(KeptSettings[GuildSettings]):
    """Reads and writes the settings of all guilds, and who opted out.

    There must be only one of these for a store: what another one writes is not seen.

    Args:
        store: where they are kept.
    """

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store, SETTINGS_KEY, GuildSettings(), encode=encode_record, decode=decode_settings)
        self._opted_out: KeptSettings[frozenset[int]] = KeptSettings(
            store, OPTED_OUT_KEY, frozenset(), encode=lambda ids: json.dumps(sorted(ids)), decode=_decode_opted_out
        )

    async def is_opted_out(self, guild_id: int, user_id: int) -> bool:
        """Whether a member does not want to be remembered. Raises what `get` raises."""
        return user_id in await self.opted_out(guild_id)

    async def opted_out(self, guild_id: int) -> frozenset[int]:
        """Return all members who do not want to be remembered. Raises what `get` raises."""
        return await self._opted_out.get(guild_id)

    async def opt_out(self, guild_id: int, user_id: int) -> None:
        """Note that a member does not want to be remembered. Raises what `get` raises."""
        check_ids("user_id", frozenset([user_id]))
        await self._opted_out.change(guild_id, lambda ids: ids | {user_id})

    async def opt_in(self, guild_id: int, user_id: int) -> None:
        """Note that a member may be remembered. Raises what `get` raises."""
        await self._opted_out.change(guild_id, lambda ids: ids - {user_id})

    async def reset_all(self, guild_id: int) -> bool:
        """Give a guild the settings of one that decided nothing; return whether the opt-outs had to go as well.

        They go only if what is stored of them cannot be understood. Raises StoreError.
        """
        await self.reset(guild_id)
        try:
            await self._opted_out.get(guild_id)
        except DamagedSettings:
            await self._opted_out.reset(guild_id)
            return True
        return False

    async def remove(self, guild_id: int) -> None:
        """Remove a guild's settings. Who opted out stays so: the bot may be invited again. Raises StoreError."""
        await self.reset(guild_id)


def decode_settings(text: str) -> GuildSettings:
    """Return the settings that a JSON text holds; a field it lacks has its default. Raises DamagedSettings."""
    return decode_record(GuildSettings, text, _damaged)


def _decode_opted_out(text: str) -> frozenset[int]:
    return decode_ids("the list of members who opted out", decode_json(text, _damaged), _damaged)


def _check_instruction(text: object) -> None:
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_INSTRUCTION or not text.isprintable():
        raise ValueError(f"instruction must be one line of text of at most {MAX_INSTRUCTION} characters, or nothing")


def _damaged(why: str) -> DamagedSettings:
    return DamagedSettings(
        f"The memory settings of this server cannot be understood: {why}. "
        "Nothing is remembered until an admin sets them anew with /memory reset-settings."
    )
