"""Models that turn texts into vectors: one file per family, behind one protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from cogs.memory.records import Space


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A document: its sentence vector and the sketch of its tokens, from one forward pass."""

    vector: NDArray[np.float32]
    """(dim,), L2-normalised."""
    sketch: bytes
    """(tokens, sketch_dim / 8) packed sign bits, most significant bit first; empty if the model gives none."""


@dataclass(frozen=True, slots=True)
class EncodedQuery:
    """A question: its sentence vector and its token vectors at full precision."""

    vector: NDArray[np.float32]
    """(dim,), L2-normalised."""
    token_vectors: NDArray[np.float32]
    """(tokens, sketch_dim), L2-normalised, without the model's own control tokens."""
    offsets: tuple[tuple[int, int], ...]
    """Where each token stands in the question: [start, end) in characters."""
    problem: str | None = None
    """Why there is no sentence vector (it is zero then): the search by meaning is left out."""


class Encoder(Protocol):
    """Synchronous and not thread-safe: `EmbeddingService` calls it on the one worker thread."""

    @property
    def space(self) -> Space:
        """The fingerprint of its vectors."""
        ...

    def encode(self, texts: Sequence[str]) -> list[EncodedText]:
        """Encode documents; one result per text, in order. Raises `ScoringFailed` for non-finite vectors."""
        ...

    def encode_query(self, text: str) -> EncodedQuery:
        """Encode a question."""
        ...

    def close(self) -> None:
        """Free the weights; may be called twice."""
        ...


@runtime_checkable
class BatchesQueries(Protocol):
    """An `Encoder` for which several questions at once are cheaper than one after the other."""

    def encode_queries(self, texts: Sequence[str]) -> list[EncodedQuery]:
        """Encode questions; one result per text, in order. Raises `ScoringFailed` if any vector is not finite."""
        ...
