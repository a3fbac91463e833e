"""`MemoryService`: remember, forget, recall. The only module that knows the order of things."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Self

from cachetools import TTLCache

from cogs.memory.candidate_retrieval import CandidateRetrieval, StageClock, surroundings
from cogs.memory.cleaning import clean_text
from cogs.memory.context_builder import build_context, estimate_tokens
from cogs.memory.embedding_service import EmbeddingService
from cogs.memory.exceptions import InvalidQuery, MemoryCogError
from cogs.memory.ingest_queue import Delete, IngestQueue, Upsert
from cogs.memory.model_cache import ModelCache
from cogs.memory.model_loading import ModelSources
from cogs.memory.query_cache import QueryCache
from cogs.memory.query_terms import split_words
from cogs.memory.recall_records import Recall, RecalledMessage, RecallTrace
from cogs.memory.reranker_service import RerankerService
from cogs.memory.stores.sqlite import SqliteStore
from cogs.memory.worker import ModelWorker
from profiles import load_profile
from profiles.memory_profile import EMBEDDED_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from cogs.memory.context_builder import MemoryContext
    from cogs.memory.embedding_service import LoadEncoder
    from cogs.memory.recall_records import RankedCandidate, Ranking
    from cogs.memory.records import ChannelInfo, Scope, StoredMessage, StoreStats
    from cogs.memory.reranker_service import Order
    from cogs.memory.rerankers.candidate_pool import CandidatePool, Shortlist
    from cogs.memory.serving_model import LoadReranker
    from cogs.memory.stores import MemoryStore
    from profiles import MemoryProfile

log = logging.getLogger(__name__)

Surface = Literal["recall", "injection"]

CONTEXT_CANDIDATES = 50
"""Results that the context of a reply is chosen from."""
COVERAGE_TTL_S = 30.0
"""How old "the memory reaches back to" may be: counting a big guild takes longer than a question."""
MAX_QUERY = 2000
"""Characters of a question."""
RELEVANT = 0.25
"""Relevance below which an answer counts as "nothing relevant".

