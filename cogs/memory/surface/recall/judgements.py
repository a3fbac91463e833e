"""👍 and 👎 on results: a server's own labelled questions, and what they say about the ranking."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from cogs.memory.evaluation import Outcome, Query, metrics_of
from cogs.memory.exceptions import Busy, InvalidQuery, StoreError
from cogs.memory.records import MAX_ID, Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.memory_service import MemoryService
    from cogs.memory.reranker_service import Order
    from cogs.memory.stores import MemoryStore

log = logging.getLogger(__name__)

JUDGEMENTS_KEY: Final = "judgements"
MAX_JUDGEMENTS: Final = 2000
"""Judgements kept of one guild: they are rewritten with each new one."""
MAX_QUESTIONS: Final = 200
"""Questions asked in one evaluation, the newest: recalls wait while it runs."""
METRICS: Final = ("hit@1", "MRR@10", "nDCG@10", "R@10")
DEPTH: Final = 50


class DamagedJudgements(StoreError):
    """What is stored as a guild's judgements cannot be understood."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Somebody's verdict on one result of one question.

    Raises:
        ValueError: an id is not in 1..2**63-1, the question is blank or the verdict is not a bool.
    """

    query: str
    message_id: int
    channel_id: int
    """Where the message stands: nobody is evaluated on what they may not see."""
    user_id: int
    good: bool

    def __post_init__(self) -> None:
        for name in ("message_id", "channel_id", "user_id"):
            value = getattr(self, name)
            if type(value) is not int or not 0 < value <= MAX_ID:
                raise ValueError(f"{name} must be between 1 and 2**63 - 1")
        if not isinstance(self.query, str) or not self.query.strip() or type(self.good) is not bool:
            raise ValueError("a judgement needs a question and a verdict")

    @property
    def subject(self) -> tuple[str, int, int]:
        """What it is about and whose it is: a later verdict on the same replaces an earlier one."""
        return self.query.casefold(), self.message_id, self.user_id


@dataclass(frozen=True, slots=True)
class JudgedQuestion:
    """A question with the messages that more people found good than bad."""

    query: str
    good: frozenset[int]
    bad: frozenset[int]


class Judgements:
    """The judged sets of all guilds, kept in the store's settings. One instance per store.

    Args:
        store: where they are kept.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._writing = asyncio.Lock()

    async def of(self, guild_id: int) -> list[Judgement]:
        """Return a guild's judgements, oldest first. Raises StoreError if what is stored cannot be understood."""
        text = await self._store.get_setting(guild_id, JUDGEMENTS_KEY)
        return [] if text is None else _decode(text)

    async def add(self, guild_id: int, judgement: Judgement) -> int:
        """Store a verdict in place of an earlier one of the same person on the same result; return how many there are.

        Raises:
            Busy: the guild has as many as are kept.
            StoreError: the store failed.
        """
        async with self._writing:
            kept = [each for each in await self.of(guild_id) if each.subject != judgement.subject]
            if len(kept) >= MAX_JUDGEMENTS:
                raise Busy(f"This server has {MAX_JUDGEMENTS:,} judgements, which is as many as are kept.")
            await self._write(guild_id, [*kept, judgement])
        return len(kept) + 1

    async def forget(self, guild_id: int, *, user_id: int | None = None, channel_id: int | None = None) -> int:
        """Remove the judgements made by a user, made about messages of a channel or (neither given) all of a guild.

        Those of others about the user's messages go too: what they name is about to be erased. If what is stored
        cannot be understood, nobody can tell whose it is, and all of it goes.
        """
        async with self._writing:
            try:
                every = await self.of(guild_id)
            except DamagedJudgements:
                log.warning("The judgements of guild %d are damaged; removed for an erasure", guild_id)
                await self._write(guild_id, [])
                return 1
            if user_id is None and channel_id is None:
                kept: list[Judgement] = []
            else:
                about = await self._written_by(guild_id, user_id, every) if user_id is not None else frozenset()
                kept = [
                    each
                    for each in every
                    if each.user_id != user_id and each.channel_id != channel_id and each.message_id not in about
                ]
            if len(kept) < len(every):
                await self._write(guild_id, kept)
        return len(every) - len(kept)

    async def _written_by(self, guild_id: int, user_id: int, judgements: Sequence[Judgement]) -> frozenset[int]:
        scope = Scope(guild_id, frozenset(each.channel_id for each in judgements), frozenset([user_id]))
        return frozenset(await self._store.filter(scope, [each.message_id for each in judgements]))

    async def _write(self, guild_id: int, judgements: Sequence[Judgement]) -> None:
        text = json.dumps([asdict(each) for each in judgements], ensure_ascii=False) if judgements else None
        await self._store.put_setting(guild_id, JUDGEMENTS_KEY, text)


def judged_questions(judgements: Sequence[Judgement]) -> list[JudgedQuestion]:
    """Return the questions in order of their last judgement, with the messages on which a majority agrees."""
    votes: dict[str, defaultdict[int, int]] = {}
    wording: dict[str, str] = {}
    for each in judgements:
        key = each.query.casefold()
        votes[key] = votes.pop(key, defaultdict(int))  # moves it to the end
        votes[key][each.message_id] += 1 if each.good else -1
        wording[key] = each.query
    return [
        JudgedQuestion(
            wording[key],
            frozenset(message_id for message_id, balance in of.items() if balance > 0),
            frozenset(message_id for message_id, balance in of.items() if balance < 0),
        )
        for key, of in votes.items()
    ]


@dataclass(frozen=True, slots=True)
class JudgedEvaluation:
    """How well one order finds what a server's members found good."""

    questions: int
    metrics: dict[str, float]
    """Macro means, 0–1, by the names in `METRICS`."""
    bad_first: float
    """Share of questions whose first result was found bad."""


async def evaluate_judged(
    memory: MemoryService,
    scope: Scope,
    questions: Sequence[JudgedQuestion],
    *,
    order: Order | None = None,
    instruction: str | None = None,
) -> JudgedEvaluation:
    """Ask the judged questions and measure the answers.

    Args:
        memory: the running memory.
        scope: what the person who evaluates may read.
        questions: those with at least one good message.
        order: the order to measure; None for the one that recalls use.
        instruction: what the reranker is told on this server.

    Raises:
        InvalidQuery: there is no question.
        MemoryCogError: a recall failed.
    """
    if not questions:
        raise InvalidQuery("No question has a result with more 👍 than 👎 yet.")
    outcomes: list[Outcome] = []
    bad_first = 0
    for question in questions:
        recall = await memory.recall(
            question.query, scope, limit=DEPTH, order=order, collapse=False, instruction=instruction
        )
        found = tuple(result.message.id for result in recall.results)
        outcomes.append(Outcome(Query(question.query, question.good, "judged"), found, recall.trace.total_ms))
        bad_first += bool(found) and found[0] in question.bad
    return JudgedEvaluation(len(outcomes), metrics_of(outcomes, METRICS), bad_first / len(outcomes))


def _decode(text: str) -> list[Judgement]:
    try:
        return [_judgement(each) for each in json.loads(text)]
    except (TypeError, ValueError) as error:
        raise DamagedJudgements(
            "The judgements of this server are damaged and cannot be understood; any erasure here removes them."
        ) from error


def _judgement(data: Any) -> Judgement:
    return Judgement(**data)
