"""From a question and a scope to a pool of candidates: both legs of the search, and what stands around their hits."""

from __future__ import annotations

import asyncio
import time
from itertools import chain
from typing import TYPE_CHECKING

from cogs.memory.query_terms import AuthorNames, parse_question
from cogs.memory.rank_fusion import united
from cogs.memory.recall_records import Stage
from cogs.memory.rerankers.candidate_pool import CandidatePool, Shortlist

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.embedding_service import EmbeddingService
    from cogs.memory.query_terms import Question
    from cogs.memory.records import Hit, Neighbours, Scope
    from cogs.memory.stores import MemoryStore
    from profiles import MemoryProfile

WIDENED = 32
"""Best hits of each leg whose neighbours become candidates too."""
NAMES_TTL_S = 60.0
"""How long the names of a guild's authors are kept before they are read again."""


class StageClock:
    """Collects the stages of one recall."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self.stages: list[Stage] = []

    def lap(self, name: str, count: int) -> None:
        """Close a stage that began where the last one ended."""
        now = time.perf_counter()
        self.stages.append(Stage(name, (now - self._last) * 1000, count))
        self._last = now

    @property
    def total_ms(self) -> float:
        """Milliseconds since the beginning."""
        return (time.perf_counter() - self._start) * 1000


class CandidateRetrieval:
    """The retrieval legs over one store."""

    def __init__(self, profile: MemoryProfile, store: MemoryStore, embedding: EmbeddingService) -> None:
        self.profile = profile
        self._store = store
        self._embedding = embedding
        self._names: dict[int, tuple[float, AuthorNames]] = {}

    async def pool(self, query: str, scope: Scope, clock: StageClock) -> CandidatePool:
        """Find candidates and load them with their surroundings. Raises StoreError or ModelError."""
        question = parse_question(query)
        # the database and the embedder work at the same time
        (encoded, space), keyword = await asyncio.gather(
            self._embedding.encode_query(query), self._lexical(scope, question)
        )
        clock.lap("embed and keyword", len(keyword))
        dense: Sequence[Hit] = ()
        if self.profile.retriever != "keyword":
            if space != self._embedding.space:  # the embedder was swapped meanwhile
                encoded, _ = await self._embedding.encode_query(query)
            dense = await self._store.dense(scope, encoded.vector, self.profile.vector_candidates)
            clock.lap("vector", len(dense))
        candidates, around = await self._with_neighbours(scope, keyword, dense)
        around |= await self._store.neighbours(scope, [i for i in candidates if i not in around])
        context = {i for i in chain.from_iterable(around.values()) if i is not None}
        sketches = await self._store.sketches(scope, [*candidates, *sorted(context.difference(candidates))])
        clock.lap("sketches", len(sketches))
        return CandidatePool(
            question=question,
            encoded=encoded,
            candidates=[i for i in candidates if i in sketches],
            sketches=sketches,
            neighbours=around,
            keyword_scores={hit.message_id: hit.score for hit in keyword if hit.message_id in sketches},
            vector_scores={hit.message_id: hit.score for hit in dense if hit.message_id in sketches},
        )

    async def load(self, scope: Scope, pool: CandidatePool, best: Sequence[int]) -> Shortlist:
        """Load the best candidates of a pool and the messages around them."""
        context = dict.fromkeys(i for b in best if b in pool.neighbours for i in pool.neighbours[b].ids())
        rows = await self._store.load(scope, list(dict.fromkeys([*best, *context])))
        names = await self._author_names(scope.guild_id)
        return Shortlist(pool, [i for i in best if i in rows], rows, names)

    async def _lexical(self, scope: Scope, question: Question) -> Sequence[Hit]:
        if self.profile.retriever == "vector":
            return ()
        return await self._store.lexical(scope, question.keywords, self.profile.keyword_candidates)

    async def _with_neighbours(
        self, scope: Scope, keyword: Sequence[Hit], dense: Sequence[Hit]
    ) -> tuple[list[int], dict[int, Neighbours]]:
        """Unite the legs and add the messages around the best: the answer often stands beside the words asked for.

        Returns the candidates, and what stands around the best.
        """
        hits = united(keyword, dense)
        around = await self._store.neighbours(scope, united(keyword[:WIDENED], dense[:WIDENED]))
        beside = [i for n in around.values() for i in (n.previous, n.next, n.answer) if i is not None]
        candidates = list(dict.fromkeys([*hits, *beside]))
        if scope.is_filtered:
            allowed = await self._store.filter(scope, candidates)
            candidates = [i for i in candidates if i in allowed]
        return candidates, around

    async def _author_names(self, guild_id: int) -> AuthorNames:
        known = self._names.get(guild_id)
        if known is None or time.monotonic() - known[0] > NAMES_TTL_S:
            known = (time.monotonic(), AuthorNames(await self._store.authors(guild_id)))
            self._names[guild_id] = known
        return known[1]

    def forget_names(self, guild_id: int) -> None:
        """Read the names of a guild's authors again at the next question."""
        self._names.pop(guild_id, None)


def surroundings(neighbours: Neighbours) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids to show before and after a result, in order of time."""
    before = tuple(i for i in (neighbours.before_previous, neighbours.previous) if i is not None)
    after = tuple(i for i in (neighbours.next,) if i is not None)
    return before, after
