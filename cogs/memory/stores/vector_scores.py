"""Scoring candidates by the vectors that a store keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.records import Hit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def unit_query(vector: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    """A query vector (dim,) with length 1.

    Raises:
        ValueError: it has another shape, is zero or not finite.
    """
    query = np.asarray(vector, dtype=np.float32)
    if query.shape != (dim,):
        raise ValueError(f"the query vector must have shape ({dim},), not {query.shape}")
    norm = float(np.linalg.norm(query))
    if not np.isfinite(norm) or norm == 0.0:
        raise ValueError("the query vector is zero or not finite")
    return query / np.float32(norm)


def nearest(ids: Sequence[int], vectors: NDArray[np.float16], query: NDArray[np.float32], limit: int) -> list[Hit]:
    """The ``limit`` best of ``ids`` by the inner product of their vectors (ids, dim) with ``query`` (dim,)."""
    scores = vectors.astype(np.float32) @ query
    numbers = np.array(ids, dtype=np.int64)
    best = np.lexsort((-numbers, -scores))[:limit]  # of equals the newest first, whichever way they were found
    return [Hit(int(numbers[position]), float(scores[position])) for position in best]
