"""One file per reranker family, behind one protocol.

A reranker is synchronous and knows no deadline, queue or cache: `RerankerService` does, and calls it on the
one worker thread. It either returns one finite score per document or raises `ScoringFailed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class Pair(NamedTuple):
    """One document to be judged against one query under one instruction."""

    query: str
    document: str
    instruction: str


class Reranker(Protocol):
    """What every model family offers to `RerankerService`."""

    @property
    def key(self) -> str:
        """Model, revision and dtype: scores of different keys must not be mixed (part of every cache key)."""
        ...

    def token_counts(self, pairs: Sequence[Pair]) -> list[int]:
        """How many tokens each document will cost, to cut chunks by; cheap."""
        ...

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """(len(pairs),) log-odds, higher is more relevant; sigmoid of one is P(yes). Raises `ScoringFailed`."""
        ...

    def close(self) -> None:
        """Free the weights; may be called twice."""
        ...
