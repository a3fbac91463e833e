"""How well a message covers a question: one number that can be compared between questions. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cogs.memory.recall_records import RankedCandidate, Ranking

RELEVANT = 0.22
"""Relevance below which an answer counts as "nothing relevant".

It stands for a late interaction of 0.337 when the ranker is as sure as usual. Which questions fall below, of those that
can be answered and of those from elsewhere, is measured by ``tests/evaluation/fit_relevance.py``.
"""

HALF = 0.40
"""Late interaction that stands for a relevance of one half: unrelated questions reach 0.27 to 0.30 in the median,
answered ones 0.45 to 0.59."""
SLOPE = 0.05
"""Late interaction from there to a relevance of 0.73."""
SPREAD_WEIGHT = 0.1
"""Late interaction that one unit of spread is worth; fitted by ``tests/evaluation/fit_relevance.py``."""
USUAL_SPREAD = 1.7
SPREAD_BOUNDS = (1.0, 3.4)
"""What was seen when it was fitted: beyond it a spread counts no more."""
LEAST_CANDIDATES = 12
"""Fewer candidates have no spread worth the name."""


def certainty(ranking: Ranking) -> float:
    """How sure the structure ranker is of its order, in units of late interaction; 0 when that is not known.

    When something answers the question, the scores of what does and what does not lie far apart; when nothing does,
    all candidates are about as bad.
    """
    if ranking.reranker != "structure" or len(ranking.candidates) < LEAST_CANDIDATES:
        return 0.0
    spread = float(np.std([candidate.score for candidate in ranking.candidates]))
    return SPREAD_WEIGHT * (min(max(spread, SPREAD_BOUNDS[0]), SPREAD_BOUNDS[1]) - USUAL_SPREAD)


def relevance_of(candidate: RankedCandidate, vector_score: float | None, certain: float) -> float:
    """Return the relevance of a candidate, 0–1: P(yes) of the model, else a logistic curve over what there is.

    Args:
        candidate: with the scores of the stages that saw it.
        vector_score: the cosine of its sentence vector, if the vector leg found it.
        certain: the `certainty` of its ranking.
    """
    if candidate.rerank_score is not None:
        return candidate.rerank_score
    if candidate.late_interaction_score is not None:
        return _logistic((candidate.late_interaction_score + certain - HALF) / SLOPE)
    return 0.5 if vector_score is None else _logistic((vector_score - 0.35) / 0.08)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
