"""The built-in reranker for texts that stand alone: late interaction of the embedder's own token vectors."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

from cogs.memory.embedders.loading import load_encoder
from cogs.memory.rerankers.late_interaction import late_interaction_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.embedders import Encoder
    from cogs.memory.rerankers import Pair
    from cogs.memory.worker import ModelWorker
    from profiles import MemoryProfile

_LEAST = 1e-6


class BuiltInReranker:
    """Scores pairs without a reranker model; loads the profile's embedder at first use, on the worker thread."""

    def __init__(self, profile: MemoryProfile, worker: ModelWorker) -> None:
        self._profile = profile
        self._worker = worker
        self._encoder: Encoder | None = None

    async def score(self, pairs: Sequence[Pair]) -> list[float]:
        """Return log-odds whose sigmoid is the late interaction score, 0–1.

        Raises:
            ModelUnavailable: the embedder cannot be loaded.
        """
        return await self._worker.run(self._score, pairs)

    async def close(self) -> None:
        """Free the embedder; may be called twice."""
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None

    def _score(self, pairs: Sequence[Pair]) -> list[float]:
        if self._encoder is None:
            self._encoder = load_encoder(self._profile)
        scores: list[float] = []
        for query, group in groupby(pairs, key=lambda pair: pair.query):
            texts = [pair.document for pair in group]
            sketches = [text.sketch for text in self._encoder.encode(texts)]
            scores += late_interaction_scores(query, self._encoder.encode_query(query), sketches).tolist()
        return [_log_odds(score) for score in scores]


def _log_odds(probability: float) -> float:
    probability = min(1 - _LEAST, max(_LEAST, probability))
    return math.log(probability / (1 - probability))
