"""Which stored messages are known to be true since the last time that events may have been missed."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cogs.memory.records import StoredMessage

_LOOSE = 2048
"""Ids kept in a set before they are sorted into the array: 8 bytes each there, about 60 in the set."""


@dataclass(slots=True)
class _Channel:
    """The verified ids of one channel: a sorted array, and a set of the latest."""

    live_from: int | None = None
    """The first message heard in this epoch: from there on every change was heard too."""
    settled: array[int] = field(default_factory=lambda: array("q"))
    loose: set[int] = field(default_factory=set)

    def add(self, ids: Iterable[int]) -> None:
        self.loose.update(ids)
        if len(self.loose) > max(_LOOSE, len(self.settled) // 8):
            self.settled = array("q", sorted(self.loose.union(self.settled)))
            self.loose.clear()

    def __contains__(self, message_id: int) -> bool:
        if message_id in self.loose or (self.live_from is not None and message_id >= self.live_from):
            return True
        place = bisect_left(self.settled, message_id)
        return place < len(self.settled) and self.settled[place] == message_id


class VerifiedIds:
    """Remembers, for each guild and sync epoch, which messages were seen as they are.

    While the bot is connected every edit and deletion reaches it, so what was seen once in an epoch stays true. An
    epoch ends when events may have been missed; then all is in doubt again.
    """

    def __init__(self) -> None:
        self._epochs: dict[int, int] = defaultdict(int)
        self._channels: dict[int, dict[int, _Channel]] = defaultdict(lambda: defaultdict(_Channel))

    def epoch(self, guild_id: int) -> int:
        """Return the guild's epoch of this process; grows with each gap."""
        return self._epochs[guild_id]

    def guilds(self) -> list[int]:
        """Return the guilds of which anything is known."""
        return list(self._epochs.keys() | self._channels.keys())

    def begin_epoch(self, guild_id: int) -> None:
        """Doubt everything stored of the guild."""
        self._epochs[guild_id] += 1
        self._channels.pop(guild_id, None)

    def doubt(self, guild_id: int, channel_id: int) -> None:
        """Doubt everything stored of one channel."""
        self._channels[guild_id].pop(channel_id, None)

    def hear(self, guild_id: int, channel_id: int, message_id: int) -> None:
        """Note a message that the gateway has just sent."""
        channel = self._channels[guild_id][channel_id]
        if channel.live_from is None:
            channel.live_from = message_id

    def add(self, guild_id: int, epoch: int, messages: Iterable[StoredMessage]) -> None:
        """Note messages that were read from Discord, if the epoch in which the reading began still lasts."""
        if epoch != self._epochs[guild_id]:
            return
        by_channel: dict[int, list[int]] = defaultdict(list)
        for message in messages:
            by_channel[message.channel_id].append(message.id)
        for channel_id, ids in by_channel.items():
            self._channels[guild_id][channel_id].add(ids)

    def holds(self, message: StoredMessage) -> bool:
        """Whether the message is known to be true."""
        channels = self._channels.get(message.guild_id)
        return channels is not None and message.channel_id in channels and message.id in channels[message.channel_id]
