"""Equal things are scored once, chunk by chunk, and every place gets its score: what all families share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from numpy.typing import NDArray

    ScoredPlaces = tuple[list[int], NDArray[np.float32]]
    """The places that one chunk scored, and their log-odds."""

K = TypeVar("K", bound="Hashable")


class Distinct(Generic[K]):
    """The distinct ones among ``keys``, in order of their first place.

    Attributes:
        items: the distinct ones.
    """

    def __init__(self, keys: Sequence[K]) -> None:
        places: dict[K, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, []).append(place)
        self.items = list(places)
        self._places = list(places.values())

    def scored(self, chosen: Iterable[int], scores: NDArray[np.float32]) -> ScoredPlaces:
        """Return all places of the ``chosen`` items (numbers in `items`), and the score of each place."""
        groups = [self._places[number] for number in chosen]
        return [place for group in groups for place in group], np.repeat(scores, [len(group) for group in groups])


def collected(count: int, chunks: Iterable[ScoredPlaces]) -> NDArray[np.float32]:
    """Return the scores of all chunks by place, (count,); NaN where none came."""
    scores = np.full(count, np.nan, dtype=np.float32)
    for places, values in chunks:
        scores[places] = values
    return scores
