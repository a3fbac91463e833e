"""From a question to its answer: retrieve, rank, and say what was done."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from cachetools import TTLCache

from cogs.memory.candidate_retrieval import NARROW, WIDE, StageClock, surroundings
from cogs.memory.cleaning import clean_text
from cogs.memory.exceptions import PASSING, InvalidQuery
from cogs.memory.kept_counts import KeptCounts
from cogs.memory.query_cache import QueryCache
from cogs.memory.query_terms import split_words
from cogs.memory.recall_records import Recall, RecalledMessage, RecallTrace
from cogs.memory.records import Neighbours
from cogs.memory.relevance import certainty, relevance_of
from cogs.memory.same_words import originals
from cogs.memory.stores.routed import number_of, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from cogs.memory.candidate_retrieval import Breadth, CandidateRetrieval
    from cogs.memory.embedding_service import EmbeddingService
    from cogs.memory.recall_records import RankedCandidate, Ranking
    from cogs.memory.records import Scope, StoredMessage
    from cogs.memory.reranker_service import Order, RerankerService
    from cogs.memory.rerankers.candidate_pool import Shortlist
    from cogs.memory.stores import MemoryStore
    from profiles import MemoryProfile

Surface = Literal["recall", "injection"]

COVERAGE_TTL_S = 30.0
"""How old "the memory reaches back to" may be: counting a big guild takes longer than a question."""
CROWD = 8
"""Questions at once up to which each is looked into as far as a lone one."""
AT_ONCE = 12
"""Questions of one store for which candidates are looked up at once: fifty that share evenly are all answered last."""
CROWDED = "Many ask at once: fewer messages were looked at than usual."
MAX_QUERY = 2000
"""Characters of a question."""


class RecallPipeline:
    """The stages of a recall, one after the other, and the answers given lately.

    Args:
        profile: how many results, and how long each surface may wait; exchanged when the service is reloaded.
        store: where messages live.
        embedding: turns the question into vectors; its space is part of an answer's key.
        retrieval: finds candidates.
        reranker: puts them in order.
        ingest_problem: what keeps a guild's new messages from being stored, if anything does.
    """

    def __init__(
        self,
        profile: MemoryProfile,
        *,
        store: MemoryStore,
        embedding: EmbeddingService,
        retrieval: CandidateRetrieval,
        reranker: RerankerService,
        ingest_problem: Callable[[int], str | None],
    ) -> None:
        self.profile = profile
        self._store = store
        self._embedding = embedding
        self._retrieval = retrieval
        self._reranker = reranker
        self._ingest_problem = ingest_problem
        self.cache = QueryCache(profile.query_cache_size, profile.query_cache_ttl_s)
        self._counts = KeptCounts(store.stats, COVERAGE_TTL_S)
        self._oldest: TTLCache[tuple[int, frozenset[int]], datetime | None] = TTLCache(10_000, COVERAGE_TTL_S)
        self._exchanges = 0
        self._under_way = 0
        self._turns = [asyncio.Semaphore(AT_ONCE) for _ in parts_of(store)]
        self.recall_ms: deque[float] = deque(maxlen=1000)
        """Milliseconds of the last recalls."""

    async def recall(
        self,
        query: str,
        scope: Scope,
        *,
        limit: int | None,
        order: Order | None,
        collapse: bool,
        surface: Surface,
        instruction: str | None,
        exclude: frozenset[int],
    ) -> Recall:
        """Answer a question; see `MemoryService.recall`. Raises InvalidQuery or MemoryCogError."""
        query = check_query(query)
        limit = limit or self.profile.recall_limit
        clock = StageClock()
        models = (self._embedding.space.key, self._reranker.name, self._exchanges)
        key = (query, scope, limit, order, collapse, instruction, exclude, models)
        generation = self.cache.generation(scope.guild_id)
        cached = self.cache.get(scope.guild_id, key)
        if cached is None:
            with self._in_the_crowd() as breadth:
                async with self._retrieval.encoding(query) as encoding, self._turn(scope.guild_id):
                    pool = (await self._retrieval.pool(query, encoding, scope, clock, breadth)).without(exclude)
                    ids = await self._reranker.shortlist(pool, order, breadth.shortlist)
                    clock.lap("late_interaction", len(pool.candidates))
                    best = await self._retrieval.load(scope, pool, ids)
                    clock.lap("load", len(best.rows))
                ranking = await self._reranker.rank(
                    best,
                    order=order,
                    deadline_ms=self._time_left(surface, clock),
                    instruction=instruction,
                    guild_id=scope.guild_id,
                )
                results = _results(best, ranking, limit, collapse=collapse)
                trace = await self._trace(scope, clock, best, ranking)
            if breadth is NARROW:
                trace = replace(trace, degraded=(*trace.degraded, CROWDED))
            cached = Recall(query, results, trace)
            # One that is degraded may do better the next time, a message that excludes itself asks once.
            if not trace.degraded and not exclude:
                self.cache.put(scope.guild_id, generation, key, cached)
        else:
            cached = Recall(query, cached.results, _as_cached(cached.trace, clock))
        self.recall_ms.append(clock.total_ms)
        return cached

    def _turn(self, guild_id: int) -> asyncio.Semaphore:
        """Who waits for a store that is away takes no turn from the guilds of another."""
        return self._turns[number_of(guild_id, len(self._turns))]

    @contextmanager
    def _in_the_crowd(self) -> Iterator[Breadth]:
        """One question more until the end of the block; how far it is looked into depends on how many there are."""
        self._under_way += 1
        try:
            yield WIDE if self._under_way <= CROWD else NARROW
        finally:
            self._under_way -= 1

    def forget_caches(self, guild_id: int) -> None:
        """Drop every kept answer; an answer being computed of the guild's old state is not kept."""
        self.cache.invalidate([guild_id])
        self._counts.forget(guild_id)
        self._oldest.clear()
        self.cache.clear()

    def use(self, profile: MemoryProfile) -> None:
        """Go on with another profile or with models read anew; no answer that came of the former ones is kept."""
        self.profile = profile
        self._exchanges += 1  # part of the key: an answer being computed of the former ones is put under the old one
        self.cache.clear()

    def _time_left(self, surface: Surface, clock: StageClock) -> float | None:
        deadlines = {"recall": self.profile.rerank_deadline_ms, "injection": self.profile.injection_deadline_ms}
        deadline = deadlines[surface]
        return None if deadline is None else max(0.0, deadline - clock.total_ms)

    async def _trace(self, scope: Scope, clock: StageClock, best: Shortlist, ranking: Ranking) -> RecallTrace:
        pool = best.pool
        degraded = [*pool.problems, *ranking.degraded]
        if pool.encoded.problem is not None:
            degraded.append(pool.encoded.problem)
        index_ready, reaches_back_to = 1.0, None
        try:
            index_ready = (await self._counts.get(scope.guild_id)).index_ready
            reaches_back_to = await self._reaches_back_to(scope)
        except PASSING as error:
            degraded.append(f"How far the memory reaches could not be seen: {error}")
        if index_ready < 1:  # no share: it would tell how much is said where the asker cannot look
            degraded.append("The vector index is being rebuilt; older messages are found by words alone.")
        if problem := self._ingest_problem(scope.guild_id):
            degraded.append(f"New messages are waiting: {problem}")
        return RecallTrace(
            stages=(*clock.stages, *ranking.stages),
            candidates=len(pool.candidates),
            reranked=ranking.reranked,
            rerank_of=ranking.rerank_of,
            reranker=ranking.reranker,
            total_ms=clock.total_ms,
            degraded=tuple(degraded),
            reaches_back_to=reaches_back_to,
            index_ready=index_ready,
            unembedded=sum(best.rows[i].vector is None for i in best.candidates),
        )

    async def _reaches_back_to(self, scope: Scope) -> datetime | None:
        """When the oldest message in the scope's channels was written; at most `COVERAGE_TTL_S` old."""
        key = scope.guild_id, scope.channel_ids
        known = self._oldest.get(key)
        if known is None:
            known = self._oldest[key] = await self._store.oldest(scope)
        return known


