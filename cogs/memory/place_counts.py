"""How many messages wait, by guild and channel: what somebody is told of it must not count what he may not read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cogs.memory.records import Scope, StoredMessage


class PlaceCounts:
    """Counts messages where they were said."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, int]] = Counter()

    def add(self, messages: Iterable[StoredMessage]) -> None:
        """Count messages that begin to wait."""
        self._counts.update((message.guild_id, message.channel_id) for message in messages)

    def remove(self, messages: Iterable[StoredMessage]) -> None:
        """Count messages that wait no longer."""
        for message in messages:
            place = message.guild_id, message.channel_id
            self._counts[place] -= 1
            if not self._counts[place]:
                del self._counts[place]

    def any_in(self, scope: Scope) -> bool:
        """Whether a message waits that was said in the scope's channels."""
        return bool(self._counts) and any((scope.guild_id, channel) in self._counts for channel in scope.channel_ids)
