"""Is the reranker alive, and is it worth its time? In a few lines, for those who may manage a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cogs.memory.ab_test import SIDES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.memory_service import MemoryService
    from cogs.memory.surface.recall.judgements import Judgement

    from .memory_texts import MemoryTexts


def reranker_lines(texts: MemoryTexts, memory: MemoryService, judgements: Sequence[Judgement]) -> list[str]:
    """Return what decides the order, what it changed of late, its scores and times, and an A/B test's sides."""
    figures = memory.reranker.get_statistics()
    model = {name.removeprefix("model_"): value for name, value in figures.items() if name.startswith("model_")}
    lines = [texts.reranker_name.format(name=figures["reranker"])]
    if model and model["state"] != "ready":
        lines.append(texts.reranker_state.format(state=model["state"], reason=model["reason"]))
    if model and model["rankings"]:
        lines.append(
            texts.reranker_changed_moved.format(
                share=_share(model["top1_changed_share"]),
                count=f"{model['rankings']:,}",
                move=_number(model["mean_rank_move"], 1),
            )
        )
    elif figures["calls"]:
        lines.append(
            texts.reranker_changed.format(share=_share(figures["top1_changed_share"]), count=f"{figures['calls']:,}")
        )
    if model and model["score_mean"] is not None:
        scores = {name: _number(model[f"score_{name}"], 2) for name in ("min", "mean", "max")}
        lines.append(texts.reranker_scores.format(**scores, ms=_number(model["ms_per_document"], 1)))
    if model:
        counts = {name: f"{model[name]:,}" for name in ("calls", "timeouts", "busy", "failures")}
        lines.append(texts.reranker_counts.format(**counts))
    return [*lines, *_ab_lines(texts, memory, judgements, figures)]


def _ab_lines(
    texts: MemoryTexts, memory: MemoryService, judgements: Sequence[Judgement], figures: dict[str, Any]
) -> list[str]:
    if "ab_share" not in figures:
        return []
    lines = []
    for side, template in zip(SIDES, (texts.reranker_side_a, texts.reranker_side_b), strict=True):
        verdicts = [each.good for each in judgements if memory.reranker.side_of(each.user_id) == side]
        good = sum(verdicts)
        questions = f"{figures[f'ab_{side.lower()}_questions']:,}"
        lines.append(template.format(questions=questions, good=f"{good:,}", bad=f"{len(verdicts) - good:,}"))
    return lines


def _share(value: float | str | None) -> str:
    return f"{float(value or 0):.0%}"


def _number(value: float | str | None, digits: int) -> str:
    return f"{float(value or 0):,.{digits}f}"
