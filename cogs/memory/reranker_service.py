"""`RerankerService`: puts candidates in order.

Windowed late interaction and the structure ranker always run, unless the profile turns reranking off: they need nothing
but the vectors that are stored anyway. A model of the profile's choice scores the best on top, within a deadline.
A stage that fails yields no score: the order of the stage before it stands, and the answer says so.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from cogs.memory.ab_test import ABTest
from cogs.memory.exceptions import ModelError, ModelUnavailable
from cogs.memory.model_cache import ModelCache
from cogs.memory.model_reranking import ModelReranking
from cogs.memory.rank_fusion import reciprocal_rank_fusion, scaled
from cogs.memory.recall_records import RankedCandidate, Ranking, Stage
from cogs.memory.record_reranking import RecordReranking, probability
from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.built_in import BuiltInReranker
from cogs.memory.rerankers.factory import load_reranker
from cogs.memory.rerankers.structure import TOP, StructureWeights
from cogs.memory.rerankers.structure_features import structure_features
from cogs.memory.worker import ModelWorker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.ab_test import Side
    from cogs.memory.model_reranking import ModelScores
    from cogs.memory.rerankers.candidate_pool import CandidatePool, Shortlist
    from cogs.memory.serving_model import LoadReranker
    from profiles import MemoryProfile

log = logging.getLogger(__name__)

Order = Literal["structure", "late_interaction", "rrf", "vector", "keyword"]
"""The orders that need no model: the full built-in ranking, its first stage alone, and three without any reranking."""
ORDERS: tuple[str, ...] = get_args(Order)

CHAT_INSTRUCTION = "Given a question about past messages of a chat, retrieve the messages that answer it"
"""What a model is told to judge in recall, unless a guild has its own instruction."""

MODEL_WEIGHT = 0.6
"""Share of a model's scaled log-odds in the fused order; the rest is the built-in ranking."""

MODEL_TYPES = frozenset({"qwen3", "cross_encoder", "remote", "custom"})


