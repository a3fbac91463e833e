"""The figures of a running memory, gathered once for everybody who shows them: `/memory stats` and the metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cogs.memory.memory_service import MemoryService
    from cogs.memory.records import StoreStats

    from .loop_lag import LoopLag

    Named = Mapping[str, float | int | str | None]


@dataclass(frozen=True, slots=True)
class OperatorFigures:
    """What the operator is told of the memory. Milliseconds are in ascending order."""

    store: StoreStats
    recall_ms: Sequence[float]
    loop_lag_ms: Sequence[float]
    ingest_rate: float
    """Messages embedded per second."""
    events_waiting: int
    embedder: Named
    reranker: Named
    caches: Named


async def operator_figures(memory: MemoryService, lag: LoopLag) -> OperatorFigures:
    """Gather the figures of this moment. Raises StoreError."""
    models = {name: value for name, value in memory.models.get_statistics().items() if not isinstance(value, list)}
    return OperatorFigures(
        store=await memory.stats(),
        recall_ms=sorted(memory.recall_ms),
        loop_lag_ms=lag.ordered_ms(),
        ingest_rate=memory.queue.rate,
        events_waiting=memory.queue.waiting,
        embedder=memory.embedding.get_statistics(),
        reranker=memory.reranker.get_statistics(),
        caches=models | memory.get_statistics(),
    )
