"""``bot.py evaluate FILE --compare``: every stage on the same questions, and what the last one changes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from cogs.memory.evaluation import COMPARE_METRICS, ask, metrics_of
from cogs.memory.rerank_diagnosis import METRIC, Diagnosis, diagnose
from cogs.memory.surface.cli.output import console, progress_bar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cogs.memory.evaluation import EvaluationChannel, Outcome
    from cogs.memory.memory_service import MemoryService
    from cogs.memory.rerank_diagnosis import Example
    from cogs.memory.reranker_service import Order

STAGES: tuple[tuple[str, Order], ...] = (
    ("keyword (FTS5)", "keyword"),
    ("vector (dense)", "vector"),
    ("fused (RRF)", "rrf"),
    ("late interaction", "late_interaction"),
    ("structure", "structure"),
)
_SHOWN = 60
"""Characters of a text in a table."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One file's metrics by stage, and the last stage against the one before which it was added."""

    file: str
    stages: dict[str, dict[str, float]]
    before: str
    after: str
    diagnosis: Diagnosis
    texts: dict[int, str]
    """What the messages of the examples say."""


async def compare(memory: MemoryService, path: Path, parts: Sequence[EvaluationChannel]) -> Comparison:
    """Ask every question once for each stage; a model that serves is the last one."""
    outcomes: dict[str, list[Outcome]] = {}
    stages: list[tuple[str, Order | None]] = [*STAGES]
    if memory.reranker.has_model:
        stages.append((f"reranker ({memory.reranker.name})", None))
    for title, order in stages:
        answers = await asked(memory, f"{path.name}: {title}", parts, order)
        outcomes[title] = [o for o in answers if o.query.category != "adversarial"] or answers
    after = stages[-1][0]
    said = {message.id: f"{message.author_name}: {message.content}" for part in parts for message in part.messages}
    before = "structure" if stages[-1][1] is None else "fused (RRF)"
    diagnosis = diagnose(outcomes[before], outcomes[after])
    shown = [move.message_id for example in diagnosis.examples for move in example.moves]
    return Comparison(
        file=path.name,
        stages={title: metrics_of(answers, COMPARE_METRICS) for title, answers in outcomes.items()},
        before=before,
        after=after,
        diagnosis=diagnosis,
        texts={message_id: said[message_id] for message_id in shown},
    )


async def asked(
    memory: MemoryService, title: str, parts: Sequence[EvaluationChannel], order: Order | None
) -> list[Outcome]:
    """Put every question to the memory, under a progress bar."""
    with progress_bar() as bar:
        task = bar.add_task(title, total=sum(len(part.queries) for part in parts))
        return await ask(memory, parts, order=order, progress=lambda: bar.advance(task))


def show_comparison(comparison: Comparison, *, as_json: bool) -> None:
    """Print a comparison as tables, or as one line of JSON."""
    if as_json:
        print(json.dumps(asdict(comparison) | {"causes": comparison.diagnosis.causes()}, ensure_ascii=False))
        return
    table = Table("stage", *COMPARE_METRICS, title=comparison.file)
    for title, metrics in comparison.stages.items():
        table.add_row(title, *(f"{value:.3f}" for value in metrics.values()))
    console.print(table)
    for line in _sentences(comparison):
        console.print(line, markup=False, highlight=False)
    for example in comparison.diagnosis.examples:
        console.print(_example_table(example, comparison.texts))


def _sentences(comparison: Comparison) -> list[str]:
    found = comparison.diagnosis
    lines = [
        f"{comparison.after} against {comparison.before}, {found.questions} questions: another first result in "
        f"{found.top1_changed:.0%}, first results moved {found.mean_move:.1f} places; {METRIC} better for "
        f"{found.helped}, worse for {found.hurt}."
    ]
    if found.scored is not None and found.score_spread is not None:
        lines.append(
            f"The model scored {found.scored:.0%} of {found.candidates:.0f} candidates a question; best and worst lie "
            f"{found.score_spread:.2f} apart."
        )
    causes = found.causes()
    return [*lines, *(["Weak effect:", *(f"  {cause}" for cause in causes)] if causes else [])]


def _example_table(example: Example, texts: Mapping[int, str]) -> Table:
    """The scores before and after of the question that changed most, side by side."""
    table = Table("rank", "before", "score before", "P(yes)", "message", "right", title_justify="left")
    table.title = f"{METRIC} {example.change:+.2f}: {_plain(example.query)}"
    for move in example.moves:
        table.add_row(
            str(move.rank_after),
            "–" if move.rank_before is None else str(move.rank_before),
            "–" if move.score_before is None else f"{move.score_before:.3f}",
            "–" if move.rerank_score is None else f"{move.rerank_score:.3f}",
            _plain(texts[move.message_id]),
            "✓" if move.is_relevant else "",
        )
    return table


def _plain(text: str) -> str:
    """Return the beginning of a text, in one line and without markup."""
    line = " ".join(text.split())
    return (line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…").replace("[", r"\[")
