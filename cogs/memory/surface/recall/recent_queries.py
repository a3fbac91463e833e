"""What each user asked last, for the suggestions while typing. In memory only: questions are nobody else's business."""

from __future__ import annotations

from typing import Final

from cachetools import LRUCache

MAX_SUGGESTION: Final = 100
"""Characters of a suggestion that Discord takes."""
KEPT: Final = 25


class RecentQueries:
    """The last questions of the users who asked most recently.

    Args:
        users: how many users are remembered.
    """

    def __init__(self, users: int = 5000) -> None:
        self._asked: LRUCache[tuple[int, int], dict[str, None]] = LRUCache(maxsize=users)

    def note(self, guild_id: int, user_id: int, query: str) -> None:
        """Remember a question."""
        query = query.strip()
        if not query or len(query) > MAX_SUGGESTION:
            return
        asked = self._asked.setdefault((guild_id, user_id), {})
        asked.pop(query, None)
        asked[query] = None
        while len(asked) > KEPT:
            del asked[next(iter(asked))]

    def like(self, guild_id: int, user_id: int, typed: str) -> list[str]:
        """Return the user's own questions that contain what was typed, the latest first."""
        typed = typed.strip().casefold()
        asked = self._asked.get((guild_id, user_id), {})
        return [query for query in reversed(asked) if typed in query.casefold()]

    async def forget(self, guild_id: int, *, user_id: int | None = None, channel_id: int | None = None) -> int:
        """Forget what a user, or everybody, asked on a server; return how many questions that were."""
        if channel_id is not None:
            return 0  # nobody's question belongs to a channel
        keys = [key for key in self._asked if key[0] == guild_id and user_id in (None, key[1])]
        return sum(len(self._asked.pop(key)) for key in keys)