def check_query(query: str) -> str:
    """Return the question, cleaned.

    Raises:
        InvalidQuery: nothing in it can be looked for, or it is too long.
    """
    if len(query) > MAX_QUERY:
        raise InvalidQuery(f"That is {len(query):,} characters; ask in at most {MAX_QUERY:,}.")
    query = clean_text(query)
    if not split_words(query):
        raise InvalidQuery("There is nothing to look for in that: write at least one word.")
    return query


def _results(best: Shortlist, ranking: Ranking, limit: int, *, collapse: bool) -> tuple[RecalledMessage, ...]:
    """The first ``limit`` candidates with their surroundings; what says the same is shown once."""
    ranked, certain = ranking.candidates, certainty(ranking)
    copies = Counter(originals([best.words(each.message_id) for each in ranked]) if collapse else range(len(ranked)))
    return tuple(
        _result(best, ranked[position], rank, certain, copies[position] - 1)
        for rank, position in enumerate(sorted(copies)[:limit], start=1)
    )


def _result(best: Shortlist, candidate: RankedCandidate, rank: int, certain: float, duplicates: int) -> RecalledMessage:
    message_id = candidate.message_id
    pool = best.pool
    around = pool.neighbours.get(message_id, Neighbours())
    before, after = surroundings(around)
    return RecalledMessage(
        message=best.rows[message_id].message,
        rank=rank,
        score=candidate.score,
        relevance=relevance_of(candidate, pool.vector_scores.get(message_id), certain),
        vector_score=pool.vector_scores.get(message_id),
        keyword_score=pool.keyword_scores.get(message_id),
        late_interaction_score=candidate.late_interaction_score,
        rerank_score=candidate.rerank_score,
        rerank_log_odds=candidate.rerank_log_odds,
        before=_messages(best, before),
        after=_messages(best, after),
        replies=_messages(best, (around.reply_to, around.answer)),
        duplicates=duplicates,
    )


def _messages(best: Shortlist, ids: Sequence[int | None]) -> tuple[StoredMessage, ...]:
    return tuple(best.rows[i].message for i in ids if i is not None and i in best.rows)


def _as_cached(trace: RecallTrace, clock: StageClock) -> RecallTrace:
    return replace(trace, cached=True, total_ms=clock.total_ms)
