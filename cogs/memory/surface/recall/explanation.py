"""How the answer to one question came about, stage by stage, as a table. Knows nothing of Discord."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cogs.memory.surface.markup import cut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cogs.memory.memory_service import MemoryService
    from cogs.memory.recall_records import Recall, RecalledMessage
    from cogs.memory.records import Scope, StoredMessage
    from cogs.memory.reranker_service import Order

ORDERS: Final[Mapping[str, Order]] = {
    "kw": "keyword",
    "vec": "vector",
    "fused": "rrf",
    "late": "late_interaction",
}
"""The stages before the last one, by the heading of their column; "rrf" is what would be shown without reranking."""
DEPTH: Final = 50
"""How far down a stage's order a result is looked for."""
SHOWN: Final = 10
LINE: Final = 46
"""Characters of a message in a line: as many as a phone shows beside the ranks."""


@dataclass(frozen=True, slots=True)
class ExplainedResult:
    """A result with its place in the order of each stage."""

    result: RecalledMessage
    ranks: Mapping[str, int | None]
    """Place by the heading of `ORDERS`, from 1; None beyond `DEPTH` or where the stage did not find it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The results that are shown, and what each stage would have shown."""

    recall: Recall
    results: Sequence[ExplainedResult]
    first_without: StoredMessage | None
    """What would stand first if nothing were reranked."""


def as_they_stand(explanation: Explanation, current: Mapping[int, StoredMessage]) -> Explanation:
    """Return the explanation without what does not exist any more, the rest as it is now."""
    results = [
        replace(each, result=replace(each.result, message=current[each.result.message.id]))
        for each in explanation.results
        if each.result.message.id in current
    ]
    first = explanation.first_without
    return replace(explanation, results=results, first_without=None if first is None else current.get(first.id))


async def explain(memory: MemoryService, query: str, scope: Scope, *, instruction: str | None = None) -> Explanation:
    """Ask a question once for each stage.

    Args:
        memory: the running memory.
        query: the question.
        scope: what the asker may read.
        instruction: what the reranker is told on this server.

    Raises:
        MemoryCogError: there is nothing to look for, or a recall failed.
    """
    recall = await memory.recall(query, scope, limit=SHOWN, instruction=instruction)
    places: dict[str, dict[int, int]] = {}
    first_without: StoredMessage | None = None
    for heading, order in ORDERS.items():
        stage = await memory.recall(query, scope, limit=DEPTH, order=order)
        places[heading] = {result.message.id: result.rank for result in stage.results}
        if order == "rrf" and stage.results:
            first_without = stage.results[0].message
    results = [
        ExplainedResult(result, {heading: places[heading].get(result.message.id) for heading in ORDERS})
        for result in recall.results
    ]
    return Explanation(recall, results, first_without)


def table(results: Sequence[ExplainedResult]) -> str:
    """Return the results as lines of equal columns, for a fixed-width font; never with a backtick."""
    scored = any(each.result.rerank_score is not None for each in results)
    header = f"{'#':>2} " + " ".join(f"{heading:>5}" for heading in ORDERS) + (" P(yes)" if scored else "")
    lines = [f"{header}  message"]
    for each in results:
        ranks = " ".join(f"{rank if rank is not None else '–':>5}" for rank in each.ranks.values())
        score = each.result.rerank_score
        p_yes = f" {'–' if score is None else f'{score:.2f}':>6}" if scored else ""
        lines.append(f"{each.result.rank:>2} {ranks}{p_yes}  {one_line(each.result.message)}")
    return "\n".join(lines)


def one_line(message: StoredMessage, limit: int = LINE) -> str:
    """Return who said what on one line, fit for a code block."""
    text = " ".join(f"{message.author_name}: {message.text[: 4 * limit]}".split())
    return cut(text.replace("`", "'"), limit)
