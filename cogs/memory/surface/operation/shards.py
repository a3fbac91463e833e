"""Which shards a process runs, and so which servers are its own. Pure.

Discord deals servers out by ``shard = (guild_id >> 22) % count``. A bot of several processes gives each some of the
shards; what one process does for all servers (commands, servers that were left) must then be done by one of them, or
for its own servers only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cogs.memory.surface.services import Bot

ALLOWED: Final = "numbers of shards and their count, such as 0-3/16, 0,2/4 or 5/16"
_FORM: Final = re.compile(r"(?P<ids>\d{1,5}(?:-\d{1,5})?(?:,\d{1,5}(?:-\d{1,5})?)*)/(?P<count>\d{1,5})")


@dataclass(frozen=True, slots=True)
class Shards:
    """Some of a bot's shards."""

    ids: tuple[int, ...]
    """Ascending."""
    count: int
    """Of the whole bot."""

    @classmethod
    def parse(cls, text: str) -> Shards:
        """Read ``0-3/16``.

        Raises:
            ValueError: it says something else, or a shard beyond the count; the message says what is allowed.
        """
        match = _FORM.fullmatch(text.replace(" ", ""))
        if match is None:
            raise ValueError(f"shards are {ALLOWED}, not {text!r}")
        count = int(match["count"])
        ids: set[int] = set()
        for part in match["ids"].split(","):
            first, _, last = part.partition("-")
            ids.update(range(int(first), int(last or first) + 1))
        if not ids or max(ids) >= count:
            raise ValueError(f"shards are {ALLOWED}, counted from 0; {text!r} names one beyond its count")
        return cls(tuple(sorted(ids)), count)

    @property
    def is_all(self) -> bool:
        """Whether no other process runs a shard."""
        return len(self.ids) == self.count

    def own(self, guild_id: int) -> bool:
        """Whether a server belongs to one of them."""
        return (guild_id >> 22) % self.count in self.ids

    def __str__(self) -> str:
        return f"{','.join(map(str, self.ids))}/{self.count}"


WHOLE: Final = Shards((0,), 1)
"""A bot of one process."""


def shards_of(bot: Bot) -> Shards:
    """Return the shards that a bot runs in this process, whoever wrote the bot."""
    count = bot.shard_count or 1
    ids = getattr(bot, "shard_ids", None)
    if ids is None:  # all that Discord recommends, or the one of an unsharded client
        ids = range(count) if bot.shard_id is None else [bot.shard_id]
    shards = Shards(tuple(sorted(ids)), count)
    return WHOLE if shards.is_all else shards