It stands for a late interaction of 0.345. Measured on the sample server and on the written chats: fewer than 5 % of the
questions whose answer was found fall below, and so do over half and over a quarter of questions from elsewhere.
"""


class MemoryService:
    """The memory of one process.

    Args:
        profile: how to use this machine.
        store: where messages live.
        worker: the thread that models and the index work on.
        sources: where models come from.
        load: makes the embedder; None for the profile's, from the sources.
        load_reranker: makes the reranker model, if the profile has one; None as above.
    """

    def __init__(
        self,
        profile: MemoryProfile,
        store: MemoryStore,
        worker: ModelWorker,
        sources: ModelSources,
        *,
        load: LoadEncoder | None = None,
        load_reranker: LoadReranker | None = None,
    ) -> None:
        self.profile = profile
        self.store = store
        self._worker = worker
        self._sources = sources
        self._upgrade: asyncio.Task[None] | None = None
        ready = sources.has(profile.embedder) or load is not None
        first = profile if ready else replace(profile, embedder=EMBEDDED_MODEL, embedding_dim=None)
        self._wants_embedder = None if ready else profile
        self.embedding = EmbeddingService(first, worker, load=load or sources.load_encoder)
        self.models = ModelCache(profile.model_cache_size, profile.model_cache_ttl_s)
        self.reranker = RerankerService(
            profile, worker=worker, models=self.models, load=load_reranker or sources.load_reranker
        )
        self.retrieval = CandidateRetrieval(profile, store, self.embedding)
        self._cache = QueryCache(profile.query_cache_size, profile.query_cache_ttl_s)
        self.queue = IngestQueue(
            store, self.embedding, size=profile.ingest_queue_size, on_change=self._cache.invalidate
        )
        self._coverages: TTLCache[int, tuple[float, datetime | None]] = TTLCache(10_000, COVERAGE_TTL_S)
        self.recall_ms: deque[float] = deque(maxlen=1000)
        """Milliseconds of the last recalls."""

    @classmethod
    def on_folder(
        cls,
        profile: MemoryProfile,
        folder: Path,
        *,
        sources: ModelSources | None = None,
        load: LoadEncoder | None = None,
        load_reranker: LoadReranker | None = None,
    ) -> Self:
        """Make a memory in a data folder, with the embedded store; models are kept beside it unless said otherwise."""
        worker = ModelWorker()
        return cls(
            profile,
            SqliteStore(folder, executor=worker),
            worker,
            sources or ModelSources(folder / "models"),
            load=load,
            load_reranker=load_reranker,
        )

    async def start(self) -> None:
        """Open the store, load the embedder and take up what waits; bigger models follow in the background.

        Raises:
            StoreError: the store cannot be opened.
            ModelUnavailable: the embedded model cannot be loaded.
        """
        await self.store.open()
        try:
            await self.store.use_space(await self.embedding.start())
        except BaseException:  # an open database keeps the process from ending
            await self.close()
            raise
        self.queue.start()
        await self.reranker.start()
        if self._wants_embedder is not None:
            self._upgrade = asyncio.create_task(self._upgrade_embedder(self._wants_embedder))

    async def _upgrade_embedder(self, profile: MemoryProfile) -> None:
        """Fetch and load the embedder that the profile wants; the embedded one stays if that fails."""
        try:
            space = await self.embedding.reload(profile, self.store.use_space)
        except MemoryCogError as error:
            log.warning("The embedded embedder stays: %s", error)
        else:
            log.info("The embedder is %s now; messages are embedded again in the background", space.model)
            self.queue.take_up_work()

    async def close(self) -> None:
        """Apply what is queued (at most 5 s), then let go of everything; may be called twice."""
        if self._upgrade is not None:
            self._upgrade.cancel()
        await self.queue.stop()
        await self.store.close()
        await self.embedding.close()
        await self.reranker.close()
        self.models.close()
        self._worker.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def remember(self, messages: Sequence[StoredMessage]) -> None:
        """Queue messages that were written, edited or found in a history. Waits while the queue is full."""
        if messages:
            await self.queue.put(Upsert(tuple(messages)))

    async def name_channels(self, channels: Iterable[ChannelInfo]) -> None:
        """Store what channels are called."""
        await self.store.put_channels(channels)

    async def forget(self, guild_id: int, message_ids: Iterable[int]) -> None:
        """Queue the removal of messages that are gone, behind everything queued before."""
        await self.queue.put(Delete(guild_id, tuple(message_ids)))

    async def recall(
        self,
        query: str,
        scope: Scope,
        *,
        limit: int | None = None,
        order: Order | None = None,
        collapse: bool = True,
        surface: Surface = "recall",
        instruction: str | None = None,
    ) -> Recall:
        """Find what was said.

        Args:
            query: the question, in anybody's words.
            scope: what this asker may read; computed before the search, checked again by the caller before sending.
            limit: results wanted; None for the profile's number.
            order: a ranking in place of the profile's (see `reranker_service.ORDERS`).
            collapse: show messages of the same words once.
            surface: whose deadline holds: a person's /recall, or a reply that waits for its context.
            instruction: what "relevant" means, for rerankers that read one; None for the usual one.

        Raises:
            InvalidQuery: there is nothing to look for, or too much.
            MemoryCogError: the store or the embedder failed.
        """
        query = check_query(query)
        limit = limit or self.profile.recall_limit
        clock = StageClock()
        key = (query, scope, limit, order, collapse, instruction, self.embedding.space.key, self.reranker.name)
        generation = self._cache.generation(scope.guild_id)
        cached = self._cache.get(scope.guild_id, key)
        if cached is None:
            pool = await self.retrieval.pool(query, scope, clock)
            ids = await self.reranker.shortlist(pool, order)
            clock.lap("late_interaction", len(pool.candidates))
            best = await self.retrieval.load(scope, pool, ids)
            clock.lap("load", len(best.rows))
            ranking = await self.reranker.rank(
                best,
                order=order,
                deadline_ms=self._time_left(surface, clock),
                instruction=instruction,
                guild_id=scope.guild_id,
            )
            results = _results(best, ranking.candidates, limit, collapse=collapse)
            cached = Recall(query, results, await self._trace(scope, clock, pool, ranking))
            if not ranking.degraded:  # the next one may have more luck
                self._cache.put(scope.guild_id, generation, key, cached)
        else:
            cached = Recall(query, cached.results, _as_cached(cached.trace, clock))
        self.recall_ms.append(clock.total_ms)
        return cached

    async def build_context(
        self,
        query: str,
        scope: Scope,
        *,
        token_budget: int = 1000,
        per_author: int | None = None,
        count_tokens: Callable[[str], int] = estimate_tokens,
    ) -> MemoryContext:
        """Find what a reply to ``query`` should know, as fenced quotes with their sources.

        Args:
            query: what the reply answers.
            scope: what *everybody who will read the reply* may read.
            token_budget: tokens of the text, fence included.
            per_author: how many messages of one author at most; None for any number.
            count_tokens: the reply model's tokenizer.

        Raises:
            InvalidQuery: there is nothing to look for.
            MemoryCogError: the store or the embedder failed.
        """
        recall = await self.recall(query, scope, limit=CONTEXT_CANDIDATES, surface="injection")
        channels = {channel.id: channel.name for channel in await self.store.channels(scope.guild_id)}
        return build_context(
            recall.results,
            recall.trace,
            channels,
            token_budget=token_budget,
            least_relevance=RELEVANT,
            per_author=per_author,
            count_tokens=count_tokens,
        )

    def forget_caches(self, guild_id: int) -> None:
        """Drop every kept answer and the guild's names; an answer being computed of its old state is not kept."""
        self._cache.invalidate([guild_id])
        self._coverages.pop(guild_id, None)
        self._cache.clear()
        self.retrieval.forget_names(guild_id)

    async def reload(self, profile: MemoryProfile | str | None = None) -> str:
        """Load the models of another profile beside the old ones, test them and swap; return a sentence.

        Args:
            profile: one, or its name; None reads the models of the present one anew.

        Recalls under way end with the models they began with. When the embedder changes, all messages are embedded
        again in the background; until then they are found by their words.

        Raises:
            ModelError: a model cannot be loaded or fails its test; the old ones stay.
            ProfileError: there is no such profile.
        """
        if isinstance(profile, str):
            profile = load_profile(profile)
        profile = profile or self.profile
        sentence = await self.reranker.reload(profile)
        before = self.embedding.space
        space = await self.embedding.reload(profile, self.store.use_space)
        self.profile = self.retrieval.profile = profile
        self.queue.take_up_work()
        if space != before:
            sentence += f" The embedder is {space.model} now; messages are embedded again in the background."
        return sentence

    def get_statistics(self) -> dict[str, float | int]:
        """Figures of the query cache, by name."""
        return self._cache.get_statistics()

    async def stats(self, guild_id: int | None = None) -> StoreStats:
        """Sizes of the store, of one guild or of all."""
        return await self.store.stats(guild_id)

    def _time_left(self, surface: Surface, clock: StageClock) -> float | None:
        deadlines = {"recall": self.profile.rerank_deadline_ms, "injection": self.profile.injection_deadline_ms}
        deadline = deadlines[surface]
        return None if deadline is None else max(0.0, deadline - clock.total_ms)

    async def _trace(self, scope: Scope, clock: StageClock, pool: CandidatePool, ranking: Ranking) -> RecallTrace:
        index_ready, oldest = await self._coverage(scope.guild_id)
        degraded = list(ranking.degraded)
        if index_ready < 1:
            degraded.append(f"The vector index is {index_ready:.0%} rebuilt; older messages are found by words alone.")
        if self.queue.problem:
            degraded.append(f"New messages are waiting: {self.queue.problem}")
        return RecallTrace(
            stages=(*clock.stages, *ranking.stages),
            candidates=len(pool.candidates),
            reranked=ranking.reranked,
            rerank_of=ranking.rerank_of,
            reranker=ranking.reranker,
            total_ms=clock.total_ms,
            degraded=tuple(degraded),
            reaches_back_to=oldest,
            index_ready=index_ready,
        )

    async def _coverage(self, guild_id: int) -> tuple[float, datetime | None]:
        """Share of vectors in the index and the oldest message of a guild; at most `COVERAGE_TTL_S` old."""
        known = self._coverages.get(guild_id)
        if known is None or known[0] < 1:
            stats = await self.store.stats(guild_id)
            known = self._coverages[guild_id] = (stats.index_ready, stats.oldest)
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


