"""Which settings a restored memory has: what people decided since holds, and what the backup lacks is read anew."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cogs.memory.surface.cli.import_command import GUILDS
from cogs.memory.surface.guild_settings import OPTED_OUT_KEY
from cogs.memory.surface.history.backfill_record import RECORD_KEY
from cogs.memory.surface.history.sync_marks import MARK_KEY
from cogs.memory.surface.recall.judgements import JUDGEMENTS_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    Settings = Mapping[tuple[int, str], str]

_OF_THE_STORE: Final = -1
_ABOUT_CONTENTS: Final = (RECORD_KEY, MARK_KEY, GUILDS, "threads")
"""Keys, or what stands before their colon, that say which messages the database has."""


def merge_settings(present: Settings, backup: Settings) -> dict[tuple[int, str], str]:
    """Return the settings of a restored memory, by guild and key.

    The backup's: what describes the messages that it holds, so that later ones are read again. The present ones':
    judgements, for some may have been forgotten, and every decision that is stored; one that only the backup has is
    kept. Whoever opted out in either is out.
    """
    merged = {place: value for place, value in backup.items() if place[1] != JUDGEMENTS_KEY}
    for place, value in present.items():
        guild_id, key = place
        if guild_id == _OF_THE_STORE or key.partition(":")[0] in _ABOUT_CONTENTS:
            continue
        merged[place] = _either(value, backup.get(place)) if key == OPTED_OUT_KEY else value
    return merged


def _either(present: str, backup: str | None) -> str:
    """Join two lists of ids; what cannot be understood stays as it is, and is told where it is read."""
    try:
        return json.dumps(sorted({*json.loads(present), *json.loads(backup or "[]")}))
    except (ValueError, TypeError):
        return present
