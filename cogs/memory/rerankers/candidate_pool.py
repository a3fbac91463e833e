"""The candidates of one question with what is known about them, as columns for ranking.

A `CandidatePool` holds what late interaction needs of several hundred candidates: their sketches. Only the best of them
are loaded whole, with their surroundings: a `Shortlist`, for everything that looks at messages themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.query_terms import split_words
from cogs.memory.rerankers.late_interaction import keyword_vectors, surrounding_rows, term_maxima, windowed
from cogs.memory.rerankers.word_kinds import count_kinds

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from cogs.memory.embedders import EncodedQuery
    from cogs.memory.query_terms import AuthorNames, Question
    from cogs.memory.records import Neighbours, StoredMessage, StoredRow

LEXICAL_WEIGHT = 0.15
"""Share of the keyword score in the base score; the rest is windowed late interaction. Measured: more does not help."""


@dataclass(frozen=True)
class CandidatePool:
    """What the retrieval legs found for one question, and the sketches of that and of what stands around it.

    ``sketches`` are the rows: candidates and context. Only ``candidates`` are ranked.
    """

    question: Question
    encoded: EncodedQuery
    candidates: Sequence[int]
    sketches: Mapping[int, bytes]
    neighbours: Mapping[int, Neighbours]
    keyword_scores: Mapping[int, float]
    vector_scores: Mapping[int, float]
    problems: tuple[str, ...] = ()
    """Sentences that say what was not looked at because the store failed."""

    @cached_property
    def row_of(self) -> dict[int, int]:
        """Message id → row."""
        return {message_id: row for row, message_id in enumerate(self.sketches)}

    @cached_property
    def own_maxima(self) -> NDArray[np.float32]:
        """(rows, terms) best match of each question term within each message alone.

        A message that still waits for its sketch counts by its keyword score, as a share of the best match of all: what
        was said a moment ago must not stand behind what is merely embedded.
        """
        terms = keyword_vectors(self.question, self.encoded)
        if not len(terms):
            terms = np.zeros((1, self.encoded.token_vectors.shape[1]), dtype=np.float32)
        maxima = term_maxima(terms, list(self.sketches.values()))
        highest = maxima.max(axis=0, initial=0.0) if maxima.any() else np.ones(len(terms), dtype=np.float32)
        for message_id, score in self.keyword_scores.items():
            if not self.sketches[message_id]:
                maxima[self.row_of[message_id]] = score / self.best_keyword_score * highest
        return maxima

    @cached_property
    def window_maxima(self) -> NDArray[np.float32]:
        """(candidates, terms) the same over each candidate's window."""
        return windowed(self.own_maxima, self.candidates, self.neighbours, self.row_of)

    @cached_property
    def late_interaction(self) -> NDArray[np.float32]:
        """(candidates,) windowed late interaction."""
        mean: NDArray[np.float32] = self.window_maxima.mean(axis=1)
        return mean

    @cached_property
    def best_keyword_score(self) -> float:
        """The best keyword score of all; 1 where there is none, as it divides."""
        return max(self.keyword_scores.values(), default=0.0) or 1.0

    @cached_property
    def base(self) -> NDArray[np.float32]:
        """(candidates,) late interaction and keywords, 0–1: the score before anything fitted."""
        keywords = np.array([self.keyword_scores.get(i, 0.0) for i in self.candidates], dtype=np.float32)
        return (1 - LEXICAL_WEIGHT) * min_max(
            self.late_interaction
        ) + LEXICAL_WEIGHT * keywords / self.best_keyword_score

    def without(self, message_ids: Collection[int]) -> CandidatePool:
        """Return the pool as if these messages had never been said: neither found nor standing beside another."""
        if not message_ids:
            return self
        return replace(
            self,
            candidates=[i for i in self.candidates if i not in message_ids],
            sketches={i: sketch for i, sketch in self.sketches.items() if i not in message_ids},
            neighbours={i: around.without(message_ids) for i, around in self.neighbours.items()},
            keyword_scores={i: score for i, score in self.keyword_scores.items() if i not in message_ids},
            vector_scores={i: score for i, score in self.vector_scores.items() if i not in message_ids},
        )

    def best(self, count: int) -> list[int]:
        """The ids of the ``count`` best candidates by base score; ties by older message."""
        order = np.lexsort((np.array(self.candidates, dtype=np.int64), -self.base))
        return [self.candidates[row] for row in order[:count]]


