"""``bot.py evaluate FILE…``: how good recall is on labelled chat."""

from __future__ import annotations

import json
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from cogs.memory.evaluation import (
    TemporaryFolder,
    ingest,
    read_evaluation,
    report,
)
from cogs.memory.exceptions import StoreError
from cogs.memory.memory_service import MemoryService
from cogs.memory.reranker_service import MODEL_TYPES
from cogs.memory.stores.postgres_connections import drop_schema
from cogs.memory.surface.cli.comparison import asked, compare, show_comparison
from cogs.memory.surface.cli.model_at_hand import wait_for_model
from cogs.memory.surface.cli.output import console, progress_bar

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from cogs.memory.evaluation import EvaluationChannel
    from cogs.memory.model_loading import ModelSources
    from cogs.memory.reranker_service import Order
    from profiles import MemoryProfile

    Channels = Sequence[EvaluationChannel]


async def evaluate(
    arguments: argparse.Namespace, profile: MemoryProfile, sources: ModelSources, databases: Sequence[str] = ()
) -> int:
    """Measure each file in a data folder, or a schema of ``databases``, of its own; return the exit code."""
    if arguments.database and not databases:
        raise StoreError("--database needs MEMORY_DATABASE: it says on which server to measure.")
    channels = {path: read_evaluation(path) for path in arguments.files}  # refuse before anything is measured
    for path, parts in channels.items():
        async with _temporary_memory(profile, sources, databases) as memory:
            await wait_for_model(memory, is_needed=arguments.reranker in MODEL_TYPES)
            with progress_bar() as bar:
                bar.add_task(f"{path.name}: ingest", total=None)
                rate = await ingest(memory, parts)
            if arguments.compare:
                comparison = await compare(memory, path, parts)
                show_comparison(comparison, as_json=arguments.json)
            else:
                result = await _measure(memory, path, parts, rate, arguments)
                if arguments.json:
                    print(json.dumps(result))
                else:
                    console.print(evaluation_table(result))
    return 0


@asynccontextmanager
async def _temporary_memory(
    profile: MemoryProfile, sources: ModelSources, databases: Sequence[str]
) -> AsyncIterator[MemoryService]:
    """A memory of its own, in a folder or in a schema, that is removed afterwards."""
    schema = f"memory_evaluation_{secrets.token_hex(4)}" if databases else None
    with TemporaryFolder() as folder:
        try:
            async with MemoryService.on_folder(
                profile, folder, databases=databases, schema=schema, sources=sources
            ) as memory:
                yield memory
        finally:
            if schema is not None:
                for address in databases:
                    await drop_schema(address, schema)


async def _measure(
    memory: MemoryService, path: Path, parts: Channels, rate: float, arguments: argparse.Namespace
) -> dict[str, Any]:
    order = _order(arguments)
    outcomes = await asked(memory, f"{path.name}: questions", parts, order)
    return report(path.name, memory.profile.name, order or memory.reranker.name, outcomes, rate)


def _order(arguments: argparse.Namespace) -> Order | None:
    """The order that was asked for; None for all that the profile has."""
    if arguments.no_rerank or arguments.reranker == "none":
        return "rrf"
    name: Order | None = None if arguments.reranker in MODEL_TYPES else arguments.reranker
    return name


def evaluation_table(result: dict[str, Any]) -> Table:
    """One file's figures, in 80 columns."""
    shown = ("R@1", "R@10", "R@50", "hit@1", "MRR@10", "nDCG@10")
    caption = (
        f"a recall {result['recall_ms']['p50']:.1f} ms, p95 {result['recall_ms']['p95']:.1f} ms · "
        f"{result['ingest_messages_per_s']:.0f} messages/s taken in · profile {result['profile']}"
    )
    table = Table("questions", "n", *shown, title=escape(result["file"]), caption=escape(caption))
    rows = {f"all ({result['reranker']})": {"n": result["n"], **result["all"]}}
    if len(result["by_category"]) > 1:
        rows |= result["by_category"]
    if result["adversarial"] is not None:
        rows["adversarial"] = result["adversarial"]
    for name, row in rows.items():
        table.add_row(escape(name), str(row["n"]), *(f"{row[metric]:.3f}" for metric in shown))
    return table
