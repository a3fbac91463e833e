"""What is stored of a guild's back-fill, so that it goes on after a restart."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from .backfill_progress import RunState

if TYPE_CHECKING:
    from cogs.memory.stores import MemoryStore

RECORD_KEY: Final = "backfill"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillRecord:
    """The last back-fill of a guild."""

    state: RunState
    owner_id: int | None = None
    only: int | None = None
    """The one channel it is about; None for the whole guild."""
    complete: bool = False
    """Whether the whole guild was ever read to the end."""


async def read_record(store: MemoryStore, guild_id: int) -> BackfillRecord | None:
    """Return the guild's record, None if there never was a back-fill. Raises StoreError."""
    text = await store.get_setting(guild_id, RECORD_KEY)
    if text is None:
        return None
    data = json.loads(text)
    return BackfillRecord(**{**data, "state": RunState(data["state"])})


async def write_record(store: MemoryStore, guild_id: int, record: BackfillRecord) -> None:
    """Store the guild's record. Raises StoreError."""
    await store.put_setting(guild_id, RECORD_KEY, json.dumps(asdict(record)))


def checkpoint_key(place_id: int) -> str:
    """Where the checkpoint of a channel or thread is stored."""
    return f"backfill:{place_id}"
