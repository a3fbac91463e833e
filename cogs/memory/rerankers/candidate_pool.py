"""The candidates of one question with everything known about them, as columns for ranking."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.query_terms import split_words
from cogs.memory.rerankers.late_interaction import keyword_vectors, term_maxima, windowed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from cogs.memory.embedders import EncodedQuery
    from cogs.memory.query_terms import AuthorNames, Question
    from cogs.memory.records import Neighbours, StoredMessage, StoredRow

LEXICAL_WEIGHT = 0.15
"""Share of the keyword score in the base score; the rest is windowed late interaction. Measured: more does not help."""


@dataclass(frozen=True)
class CandidatePool:
    """What the retrieval legs found for one question, plus the messages around it.

    ``rows`` holds candidates and context; only ``candidates`` are ranked. Columns over all rows are in the order of
    ``rows``; a missing neighbour is the extra row at the end, where every column is 0.
    """

    question: Question
    encoded: EncodedQuery
    names: AuthorNames
    candidates: Sequence[int]
    rows: Mapping[int, StoredRow]
    neighbours: Mapping[int, Neighbours]
    keyword_scores: Mapping[int, float]
    vector_scores: Mapping[int, float]

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
        """(rows, terms) best match of each question term within each message alone."""
        terms = keyword_vectors(self.question, self.encoded)
        if not len(terms):
            terms = np.zeros((1, self.encoded.token_vectors.shape[1]), dtype=np.float32)
        return term_maxima(terms, [row.sketch for row in self.rows.values()])

    @cached_property
    def window_maxima(self) -> NDArray[np.float32]:
        """(candidates, terms) the same over each candidate's window."""
        return windowed(self.own_maxima, self.candidates, self.neighbours, self.row_of)

    @cached_property
    def own(self) -> NDArray[np.float32]:
        """(rows + 1,) late interaction of each message alone."""
        return np.append(self.own_maxima.mean(axis=1), np.float32(0))

    @cached_property
    def late_interaction(self) -> NDArray[np.float32]:
        """(candidates,) windowed late interaction."""
        mean: NDArray[np.float32] = self.window_maxima.mean(axis=1)
        return mean

    @cached_property
    def lexical(self) -> NDArray[np.float32]:
        """(rows + 1,) keyword score over the best keyword score, 0–1."""
        best = max(self.keyword_scores.values(), default=0.0) or 1.0
        values = [self.keyword_scores.get(i, 0.0) / best for i in self.rows]
        return np.array([*values, 0.0], dtype=np.float32)

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """(rows + 1, dim) sentence vectors; zeros for a message that still waits for its vector."""
        vectors = np.zeros((len(self.rows) + 1, len(self.encoded.vector)), dtype=np.float32)
        for row, stored in enumerate(self.rows.values()):
            if stored.vector is not None:
                vectors[row] = stored.vector
        return vectors

    @cached_property
    def dense(self) -> NDArray[np.float32]:
        """(rows + 1,) cosine of the sentence vectors."""
        product: NDArray[np.float32] = self.vectors @ self.encoded.vector
        return product

    @cached_property
    def base(self) -> NDArray[np.float32]:
        """(candidates,) late interaction and keywords, 0–1: the score before anything fitted."""
        return (1 - LEXICAL_WEIGHT) * min_max(self.late_interaction) + LEXICAL_WEIGHT * self.lexical[
            self.candidate_rows
        ]

    @cached_property
    def named(self) -> list[int]:
        """Authors whom the question names, first-named first: those who speak here, if any of them does."""
        speakers = {message.author_id for message in self.messages}
        return self.names.named_in(self.question, among=speakers) or self.names.named_in(self.question)

    def around(self, relation: str) -> NDArray[np.intp]:
        """(candidates,) rows of one kind of neighbour; the row past the end where there is none."""
        nobody = len(self.rows)
        ids = (getattr(self.neighbours[i], relation) if i in self.neighbours else None for i in self.candidates)
        rows = (nobody if other is None else self.row_of.get(other, nobody) for other in ids)
        return np.fromiter(rows, dtype=np.intp, count=len(self.candidates))

    def words(self, message_id: int) -> list[str]:
        """The words of a message, split once."""
        cache: dict[int, list[str]] = self.__dict__.setdefault("_words", {})
        if message_id not in cache:
            cache[message_id] = split_words(self.rows[message_id].message.text)
        return cache[message_id]

    def restricted(self, candidates: Sequence[int]) -> CandidatePool:
        """The same pool with fewer candidates; what was computed per row is kept."""
        pool = CandidatePool(
            self.question,
            self.encoded,
            self.names,
            candidates,
            self.rows,
            self.neighbours,
            self.keyword_scores,
            self.vector_scores,
        )
        for name in ("row_of", "messages", "own_maxima", "own", "lexical", "dense", "vectors", "named", "_words"):
            if name in self.__dict__:
                pool.__dict__[name] = self.__dict__[name]
        return pool


def min_max(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale to 0–1 over the candidates; all 0 when they do not differ."""
    if not len(values):
        return values
    low, high = values.min(), values.max()
    scaled: NDArray[np.float32] = (values - low) / (high - low + 1e-9)
    return scaled
