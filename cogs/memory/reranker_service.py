"""`RerankerService`: puts candidates in order.

Windowed late interaction and the structure ranker always run, unless the profile turns reranking off: they need nothing
but the vectors that are stored anyway. A model of the profile's choice scores the best of them on top.
A stage that fails yields no score: the order of the stage before it stands, and the answer says so.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from cogs.memory.embedders.loading import load_encoder
from cogs.memory.exceptions import ModelError
from cogs.memory.rank_fusion import reciprocal_rank_fusion
from cogs.memory.recall_records import RankedCandidate, Ranking, Stage
from cogs.memory.rerankers.late_interaction import late_interaction_scores
from cogs.memory.rerankers.structure import StructureWeights, rank_pool
from cogs.memory.worker import ModelWorker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from cogs.memory.embedders import Encoder
    from cogs.memory.rerankers.candidate_pool import CandidatePool
    from profiles import MemoryProfile

log = logging.getLogger(__name__)

Order = Literal["structure", "late_interaction", "rrf", "vector", "keyword"]
"""The orders that need no model: the full built-in ranking, its first stage alone, and three without any reranking."""
ORDERS: tuple[str, ...] = get_args(Order)


class RerankerService:
    """Ranks pools of candidates, and plain lists of dicts.

    Args:
        profile: decides device, dtype, budgets, deadlines and which reranker there is.
        reranker_model: a model in place of the profile's: a Hugging Face name or a local folder.
        worker: the thread that models work on; None for one of its own.
    """

    def __init__(
        self, profile: MemoryProfile, reranker_model: str | None = None, *, worker: ModelWorker | None = None
    ) -> None:
        self._profile = profile
        self._model = reranker_model or profile.reranker_model
        self._worker = worker or ModelWorker("reranker-worker")
        self._owns_worker = worker is None
        self._encoder: Encoder | None = None
        self._weights: StructureWeights | None = None
        self._calls = 0
        self._top1_changed = 0

    async def rank(self, pool: CandidatePool, *, order: Order | None = None) -> Ranking:
        """Rank a pool, best first.

        Args:
            pool: the candidates of one question.
            order: one of `ORDERS` in place of what the profile says; without it the full built-in ranking, or
                reciprocal rank fusion when the profile's reranker is "none".
        """
        chosen = order or self._profile_order()
        start = time.perf_counter()
        degraded: tuple[str, ...] = ()
        try:
            ranked = await self._worker.run(self._rank_pool, pool, chosen)
        except ModelError as error:
            log.exception("Ranking failed")
            ranked, degraded = _by_rank(_fused(pool)), (f"Not reranked: {error}",)
            chosen = "rrf"
        self._observe(pool, ranked)
        stage = Stage(chosen, (time.perf_counter() - start) * 1000, len(ranked))
        return Ranking(ranked, (stage,), chosen, degraded=degraded)

    async def rerank_results(
        self,
        query: str,
        candidates: Sequence[Mapping[str, Any]],
        score_field: str = "content",
        top_k: int | None = None,
        instruction: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return copies of ``candidates`` sorted by their added ``rerank_score`` (0–1), best first.

        Args:
            query: the question.
            candidates: records of any shape, in retrieval order; ties keep it.
            score_field: the key of the text to be scored; a record without it counts as empty.
            top_k: how many to return; None for all.
            instruction: what "relevant" means, for models that read one.

        Raises:
            ValueError: ``top_k`` is negative.
            ModelError: the model cannot be loaded or gave no usable score.
        """
        if top_k is not None and top_k < 0:
            raise ValueError(f"top_k must be 0 or more, not {top_k}")
        if not candidates:
            return []
        texts = [str(record.get(score_field) or "") for record in candidates]
        scores = await self._worker.run(self._score_texts, query, texts)
        order = sorted(range(len(texts)), key=lambda row: -float(scores[row]))
        return [{**candidates[row], "rerank_score": float(scores[row])} for row in order[:top_k]]

    def get_statistics(self) -> dict[str, float | int | str | None]:
        """Proof of life: how often ranking ran, and how often it changed what stands first."""
        return {
            "reranker": self._profile_order(),
            "calls": self._calls,
            "top1_changed_share": self._top1_changed / self._calls if self._calls else 0.0,
        }

    @property
    def name(self) -> str:
        """The last stage that decides the order, as answers and evaluations name it."""
        return self._profile_order()

    async def close(self) -> None:
        """Free the models; may be called twice."""
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None
        if self._owns_worker:
            self._worker.shutdown(wait=False)

    def _profile_order(self) -> Order:
        return "rrf" if self._profile.reranker == "none" else "structure"

    def _rank_pool(self, pool: CandidatePool, order: Order) -> list[RankedCandidate]:
        if order in ("vector", "keyword"):
            scores = pool.vector_scores if order == "vector" else pool.keyword_scores
            return _by_rank(sorted(scores.items(), key=lambda item: (-item[1], -item[0])))
        if order == "rrf":
            return _by_rank(_fused(pool))
        if order == "structure" and self._weights is None:
            self._weights = StructureWeights.load()
        ranked = rank_pool(pool, self._weights if order == "structure" else None)
        own = dict(zip(pool.candidates, pool.late_interaction.tolist(), strict=True))
        return [RankedCandidate(i, score, late_interaction_score=own[i]) for i, score in ranked]

    def _score_texts(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Late interaction of texts that stand alone, in [0, 1]."""
        if self._encoder is None:
            self._encoder = load_encoder(self._profile)
        encoded = self._encoder.encode(list(texts))
        scores = late_interaction_scores(query, self._encoder.encode_query(query), [e.sketch for e in encoded])
        return np.clip(scores, 0.0, 1.0)

    def _observe(self, pool: CandidatePool, ranked: Sequence[RankedCandidate]) -> None:
        if ranked:
            self._calls += 1
            before = _fused(pool)
            self._top1_changed += bool(before) and before[0][0] != ranked[0].message_id


def _fused(pool: CandidatePool) -> list[tuple[int, float]]:
    fused = reciprocal_rank_fusion(pool.keyword_scores, pool.vector_scores)
    return [item for item in fused if item[0] in pool.rows]


def _by_rank(scored: Sequence[tuple[int, float]]) -> list[RankedCandidate]:
    return [RankedCandidate(message_id, score) for message_id, score in scored]
