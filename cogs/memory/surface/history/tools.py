"""What every reader of history works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .discord_requests import FIRST_BACKOFF_S, Requests

if TYPE_CHECKING:
    from cogs.memory.memory_service import MemoryService

    from .intake import HistoryIntake
    from .places import KnownPlaces
    from .verified_ids import VerifiedIds

POLITE_S = 1.0
"""Seconds between two requests for one guild's history."""
UNWELL_S = 600.0
"""How long a channel is left alone after Discord kept failing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryTools:
    """The memory, the way into it, and a paced line to Discord for each guild."""

    memory: MemoryService
    intake: HistoryIntake
    places: KnownPlaces
    verified: VerifiedIds
    interval_s: float = POLITE_S
    first_backoff_s: float = FIRST_BACKOFF_S
    unwell_s: float = UNWELL_S
    _requests: dict[int, Requests] = field(default_factory=dict)

    def requests(self, guild_id: int) -> Requests:
        """Return the guild's line: back-fill, catch-up and sweep share its pace."""
        return self._requests.setdefault(guild_id, Requests(self.interval_s, first_backoff_s=self.first_backoff_s))
