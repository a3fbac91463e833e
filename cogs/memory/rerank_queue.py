"""Calls that wait for the reranker, and whose turn it is.

Guilds take turns document by document, so one that asks a lot slows itself down and not the others; within a guild
the older call goes first.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cogs.memory.score_cache import digests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cogs.memory.rerankers import Pair
    from cogs.memory.score_cache import ScoreCache
    from cogs.memory.serving_model import ServingModel

MAX_CALLS = 32
"""Calls with a deadline that may wait: behind more of them the deadline would pass anyway."""

MAX_CALLS_PER_GUILD = 24
"""Leaves room for other guilds when one asks too much."""

MAX_PATIENT_CALLS = 256
"""Calls without a deadline would rather wait than be refused; this bounds the memory they take."""

NO_TIME = "no time"
"""The reason of a call that ends because of its deadline; the caller words it."""

_OFFERED = 512
"""Documents looked at for one chunk."""


@dataclass(eq=False, slots=True)
class WaitingPair:
    """One distinct pair of a call, and where its score goes."""

    pair: Pair
    digest: bytes
    places: list[int]
    tokens: int = 0
    """0 until it is counted."""


class RerankCall:
    """The state of one call: scores so far, and the pairs that wait, best first.

    Args:
        model: scores the whole call, whatever is loaded meanwhile.
        pairs: in retrieval order.
        cache: gives what it knows.
        guild_id: takes its turn with the others.
        deadline: on the clock of the queue's owner; None for none.
    """

    def __init__(
        self, model: ServingModel, pairs: Sequence[Pair], cache: ScoreCache, *, guild_id: int, deadline: float | None
    ) -> None:
        self.model = model
        self.guild_id = guild_id
        self.deadline = deadline
        self.log_odds = np.full(len(pairs), np.nan, dtype=np.float32)
        self.scored = 0
        self.waiting: deque[WaitingPair] = deque()
        self.reasons: list[str] = []
        self.chunks = 0
        self.failed_chunks = 0
        self.failed_pairs = 0
        self.alone = False
        """Whether it must not share a chunk: it was in one that failed."""
        self.must_move = False
        """Whether its model ran out of memory for good."""
        self.step = max(1, model.budget // 4)
        """Tokens it may have in the next chunk: little at first, so that something is there soon."""
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._take_known(pairs, cache)
        self.from_cache = self.scored

    def _take_known(self, pairs: Sequence[Pair], cache: ScoreCache) -> None:
        places: dict[bytes, list[int]] = {}
        for place, digest in enumerate(digests(self.model.key, pairs)):
            places.setdefault(digest, []).append(place)
        for digest, where in places.items():
            known = cache.get(digest)
            if known is None:
                self.waiting.append(WaitingPair(pairs[where[0]], digest, where))
            else:
                self._put(where, known)

    @property
    def total(self) -> int:
        """Pairs of the call, equal ones counted as often as they stand there."""
        return len(self.log_odds)

    @property
    def is_over(self) -> bool:
        """Whether nothing may be changed any more: the caller has its answer, or left."""
        return self.finished.done()

    def remaining_ms(self, now: float) -> float:
        """Milliseconds until the deadline, infinite without one; negative after it."""
        return float("inf") if self.deadline is None else (self.deadline - now) * 1000

    def accept(self, waiting: WaitingPair, log_odds: float) -> None:
        """Take the score of a waiting pair."""
        self.waiting.remove(waiting)
        self._put(waiting.places, log_odds)

    def give_up(self, waiting: WaitingPair) -> None:
        """Leave a waiting pair unscored."""
        self.waiting.remove(waiting)
        self.failed_pairs += len(waiting.places)

    def finish(self, reason: str | None = None) -> None:
        """End the call, with what stands in the way of more scores."""
        if reason is not None:
            self.reasons.append(reason)
        if not self.finished.done():
            self.finished.set_result(None)

    def _put(self, places: list[int], log_odds: float) -> None:
        self.log_odds[places] = log_odds
        self.scored += len(places)


class Offer(NamedTuple):
    """A pair that might go into the next chunk."""

    call: RerankCall
    waiting: WaitingPair


class RerankQueue:
    """The waiting calls. For the event loop's thread only."""

    def __init__(self) -> None:
        self._guilds: OrderedDict[int, list[RerankCall]] = OrderedDict()  # whose turn it is first

    def __len__(self) -> int:
        return sum(len(calls) for calls in self._guilds.values())

    def __iter__(self) -> Iterator[RerankCall]:
        return iter([call for calls in self._guilds.values() for call in calls])

    def has_room_for(self, call: RerankCall) -> bool:
        """Whether a call may wait; if not, it is better told so at once."""
        if call.deadline is None:
            return len(self) < MAX_PATIENT_CALLS
        return len(self) < MAX_CALLS and len(self._guilds.get(call.guild_id, ())) < MAX_CALLS_PER_GUILD

    def add(self, call: RerankCall) -> None:
        """Let a call wait."""
        self._guilds.setdefault(call.guild_id, []).append(call)

    def remove(self, call: RerankCall) -> None:
        """Forget a call, if it is here."""
        calls = self._guilds.get(call.guild_id, [])
        if call in calls:
            calls.remove(call)
            if not calls:
                del self._guilds[call.guild_id]

    def take_turn(self) -> list[Offer]:
        """Return what the next chunk may hold, in order of right, and pass the turn on to the next guild.

        The first offer belongs to the guild whose turn it is; the others are of calls that use the same model.
        """
        if not self._guilds:
            return []
        guild, calls = next(iter(self._guilds.items()))
        self._guilds.move_to_end(guild)
        first = calls[0]
        if first.alone:
            return list(itertools.islice(_pairs_of([first]), _OFFERED))
        by_guild = [calls, *(others for other, others in self._guilds.items() if other != guild)]
        groups = [[c for c in group if c.model is first.model and not c.alone] for group in by_guild]
        dealt = itertools.zip_longest(*(_pairs_of(group) for group in groups))
        offers = (offer for turn in dealt for offer in turn if offer is not None)
        return list(itertools.islice(offers, _OFFERED))


def _pairs_of(calls: Sequence[RerankCall]) -> Iterator[Offer]:
    return (Offer(call, waiting) for call in calls for waiting in call.waiting)
