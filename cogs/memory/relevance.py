"""How well a message covers a question: one number that can be compared between questions. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cogs.memory.recall_records import RankedCandidate

RELEVANT = 0.25
"""Relevance below which an answer counts as "nothing relevant".

It stands for a late interaction of 0.345. Measured on the sample server and on the written chats: fewer than 5 % of the
questions whose answer was found fall below, and so do over half and over a quarter of questions from elsewhere.
"""


def relevance_of(candidate: RankedCandidate, vector_score: float | None) -> float:
    """How well a message covers the question, 0–1: P(yes) of the model, else a logistic curve over what there is.

    The curve over late interaction runs from what unrelated questions reach (0.32 to 0.38 in the median) to what
    answered ones reach (0.46 to 0.52).
    """
    if candidate.rerank_score is not None:
        return candidate.rerank_score
    if candidate.late_interaction_score is not None:
        return 1 / (1 + math.exp(-(candidate.late_interaction_score - 0.40) / 0.05))
    return 0.5 if vector_score is None else 1 / (1 + math.exp(-(vector_score - 0.35) / 0.08))
