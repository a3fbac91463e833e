"""What a reranker changes on labelled questions, and why that may be little: both orders' scores, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogs.memory.evaluation import metrics_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.evaluation import Outcome

METRIC: Final = "nDCG@5"
"""By which a question counts as helped or hurt."""
DEPTH: Final = 10
"""Places of the order after that moves are counted over."""
_FEW_CHANGED: Final = 0.05
_LITTLE_GAIN: Final = 0.005
_LITTLE_SPREAD: Final = 0.05
_NEARLY_RIGHT: Final = 0.9
_MOSTLY_SCORED: Final = 0.9
_FEW_CANDIDATES: Final = 20
_EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class Move:
    """A message that the reranker put among the first."""

    message_id: int
    is_relevant: bool
    rank_before: int | None
    """None beyond what was asked for."""
    rank_after: int
    score_before: float | None
    rerank_score: float | None
    """P(yes), 0–1; None where no model scored it."""


@dataclass(frozen=True, slots=True)
class Example:
    """A question whose answer changed most, with its first results after."""

    query: str
    change: float
    """Of `METRIC`."""
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What changed between two orders of the same questions."""

    questions: int
    top1_changed: float
    """Share of the questions with another first result."""
    mean_move: float
    """Places that the first `DEPTH` results moved, on average."""
    helped: int
    hurt: int
    metric_before: float
    metric_after: float
    score_spread: float | None
    """Highest less lowest P(yes) of a question, on average; None without a model."""
    scored: float | None
    """Share of the candidates that the model scored within its deadline; None without a model."""
    candidates: float
    """That the model was meant to score, on average."""
    examples: tuple[Example, ...]

    @property
    def is_weak(self) -> bool:
        """Whether the reranker hardly matters."""
        gain = self.metric_after - self.metric_before
        return self.top1_changed < _FEW_CHANGED or abs(gain) < _LITTLE_GAIN

    def causes(self) -> list[str]:
        """Return what may make the effect weak, as sentences; empty if it is not weak."""
        if not self.is_weak:
            return []
        found = []
        if self.scored is not None and self.scored < _MOSTLY_SCORED:
            found.append(
                f"The deadline left {1 - self.scored:.0%} of the candidates unscored: a longer RERANKER_DEADLINE_MS, "
                "RERANKER_PRESET=speed or a smaller model would score all."
            )
        if self.score_spread is not None and self.score_spread < _LITTLE_SPREAD:
            found.append(
                f"The model's scores hardly differ ({self.score_spread:.3f} between best and worst): another model, or "
                "another instruction, may fit the language and the questions better."
            )
        if self.metric_before >= _NEARLY_RIGHT:
            found.append("The order before is nearly right already.")
        if self.scored is not None and self.candidates < _FEW_CANDIDATES:
            found.append(
                f"It reads {self.candidates:.0f} candidates a question: a larger VECTOR_TOP_K or KEYWORD_TOP_K, or "
                "RERANKER_PRESET=quality, gives it more to choose from."
            )
        return found or ["It mostly agrees with the order before."]


def diagnose(before: Sequence[Outcome], after: Sequence[Outcome]) -> Diagnosis:
    """Compare two orders of the same questions, in the same sequence.

    Raises:
        ValueError: they are not the same questions, or there are none.
    """
    if not before or [each.query for each in before] != [each.query for each in after]:
        raise ValueError("both orders must answer the same questions, at least one")
    pairs = list(zip(before, after, strict=True))
    changes = [_metric(late) - _metric(early) for early, late in pairs]
    by_change = sorted(range(len(pairs)), key=lambda i: -abs(changes[i]))
    spreads = [spread for late in after if (spread := _spread(late)) is not None]
    meant = sum(late.rerank_of for late in after)
    return Diagnosis(
        questions=len(pairs),
        top1_changed=_mean([early.found[:1] != late.found[:1] for early, late in pairs]),
        mean_move=_mean([move for early, late in pairs for move in _moves(early, late)]),
        helped=sum(change > 0 for change in changes),
        hurt=sum(change < 0 for change in changes),
        metric_before=metrics_of(before, [METRIC])[METRIC],
        metric_after=metrics_of(after, [METRIC])[METRIC],
        score_spread=_mean(spreads) if spreads else None,
        scored=sum(late.reranked for late in after) / meant if meant else None,
        candidates=meant / len(pairs),
        examples=tuple(_example(*pairs[i], changes[i]) for i in by_change[:_EXAMPLES] if changes[i]),
    )


def _metric(outcome: Outcome) -> float:
    return metrics_of([outcome], [METRIC])[METRIC]


def _spread(outcome: Outcome) -> float | None:
    known = [score for _, score in outcome.scores if score is not None]
    return max(known) - min(known) if known else None


def _moves(before: Outcome, after: Outcome) -> list[int]:
    """How far each of the first results came; from beyond what was asked for counts as from just behind it."""
    place = {message_id: rank for rank, message_id in enumerate(before.found)}
    return [abs(rank - place.get(i, len(before.found))) for rank, i in enumerate(after.found[:DEPTH])]


def _example(before: Outcome, after: Outcome, change: float) -> Example:
    place = {message_id: rank for rank, message_id in enumerate(before.found)}
    moves = []
    for rank, message_id in enumerate(after.found[:5], start=1):
        early = place.get(message_id)
        moves.append(
            Move(
                message_id=message_id,
                is_relevant=message_id in after.query.relevant,
                rank_before=None if early is None else early + 1,
                rank_after=rank,
                score_before=None if early is None else before.scores[early][0],
                rerank_score=after.scores[rank - 1][1],
            )
        )
    return Example(after.query.text, change, tuple(moves))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