def _results(
    best: Shortlist, ranked: Sequence[RankedCandidate], limit: int, *, collapse: bool
) -> tuple[RecalledMessage, ...]:
    """The first ``limit`` candidates with their surroundings; same words are shown once."""
    chosen: list[RankedCandidate] = []
    first_with: dict[str, int] = {}
    copies: dict[int, int] = {}
    for candidate in ranked:
        words = " ".join(best.words(candidate.message_id)) if collapse else ""
        original = first_with.get(words) if words.count(" ") >= 2 else None
        if original is not None:
            copies[original] = copies.get(original, 0) + 1
        elif len(chosen) < limit:
            chosen.append(candidate)
            first_with[words] = candidate.message_id
        else:
            break
    return tuple(
        _result(best, candidate, rank, copies.get(candidate.message_id, 0))
        for rank, candidate in enumerate(chosen, start=1)
    )


def _result(best: Shortlist, candidate: RankedCandidate, rank: int, duplicates: int) -> RecalledMessage:
    message_id = candidate.message_id
    pool = best.pool
    before, after = surroundings(pool.neighbours[message_id]) if message_id in pool.neighbours else ((), ())
    own = candidate.late_interaction_score
    return RecalledMessage(
        message=best.rows[message_id].message,
        rank=rank,
        score=candidate.score,
        relevance=_relevance(candidate, pool.vector_scores.get(message_id)),
        vector_score=pool.vector_scores.get(message_id),
        keyword_score=pool.keyword_scores.get(message_id),
        late_interaction_score=own,
        rerank_score=candidate.rerank_score,
        rerank_log_odds=candidate.rerank_log_odds,
        before=tuple(best.rows[i].message for i in before if i in best.rows),
        after=tuple(best.rows[i].message for i in after if i in best.rows),
        duplicates=duplicates,
    )


def _relevance(candidate: RankedCandidate, vector_score: float | None) -> float:
    """How well a message covers the question, 0–1: P(yes) of the model, else a logistic curve over what there is.

    The curve over late interaction runs from what unrelated questions reach (0.32 to 0.38 in the median) to what
    answered ones reach (0.46 to 0.52).
    """
    if candidate.rerank_score is not None:
        return candidate.rerank_score
    if candidate.late_interaction_score is not None:
        return 1 / (1 + math.exp(-(candidate.late_interaction_score - 0.40) / 0.05))
    return 0.5 if vector_score is None else 1 / (1 + math.exp(-(vector_score - 0.35) / 0.08))


def _as_cached(trace: RecallTrace, clock: StageClock) -> RecallTrace:
    return replace(trace, cached=True, total_ms=clock.total_ms)
