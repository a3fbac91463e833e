"""A page of an answer, and what is said about how it was found. Pure, and for every face of the memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from cogs.memory.surface.markup import cut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cogs.memory.recall_records import RecalledMessage, RecallTrace
    from cogs.memory.surface.recall.search_state import Search
    from cogs.memory.surface.texts import Texts

MAX_FOOTER: Final = 500
"""Characters of our footer; Discord allows 2,048, but they count in the total."""
_BAR: Final = 8


@dataclass(frozen=True, slots=True)
class Face:
    """How an author looks now."""

    name: str | None = None
    """None for the name stored with the message."""
    avatar_url: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of an answer, cut to what its reader may see."""

    search: Search
    results: Sequence[RecalledMessage]
    trace: RecallTrace
    has_more: bool = False
    is_weak: bool = False
    """Nothing was relevant, so nothing is shown."""
    unverified: bool = False
    """Whether some could not be shown because nobody can tell at the moment whether they still stand as stored."""
    is_indexing: bool = False
    """Whether messages that its reader may read wait to be stored, or to be found by more than their words."""
    faces: Mapping[int, Face] = field(default_factory=dict)


def score_bar(relevance: float) -> str:
    """Return a share as a bar: ``▰▰▰▰▰▰▱▱``."""
    filled = round(min(1.0, max(0.0, relevance)) * _BAR)
    return "▰" * filled + "▱" * (_BAR - filled)


def match_line(result: RecalledMessage, texts: Texts) -> str:
    """Return how well a result covers the question, as a bar and in words."""
    percent = round(100 * min(1.0, max(0.0, result.relevance)))
    return f"{score_bar(result.relevance)} {texts.score.format(percent=percent)}"


def footer(page: Page, texts: Texts) -> str:
    """Return what was done to find this, and what could not be found, in one line."""
    trace = page.trace
    parts = [_ranking(trace, texts), texts.candidates.format(count=f"{trace.candidates:,}")]
    parts.append(texts.from_cache if trace.cached else texts.milliseconds.format(count=f"{trace.total_ms:.0f}"))
    lines = [", ".join(parts)]
    if trace.reaches_back_to is not None:
        lines.append(texts.reaches_back.format(date=f"{trace.reaches_back_to:%Y-%m-%d}"))
    if page.is_indexing:
        lines.append(texts.still_indexing)
    if page.unverified:
        lines.append(texts.unverified)
    return cut("\n".join([" · ".join(lines), *trace.degraded]), MAX_FOOTER)


def _ranking(trace: RecallTrace, texts: Texts) -> str:
    known = {
        "structure": texts.structure,
        "late_interaction": texts.late_interaction,
        "rrf": texts.not_reranked,
        "none": texts.not_reranked,
    }
    if trace.reranker in known:
        return known[trace.reranker]
    return texts.reranked_of.format(model=short_name(trace.reranker), count=trace.reranked, total=trace.rerank_of)


def short_name(model: str) -> str:
    """Return a model's name without its owner, or the path of its folder: where it lies is nobody's business."""
    return PurePath(model).name or model