class RerankerService(RecordReranking):
    """Ranks pools of candidates, and plain records (see `RecordReranking`).

    Args:
        profile: decides device, dtype, budgets, deadlines and which reranker there is.
        reranker_model: a model in place of the profile's: a Hugging Face name or a local folder.
        worker: the thread that models work on; None for one of its own.
        models: where loaded models live; None for a cache of its own.
        load: makes the reranker model.
    """

    def __init__(
        self,
        profile: MemoryProfile,
        reranker_model: str | None = None,
        *,
        worker: ModelWorker | None = None,
        models: ModelCache | None = None,
        load: LoadReranker = load_reranker,
    ) -> None:
        self._profile = _with_model(profile, reranker_model)
        self._worker = worker or ModelWorker("reranker-worker")
        self._owns_worker = worker is None
        self._models = models or ModelCache(profile.model_cache_size, profile.model_cache_ttl_s)
        self._owns_models = models is None
        self._load = load
        self._built_in = BuiltInReranker(self._profile, self._worker)
        self._weights: StructureWeights | None = None
        self._reranking: ModelReranking | None = None
        if self._profile.reranker in MODEL_TYPES:
            self._reranking = ModelReranking(self._profile, self._worker, self._models, load=load)
        self._is_closed = False
        self.ab_test = ABTest(self._profile.reranked_share)
        self._calls = 0
        self._top1_changed = 0

    async def start(self) -> None:
        """Begin to load the profile's model, if it has one; recall answers meanwhile."""
        if self._reranking is not None:
            await self._reranking.start()

    async def ready(self) -> None:
        """Wait until the profile's model serves. Raises ModelError if it cannot be loaded."""
        if self._reranking is not None:
            await self._reranking.start()
            await self._reranking.ready()

    async def shortlist(self, pool: CandidatePool, order: Order | None = None, most: int = TOP) -> list[int]:
        """Return the ids that are worth loading, best first: by the first stage of the order that `rank` will use."""
        return await self._worker.run(_first_stage, pool, order or self._built_in_order, most)

    async def rank(
        self,
        best: Shortlist,
        *,
        order: Order | None = None,
        deadline_ms: float | None = None,
        instruction: str | None = None,
        guild_id: int = 0,
    ) -> Ranking:
        """Rank a shortlist, best first.

        Args:
            best: the candidates of one question, in the order of `shortlist`.
            order: one of `ORDERS` in place of what the profile says; without it the full built-in ranking with the
                model on top, or reciprocal rank fusion when the profile's reranker is "none".
            deadline_ms: how long the model may take; None for as long as it needs.
            instruction: what "relevant" means, for models that read one; None for `CHAT_INSTRUCTION`.
            guild_id: whose question it is; guilds take turns at the model.
        """
        built_in = await self._rank_built_in(best, order or self._built_in_order)
        if self._reranking is None or order is not None or not built_in.candidates:
            self._observe(best, built_in)
            return built_in
        read = list(built_in.candidates[: self._profile.rerank_candidates])
        pairs = [Pair(best.question.text, _document(best, c), instruction or CHAT_INSTRUCTION) for c in read]
        scores = await self._reranking.score(
            pairs, deadline_ms=None if deadline_ms is None else max(1, int(deadline_ms)), guild_id=guild_id
        )
        ranking = _fused_with_model(built_in, read, scores)
        after = [c.message_id for c in ranking.candidates[: len(read)]]
        self._reranking.note_ranking([c.message_id for c in read], after)
        self._observe(best, ranking)
        return ranking

    async def reload(self, profile: MemoryProfile | None = None) -> str:
        """Load the model of ``profile`` (None: the present one anew) beside the old one, test it, and swap.

        Raises:
            ModelError: it cannot be loaded or fails its test; the old one stays.
        """
        profile = profile or self._profile
        if profile.reranked_share != self.ab_test.share:
            self.ab_test = ABTest(profile.reranked_share)
        if profile.reranker not in MODEL_TYPES:
            old, self._reranking = self._reranking, None
            self._profile = profile
            if old is not None:
                await old.close()
            return f"The built-in ranking serves ({self.name}); it needs no model."
        if self._reranking is None:
            reranking = ModelReranking(profile, self._worker, self._models, load=self._load)
            await reranking.start()
            try:
                await reranking.ready()
            except ModelError:
                await reranking.close()
                raise
            self._reranking, self._profile = reranking, profile
            return f"{profile.reranker_model} serves now."
        sentence = await self._reranking.reload(profile)
        self._profile = profile
        return sentence

    def get_statistics(self) -> dict[str, float | int | str | None]:
        """Proof of life: how often ranking ran, how often it changed what stands first, and the model's own figures."""
        return {
            "reranker": self.name,
            "calls": self._calls,
            "top1_changed_share": self._top1_changed / self._calls if self._calls else 0.0,
            **self.ab_test.get_statistics(),
            **({f"model_{k}": v for k, v in self._reranking.get_statistics().items()} if self._reranking else {}),
        }

    def side_of(self, user_id: int | None) -> Side | None:
        """Return somebody's side in the A/B test; None if there is no test, or nothing that it could test."""
        return None if self._profile.reranker == "none" else self.ab_test.side(user_id)

    @property
    def order_without(self) -> Order:
        """The order of side A: that of the stages before the last one."""
        return "rrf" if self._reranking is None else "structure"

    @property
    def name(self) -> str:
        """The last stage that decides the order, as answers and evaluations name it."""
        return (self._profile.reranker_model or self._profile.reranker) if self.has_model else self._built_in_order

    @property
    def has_model(self) -> bool:
        """Whether a model serves on top of the built-in ranking."""
        return self._reranking is not None and self._reranking.state in ("ready", "degraded")

    async def close(self) -> None:
        """Free the models; may be called twice."""
        self._is_closed = True
        if self._reranking is not None:
            await self._reranking.close()
        await self._built_in.close()
        if self._owns_models:
            self._models.close()
        if self._owns_worker:
            self._worker.shutdown(wait=False)

    @property
    def _built_in_order(self) -> Order:
        return "rrf" if self._profile.reranker == "none" else "structure"

    async def _rank_built_in(self, best: Shortlist, order: Order) -> Ranking:
        start = time.perf_counter()
        degraded: tuple[str, ...] = ()
        ranked = _in_first_order(best, order)
        if order == "structure" and best.candidates:
            try:
                ranked = await self._worker.run(self._by_structure, best)
            except ModelError as error:
                log.exception("The structure ranker failed")
                degraded, order = (f"Ranked by late interaction alone: {error}",), "late_interaction"
        stage = Stage(order, (time.perf_counter() - start) * 1000, len(ranked))
        return Ranking(ranked, (stage,), order, degraded=degraded)

    def _by_structure(self, best: Shortlist) -> list[RankedCandidate]:
        if self._weights is None:
            self._weights = StructureWeights.load()
        scores = self._weights.score(*structure_features(best))
        ladder = np.sort(scores)[::-1]
        for place, message_id in enumerate(best.candidates):
            if not best.pool.sketches[message_id]:  # most features are unknown before a message is embedded
                scores[place] = ladder[place]  # so it keeps the place that the stage before gave it
        order = np.argsort(-scores, kind="stable")
        return [
            RankedCandidate(best.candidates[row], float(scores[row]), float(best.late_interaction[row]))
            for row in order
        ]

    async def _score(self, pairs: Sequence[Pair]) -> tuple[list[float], str | None]:
        """Log-odds of each pair (NaN where there is none), and why some are missing."""
        if not pairs:
            return [], None
        if self._is_closed:
            raise ModelUnavailable("The reranker has been shut down.")
        if self._profile.reranker == "none":
            return [math.nan] * len(pairs), "reranking is turned off"
        if self._reranking is None:
            return await self._built_in.score(pairs), None
        await self.ready()
        scores = await self._reranking.score(pairs, deadline_ms=self._profile.rerank_deadline_ms)
        return scores.log_odds.tolist(), scores.reason

    def _observe(self, best: Shortlist, ranking: Ranking) -> None:
        if ranking.candidates:
            self._calls += 1
            before = reciprocal_rank_fusion(best.pool.keyword_scores, best.pool.vector_scores)
            self._top1_changed += bool(before) and before[0][0] != ranking.candidates[0].message_id


