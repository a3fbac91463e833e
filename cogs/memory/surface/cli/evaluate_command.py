"""``bot.py evaluate FILE…``: how good recall is on labelled chat."""

from __future__ import annotations

import json
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

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
    reports: list[dict[str, Any]] = []
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
                reports.append(await _measure(memory, path, parts, rate, arguments))
        if reports and arguments.json:
            print(json.dumps(reports[-1]))
    if reports and not arguments.json:
        console.print(_table(reports))
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


def _table(reports: list[dict[str, Any]]) -> Table:
    shown = ("R@1", "R@10", "R@50", "hit@1", "MRR@10", "nDCG@10")
    table = Table("file", "part", "n", *shown, "p50 ms", "p95 ms", "messages/s")
    for result in reports:
        times = (f"{result['recall_ms']['p50']:.1f}", f"{result['recall_ms']['p95']:.1f}")
        row = (*(f"{result['all'][m]:.3f}" for m in shown), *times, f"{result['ingest_messages_per_s']:.0f}")
        table.add_row(result["file"], f"all ({result['reranker']})", str(result["n"]), *row)
        parts = {**result["by_category"], "adversarial": result["adversarial"]}
        for name, part in parts.items():
            if part is not None and part["n"] != result["n"]:
                table.add_row("", name, str(part["n"]), *(f"{part[m]:.3f}" for m in shown), "", "", "")
    return table
