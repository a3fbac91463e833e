"""From a question and a scope to a pool of candidates: both legs of the search, and what stands around their hits."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogs.memory.exceptions import PASSING
from cogs.memory.query_terms import AuthorNames, parse_question
from cogs.memory.recall_records import Stage
from cogs.memory.rerankers.candidate_pool import CandidatePool, Shortlist
from cogs.memory.rerankers.structure import TOP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from cogs.memory.embedders import EncodedQuery
    from cogs.memory.embedding_service import EmbeddingService
    from cogs.memory.exceptions import StoreError
    from cogs.memory.query_terms import Question
    from cogs.memory.records import Hit, Neighbours, Scope, Space, StoredRow
    from cogs.memory.stores import MemoryStore
    from profiles import MemoryProfile

    Encoding = asyncio.Task[tuple[EncodedQuery, Space]]
    """A question on its way through the embedder: its vectors, and their space."""

log = logging.getLogger(__name__)

VECTOR, KEYWORD = "Found by words alone: {}", "Found by meaning alone: {}"
"""The legs, each as the sentence that tells that it failed."""


@dataclass(frozen=True, slots=True)
class Breadth:
    """How far one question is looked into."""

    widened: int
    """Best hits of each leg whose neighbours become candidates too."""
    shortlist: int
    """Candidates that are loaded whole and ranked by structure."""
    hits: int | None = None
    """Hits of each leg at most; None for as many as the profile says."""

    def of_leg(self, most: int) -> int:
        """How many hits of a leg are taken where the profile allows ``most``."""
        return most if self.hits is None else min(most, self.hits)


WIDE = Breadth(widened=32, shortlist=TOP)
NARROW = Breadth(widened=8, shortlist=16, hits=30)
"""For a crowd that asks at once: measured, a question takes a third less, and R@10 is one to four points lower."""


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

    @asynccontextmanager
    async def encoding(self, query: str) -> AsyncIterator[Encoding]:
        """Have a question encoded while something else is done; at the end of the block nobody waits for it any more.

        So the questions of a crowd, all of which wait for their turn, go through the embedder together.
        """
        task = asyncio.ensure_future(self._embedding.encode_query(query))
        try:
            yield task
        finally:
            if task.done() and not task.cancelled():
                task.exception()  # perhaps nobody came to ask for it
            task.cancel()

    async def pool(
        self, query: str, encoding: Encoding, scope: Scope, clock: StageClock, breadth: Breadth = WIDE
    ) -> CandidatePool:
        """Find candidates and load them with their surroundings; one leg that fails is told in the pool's problems.

        Args:
            query: the question.
            encoding: its vectors, as `encoding` makes them.
            scope: where to look.
            clock: told of the stage.
            breadth: how far to look.

        Raises:
            StoreError: no leg found anything because the store failed.
            ModelError: the question cannot be embedded.
        """
        question = parse_question(query)
        found = _Found(self._store, scope, breadth)
        # the database and the embedder work at the same time
        (encoded, dense), keyword = await asyncio.gather(
            self._vector_leg(query, encoding, scope, found), self._keyword_leg(scope, question, found)
        )
        clock.lap("vector and keyword", len({hit.message_id for leg in (dense, keyword) for hit in leg}))
        return CandidatePool(
            question=question,
            encoded=encoded,
            candidates=list(found.neighbours),
            sketches=found.sketches,
            neighbours=found.neighbours,
            keyword_scores={hit.message_id: hit.score for hit in keyword if hit.message_id in found.sketches},
            vector_scores={hit.message_id: hit.score for hit in dense if hit.message_id in found.sketches},
            problems=found.problems(),
        )

    async def load(self, scope: Scope, pool: CandidatePool, best: Sequence[int]) -> Shortlist:
        """Load the best candidates of a pool and the messages around them."""
        context = dict.fromkeys(i for b in best if b in pool.neighbours for i in pool.neighbours[b].ids())
        rows = await self._store.load(scope, list(dict.fromkeys([*best, *context])))
        return Shortlist(pool, [i for i in best if i in rows], rows, _names_of(rows))

    async def _vector_leg(
        self, query: str, encoding: Encoding, scope: Scope, found: _Found
    ) -> tuple[EncodedQuery, Sequence[Hit]]:
        encoded, space = await encoding
        if self.profile.retriever == "keyword":
            return encoded, ()
        if space != self._embedding.space:  # the embedder was swapped meanwhile
            encoded, _ = await self._embedding.encode_query(query)
        if encoded.problem is not None:
            return encoded, ()
        hits: Sequence[Hit] = ()
        with found.leg(VECTOR):
            most = found.breadth.of_leg(self.profile.vector_candidates)
            hits = await self._store.dense(scope, encoded.vector, most)
            await found.add(hits)
        return encoded, hits

    async def _keyword_leg(self, scope: Scope, question: Question, found: _Found) -> Sequence[Hit]:
        if self.profile.retriever == "vector":
            return ()
        hits: Sequence[Hit] = ()
        with found.leg(KEYWORD):
            most = found.breadth.of_leg(self.profile.keyword_candidates)
            hits = await self._store.lexical(scope, question.keywords, most)
            await found.add(hits)
        return hits


def _names_of(rows: Mapping[int, StoredRow]) -> AuthorNames:
    """The names of those who speak in the rows: people whom the asker cannot read are nobody here."""
    newest_first = (rows[i].message for i in sorted(rows, reverse=True))
    names: dict[int, dict[str, None]] = {}
    for author, *known in dict.fromkeys((m.author_id, m.author_name, m.author_handle) for m in newest_first):
        names.setdefault(author, {}).update(dict.fromkeys(filter(None, known)))
    return AuthorNames({author: tuple(known) for author, known in names.items()})


class _Found:
    """The candidates of one question, leg by leg, with what stands around them and the sketches of all."""

    def __init__(self, store: MemoryStore, scope: Scope, breadth: Breadth) -> None:
        self._store = store
        self._scope = scope
        self.breadth = breadth
        self.neighbours: dict[int, Neighbours] = {}
        self.sketches: dict[int, bytes] = {}
        self._asked: set[str] = set()
        self._failures: dict[str, StoreError] = {}

    @contextmanager
    def leg(self, sentence: str) -> Iterator[None]:
        """What one of the legs does: when the store fails it, the other goes on."""
        self._asked.add(sentence)
        try:
            yield
        except PASSING as error:
            log.warning("a search in guild %d. %s", self._scope.guild_id, sentence.format(error))
            self._failures[sentence] = error

    def problems(self) -> tuple[str, ...]:
        """What failed, as sentences. Raises StoreError when that is all that was tried."""
        if self._failures and self._failures.keys() == self._asked:
            raise next(iter(self._failures.values()))
        return tuple(sentence.format(error) for sentence, error in self._failures.items())

    async def add(self, hits: Sequence[Hit]) -> None:
        """Take in a leg's hits, best first, and what stands around them."""
        if hits:
            around = await self._store.surroundings(self._scope, [hit.message_id for hit in hits], self.breadth.widened)
            self.neighbours |= around.neighbours
            self.sketches |= around.sketches


def surroundings(neighbours: Neighbours) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids to show before and after a result, in order of time."""
    before = tuple(i for i in (neighbours.before_previous, neighbours.previous) if i is not None)
    after = tuple(i for i in (neighbours.next,) if i is not None)
    return before, after
