"""Does a reranker rank? Known texts whose order is beyond doubt, and published scores where there are any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from cogs.memory.rerankers import Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Score: TypeAlias = Callable[[Sequence[Pair]], NDArray[np.float32]]


class Triplet(NamedTuple):
    """A question, a text that answers it, and one about something else."""

    query: str
    answer: str
    other: str


TRIPLETS = (
    Triplet(
        "What is the capital of France?",
        "Paris has been the capital of France since the tenth century.",
        "The new keyboard arrived, the keys are a bit loud though.",
    ),
    Triplet(
        "How do I undo my last git commit but keep the changes?",
        "run git reset --soft HEAD~1: it undoes the last commit and keeps your changes",
        "we had pizza before the match and it was raining all evening",
    ),
    Triplet(
        "When does the raid start tonight?",
        "the raid starts tonight at 20:30, be there ten minutes earlier",
        "my sister painted the kitchen blue last spring",
    ),
    Triplet(
        "What did the vet say about the cat?",
        "the vet said the cat has an allergy and gets drops twice a day",
        "the download is at 40 percent, the connection is slow again",
    ),
    Triplet(
        "How can I read a CSV file in Python?",
        "To read a CSV file in Python, import csv and loop over csv.reader(file).",
        "The train to the coast was late, so we missed the boat.",
    ),
    Triplet(
        "What helps against a cold?",
        "Against a cold, rest, drink plenty of water and take a warm bath.",
        "The server gets new disks on Monday, expect an hour of downtime.",
    ),
)

REQUIRED = 5
"""Triplets that must be in order: chance gives so many to one random model in nine."""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """The outcome of a self-test; ``detail`` is a sentence fit to be shown."""

    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Golden:
    """Published log-odds of one query's documents under one instruction."""

    query: str
    instruction: str
    log_odds: tuple[tuple[str, float], ...]


def prove_order(score: Score, instruction: str) -> SelfTest:
    """Score the triplets; ``ok`` if at least `REQUIRED` answers stand before what is about something else."""
    found = score([Pair(t.query, text, instruction) for t in TRIPLETS for text in (t.answer, t.other)])
    margins = [float(found[i] - found[i + 1]) for i in range(0, len(found), 2)]
    right = sum(margin > 0 for margin in margins)
    summary = f"{right} of {len(margins)} examples in the right order, smallest margin {min(margins):.2f}"
    is_proven = right >= REQUIRED
    return SelfTest(is_proven, f"Order {'proven' if is_proven else 'not proven'}: {summary}.")


def prove_golden(score: Score, golden: Golden, tolerance: float) -> SelfTest:
    """Score published examples; ``ok`` if their order is right and each is met to ``tolerance``."""
    texts, expected = zip(*golden.log_odds, strict=True)
    found = score([Pair(golden.query, text, golden.instruction) for text in texts])
    if np.argsort(found).tolist() != np.argsort(expected).tolist():
        return SelfTest(False, "The reranker orders the published examples wrongly.")
    distance = max(abs(float(a) - b) for a, b in zip(found, expected, strict=True))
    if distance > tolerance:
        return SelfTest(False, f"The reranker's scores are up to {distance:.2f} from the published ones.")
    return SelfTest(True, f"The reranker meets the published scores to {distance:.1g}.")