def _with_model(profile: MemoryProfile, model: str | None) -> MemoryProfile:
    """The profile with another model; one without a model type reads it with the type it is most likely of."""
    if model is None:
        return profile
    kind = profile.reranker if profile.reranker in MODEL_TYPES else "qwen3"
    return replace(profile, reranker_model=model, reranker=kind)


def _document(best: Shortlist, candidate: RankedCandidate) -> str:
    message = best.rows[candidate.message_id].message
    return f"{message.author_name}: {message.text}"


def _fused_with_model(built_in: Ranking, read: Sequence[RankedCandidate], scores: ModelScores) -> Ranking:
    """Put the model's scores on top of the built-in order of what it ``read``; the others follow as they were."""
    reasons = [*built_in.degraded, *((f"Not all reranked: {scores.reason}.",) if scores.reason else ())]
    reasons += [f"The reranker's order is not to be trusted: {scores.degraded}."] if scores.degraded else []
    if not scores.scored:
        return replace(built_in, rerank_of=len(read), degraded=tuple(reasons))
    known = np.isfinite(scores.log_odds)
    model = np.full(len(read), 0.0)
    model[known] = scaled(scores.log_odds[known])
    model[~known] = model[known].mean()  # unknown is neither good nor bad
    fused = MODEL_WEIGHT * model + (1 - MODEL_WEIGHT) * scaled(np.array([c.score for c in read]))
    lift = max((c.score for c in built_in.candidates[len(read) :]), default=0.0) + 1.0
    ranked = [
        replace(
            candidate,
            score=float(fused[row]) + lift,
            rerank_score=probability(float(scores.log_odds[row])) if known[row] else None,
            rerank_log_odds=float(scores.log_odds[row]) if known[row] else None,
        )
        for row, candidate in enumerate(read)
    ]
    ranked.sort(key=lambda candidate: -candidate.score)
    stage = Stage(scores.model, scores.milliseconds, scores.scored)
    return Ranking(
        [*ranked, *built_in.candidates[len(read) :]],
        (*built_in.stages, stage),
        scores.model,
        reranked=scores.scored,
        rerank_of=scores.total,
        degraded=tuple(reasons),
    )


def _first_stage(pool: CandidatePool, order: Order, most: int) -> list[int]:
    if order in ("structure", "late_interaction"):
        return pool.best(most)
    return [message_id for message_id, _ in _retrieval_order(pool, order)][:most]


def _retrieval_order(pool: CandidatePool, order: Order) -> list[tuple[int, float]]:
    """The order of one leg, or of both fused, with its scores."""
    if order == "rrf":
        return reciprocal_rank_fusion(pool.keyword_scores, pool.vector_scores)
    scores = pool.vector_scores if order == "vector" else pool.keyword_scores
    return sorted(scores.items(), key=lambda item: (-item[1], -item[0]))


def _in_first_order(best: Shortlist, order: Order) -> list[RankedCandidate]:
    """The shortlist as it stands, with the scores of the stage that put it in order."""
    if order in ("structure", "late_interaction"):
        scores = zip(best.candidates, best.base.tolist(), best.late_interaction.tolist(), strict=True)
        return [RankedCandidate(message_id, base, own) for message_id, base, own in scores]
    by_id = dict(_retrieval_order(best.pool, order))
    return [RankedCandidate(message_id, by_id[message_id]) for message_id in best.candidates]
