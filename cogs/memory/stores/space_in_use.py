"""The vector space that a store's searches are made in, and what fits it; the same for every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cogs.memory.records import Embedding


@dataclass(frozen=True, slots=True)
class SpaceInUse:
    """A row of table ``spaces``."""

    id: int
    key: str
    dim: int
    sketch_dim: int

    def check(self, embeddings: Iterable[Embedding]) -> None:
        """See that all embeddings fit the space.

        Raises:
            ValueError: a vector has another shape or is not finite, or a sketch is cut off.
        """
        for embedding in embeddings:
            if embedding.vector.shape != (self.dim,):
                raise ValueError(f"vectors of {self.key} have shape ({self.dim},), not {embedding.vector.shape}")
            if not np.isfinite(embedding.vector).all():
                raise ValueError(f"the vector of message {embedding.message_id} is not finite")
            if len(embedding.sketch) % max(1, self.sketch_dim // 8):
                raise ValueError(f"the sketch of message {embedding.message_id} is cut off")
