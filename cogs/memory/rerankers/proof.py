"""Does a reranker rank? Known texts whose order is beyond doubt, and published scores where there are any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from cogs.memory.rerankers import Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Score: TypeAlias = Callable[[Sequence[Pair]], NDArray[np.float32]]


class Triplet(NamedTuple):
    """A question, a text that answers it, and one that shares its words but does not."""

    query: str
    answer: str
    distractor: str


TRIPLETS = (
    Triplet(
        "What is the capital of France?",
        "Paris has been the capital of France since the tenth century.",
        "The capital letters in this font look French somehow.",
    ),
    Triplet(
        "How do I undo my last git commit but keep the changes?",
        "run git reset --soft HEAD~1, the commit goes away and the files stay as they are",
        "I never commit before lunch, changes my mood",
    ),
    Triplet(
        "When does the raid start tonight?",
        "we pull the first boss at 20:30, be there ten minutes earlier",
        "the raid last week was a disaster, tonight I'd rather sleep",
    ),
    Triplet(
        "What did the vet say about the cat?",
        "the vet thinks it's only an allergy, she gets drops twice a day",
        "what a cat person would say: buy two",
    ),
)


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
    """Score the triplets; ``ok`` if every answer stands before its distractor."""
    found = score([Pair(t.query, text, instruction) for t in TRIPLETS for text in (t.answer, t.distractor)])
    margins = [float(found[i] - found[i + 1]) for i in range(0, len(found), 2)]
    right = sum(margin > 0 for margin in margins)
    summary = f"{right} of {len(margins)} examples in the right order, smallest margin {min(margins):.2f}"
    return SelfTest(right == len(margins), f"Order {'proven' if right == len(margins) else 'not proven'}: {summary}.")


def prove_golden(score: Score, golden: Golden, tolerance: float) -> SelfTest:
    """Score published examples; ``ok`` if their order is right and each is met to ``tolerance``."""
    texts, expected = zip(*golden.log_odds, strict=True)
    found = score([Pair(golden.query, text, golden.instruction) for text in texts])
    if sorted(texts, key=dict(zip(texts, found, strict=True)).__getitem__) != sorted(
        texts, key=dict(golden.log_odds).__getitem__
    ):
        return SelfTest(False, "The reranker orders the published examples wrongly.")
    distance = max(abs(float(a) - b) for a, b in zip(found, expected, strict=True))
    if distance > tolerance:
        return SelfTest(False, f"The reranker's scores are up to {distance:.2f} from the published ones.")
    return SelfTest(True, f"The reranker meets the published scores to {distance:.1g}.")
