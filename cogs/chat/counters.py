"""What replies cost: how many, how long they took, how many tokens went in and out."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from cogs.memory.surface.operation.samples import percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEPT = 1000
"""Latencies kept of each guild and of all."""


@dataclass(frozen=True, slots=True)
class ReplyCost:
    """One reply."""

    provider: str
    milliseconds: float
    tokens_read: int
    """Tokens of the conversation and its quotes, by a safe estimate."""
    tokens_written: int
    used_memory: bool = False
    fell_back: bool = False
    """Whether the chosen provider failed."""


@dataclass(slots=True)
class Tally:
    """Sums over replies."""

    replies: int = 0
    with_memory: int = 0
    fallbacks: int = 0
    withdrawn: int = 0
    tokens_read: int = 0
    tokens_written: int = 0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, cost: ReplyCost) -> None:
        """Count a reply."""
        self.replies += 1
        self.with_memory += cost.used_memory
        self.fallbacks += cost.fell_back
        self.tokens_read += cost.tokens_read
        self.tokens_written += cost.tokens_written
        self.latencies_ms.append(cost.milliseconds)

    def percentile(self, percent: float) -> float | None:
        """Return the nearest-rank percentile of the latest latencies in milliseconds; None of none."""
        return percentile(sorted(self.latencies_ms), percent)


class ReplyCounters:
    """Counts replies since the start, for the bot's owner and for each guild's budget.

    Args:
        today: the day that a budget holds for.
    """

    def __init__(self, today: Callable[[], date] = lambda: datetime.now(UTC).date()) -> None:
        self.total = Tally()
        self._today = today
        self._guilds: dict[int, Tally] = {}
        self._day = today()
        self._begun: Counter[int] = Counter()

    def begin(self, guild_id: int) -> None:
        """Note that the chosen provider is asked for a reply: it costs, whatever comes of it."""
        self._turn_page()
        self._begun[guild_id] += 1

    def begun_today(self, guild_id: int) -> int:
        """Return how many replies the chosen provider was asked for today (UTC), since the start."""
        self._turn_page()
        return self._begun[guild_id]

    def add(self, guild_id: int, cost: ReplyCost) -> None:
        """Count a reply."""
        self.total.add(cost)
        self.of(guild_id).add(cost)

    def withdraw(self, guild_id: int) -> None:
        """Count a reply that was taken back."""
        self.total.withdrawn += 1
        self.of(guild_id).withdrawn += 1

    def of(self, guild_id: int) -> Tally:
        """Return the sums of a guild."""
        return self._guilds.setdefault(guild_id, Tally())

    def figures(self) -> Mapping[str, float | int | str | None]:
        """Return the sums of all guilds by name; empty before the first reply."""
        total = self.total
        if not total.replies:
            return {}
        return {
            "chat_replies": total.replies,
            "chat_replies_with_memory": total.with_memory,
            "chat_fallbacks": total.fallbacks,
            "chat_withdrawn": total.withdrawn,
            "chat_p50_ms": total.percentile(50),
            "chat_p95_ms": total.percentile(95),
            "chat_tokens_read": total.tokens_read,
            "chat_tokens_written": total.tokens_written,
        }

    def _turn_page(self) -> None:
        if (today := self._today()) != self._day:
            self._day = today
            self._begun.clear()