@dataclass(frozen=True)
class Shortlist:
    """The best candidates of a pool, loaded with their surroundings.

    Columns over all rows are in the order of ``rows`` with one more row at the end, where every column is 0: it stands
    for a neighbour that is missing.
    """

    pool: CandidatePool
    candidates: Sequence[int]
    """In the order of the stage before; each in ``rows``."""
    rows: Mapping[int, StoredRow]
    """The candidates and what stands around them."""
    names: AuthorNames
    """Of those who speak in ``rows``."""
    _words: dict[int, list[str]] = field(default_factory=dict, repr=False)

    @property
    def question(self) -> Question:
        """The question."""
        return self.pool.question

    @cached_property
    def row_of(self) -> dict[int, int]:
        """Message id → row."""
        return {message_id: row for row, message_id in enumerate(self.rows)}

    @cached_property
    def candidate_rows(self) -> NDArray[np.intp]:
        """(candidates,) their rows."""
        return np.fromiter((self.row_of[i] for i in self.candidates), dtype=np.intp, count=len(self.candidates))

    @cached_property
    def messages(self) -> list[StoredMessage]:
        """All messages, by row."""
        return [row.message for row in self.rows.values()]

    @cached_property
    def own_maxima(self) -> NDArray[np.float32]:
        """(rows + 1, terms) best match of each question term within each message alone."""
        source = self.pool.own_maxima
        maxima = np.zeros((len(self.rows) + 1, source.shape[1]), dtype=np.float32)
        known = [(row, self.pool.row_of[i]) for i, row in self.row_of.items() if i in self.pool.row_of]
        if known:
            here, there = zip(*known, strict=True)
            maxima[list(here)] = source[list(there)]
        return maxima

    @cached_property
    def own(self) -> NDArray[np.float32]:
        """(rows + 1,) late interaction of each message alone."""
        mean: NDArray[np.float32] = self.own_maxima.mean(axis=1)
        return mean

    @cached_property
    def _pool_rows(self) -> list[int]:
        """(candidates,) their places among the pool's candidates."""
        place = {message_id: row for row, message_id in enumerate(self.pool.candidates)}
        return [place[i] for i in self.candidates]

    @cached_property
    def window_maxima(self) -> NDArray[np.float32]:
        """(candidates, terms) best match of each question term within each candidate's window."""
        return self.pool.window_maxima[self._pool_rows]

    @cached_property
    def late_interaction(self) -> NDArray[np.float32]:
        """(candidates,) windowed late interaction."""
        return self.pool.late_interaction[self._pool_rows]

    @cached_property
    def base(self) -> NDArray[np.float32]:
        """(candidates,) the score before anything fitted, 0–1 over the pool."""
        return self.pool.base[self._pool_rows]

    @cached_property
    def lexical(self) -> NDArray[np.float32]:
        """(rows + 1,) keyword score over the best keyword score, 0–1."""
        values = [self.pool.keyword_scores.get(i, 0.0) / self.pool.best_keyword_score for i in self.rows]
        return np.array([*values, 0.0], dtype=np.float32)

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """(rows + 1, dim) sentence vectors; zeros for a message that still waits for its vector."""
        zero = np.zeros(len(self.pool.encoded.vector), dtype=np.float16)
        found = [zero if row.vector is None else row.vector for row in self.rows.values()]
        return np.stack([*found, zero]).astype(np.float32)

    @cached_property
    def dense(self) -> NDArray[np.float32]:
        """(rows + 1,) cosine of the sentence vectors."""
        product: NDArray[np.float32] = self.vectors @ self.pool.encoded.vector
        return product

    @cached_property
    def named(self) -> list[int]:
        """Authors whom the question names and who speak here, first-named first."""
        return self.names.named_in(self.question)

    def around(self, relation: str) -> NDArray[np.intp]:
        """(candidates,) rows of one kind of neighbour; the row past the end where there is none."""
        return self._around[relation]

    @cached_property
    def _around(self) -> dict[str, NDArray[np.intp]]:
        return surrounding_rows(self.candidates, self.pool.neighbours, self.row_of, missing=len(self.rows))

    def words(self, message_id: int) -> list[str]:
        """The words of a message, split once."""
        if message_id not in self._words:
            self._words[message_id] = split_words(self.rows[message_id].message.text)
        return self._words[message_id]

    @cached_property
    def word_kinds(self) -> dict[str, NDArray[np.float32]]:
        """(candidates,) how many words of each kind each candidate has, by kind."""
        return count_kinds([self.words(i) for i in self.candidates])


def min_max(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale to 0–1 over the candidates; all 0 when they do not differ."""
    if not len(values):
        return values
    low, high = values.min(), values.max()
    scaled: NDArray[np.float32] = (values - low) / (high - low + 1e-9)
    return scaled
