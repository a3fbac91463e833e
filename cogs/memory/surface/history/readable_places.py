"""Noticing that a channel has opened to the bot: nothing was heard of it while it was closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .places import may_read, places_of

if TYPE_CHECKING:
    import discord


class ReadablePlaces:
    """Remembers which channels and threads of each guild the bot could read when it last looked."""

    def __init__(self) -> None:
        self._closed: dict[int, frozenset[int]] = {}

    def look(self, guild: discord.Guild) -> frozenset[int]:
        """Look again, and return the ids of what was closed the last time and is open now."""
        before = self._closed.get(guild.id, frozenset())
        places = {place.id: may_read(place) for place in places_of(guild)}
        self._closed[guild.id] = frozenset(place_id for place_id, is_open in places.items() if not is_open)
        return frozenset(place_id for place_id in before if places.get(place_id))

    def forget(self, guild_id: int) -> None:
        """Forget a guild that is out of view."""
        self._closed.pop(guild_id, None)
