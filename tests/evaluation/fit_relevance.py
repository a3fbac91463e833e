"""Measure what "nothing relevant" means, and fit the weight of the ranker's certainty in it.

    python -m tests.evaluation.fit_relevance FILE… [--check FILE…]

Files are ``recall-eval/1``. Of each, its own questions can be answered (however well they are found); questions of the
other files, asked of its channels, cannot ("elsewhere"); nor, mostly, can those of its other channels ("next door").
Printed are, by weight, the area under the ROC curve and what falls below the threshold at which ``--missed`` of the
answerable questions do, in the mean over the files that are fitted to. ``--check`` files are only measured.
`cogs/memory/relevance.py` holds the constants: set them by hand from what this prints.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.candidate_retrieval import StageClock
from cogs.memory.evaluation import GUILD, TemporaryFolder, ingest, read_evaluation
from cogs.memory.memory_service import MemoryService
from cogs.memory.records import Scope
from cogs.memory.relevance import HALF, RELEVANT, SLOPE, SPREAD_BOUNDS, SPREAD_WEIGHT, USUAL_SPREAD
from profiles import load_profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from cogs.memory.evaluation import EvaluationChannel

    Signals = Mapping[str, NDArray[np.float64]]

WEIGHTS = (0.0, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2)
ASKED = {"own": 80, "elsewhere": 60, "next door": 30}
"""Questions of each kind asked of a channel, at most."""


async def collect(channels: Sequence[EvaluationChannel], others: Sequence[str]) -> Signals:
    """Return (questions, 2) late interaction of the best and spread of all, by kind of question."""
    draw = random.Random(1)
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in ASKED}
    with TemporaryFolder() as folder:
        async with MemoryService.on_folder(load_profile("embedded"), folder) as memory:
            await ingest(memory, channels)
            for channel in channels:
                scope = Scope(GUILD, frozenset([channel.channel_id]))
                questions = {
                    "own": _texts([channel]),
                    "elsewhere": list(others),
                    "next door": _texts([other for other in channels if other is not channel]),
                }
                for kind, texts in questions.items():
                    for text in draw.sample(texts, min(ASKED[kind], len(texts))):
                        found[kind].append(await _signals(memory, text, scope))
    return {kind: np.array(values) for kind, values in found.items() if values}


async def _signals(memory: MemoryService, text: str, scope: Scope) -> tuple[float, float]:
    async with memory.retrieval.encoding(text) as encoding:
        pool = await memory.retrieval.pool(text, encoding, scope, StageClock())
    best = await memory.retrieval.load(scope, pool, await memory.reranker.shortlist(pool))
    ranked = (await memory.reranker.rank(best)).candidates
    if not ranked:
        return 0.0, USUAL_SPREAD
    return max(c.late_interaction_score or 0.0 for c in ranked), float(np.std([c.score for c in ranked]))


def _texts(channels: Sequence[EvaluationChannel]) -> list[str]:
    return [query.text for channel in channels for query in channel.queries if query.category != "adversarial"]


def combined(values: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Return late interaction with the certainty of the ranking, as `relevance.certainty` adds it."""
    return values[:, 0] + weight * (np.clip(values[:, 1], *SPREAD_BOUNDS) - USUAL_SPREAD)


def area(answered: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve: how often an answerable question scores higher than another."""
    order = np.sort(others)
    below = np.searchsorted(order, answered, "left") + np.searchsorted(order, answered, "right")
    return float(below.mean() / 2 / len(order))


def threshold(data: Sequence[Signals], weight: float, missed: float) -> float:
    """Return the score below which a share of ``missed`` of the answerable questions lies; files count the same."""
    scores = [combined(signals["own"], weight) for signals in data]
    together = np.concatenate(scores)
    shares = np.concatenate([np.full(len(s), 1 / len(s) / len(scores)) for s in scores])
    order = np.argsort(together)
    return float(together[order][np.searchsorted(np.cumsum(shares[order]), missed)])


def show(name: str, signals: Signals, weight: float, limit: float) -> None:
    """Print one file's line."""
    own = combined(signals["own"], weight)
    parts = [f"missed {np.mean(own < limit):.3f}"]
    for kind in ("elsewhere", "next door"):
        if kind in signals:
            other = combined(signals[kind], weight)
            parts.append(f"{kind}: area {area(own, other):.3f}, left empty {np.mean(other < limit):.3f}")
    print(f"    {name:24} {'; '.join(parts)}")


def main() -> None:
    """Collect, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--check", nargs="*", type=Path, default=[], metavar="FILE")
    parser.add_argument("--missed", type=float, default=0.025)
    arguments = parser.parse_args()
    paths = [*arguments.files, *arguments.check]
    channels = {path: read_evaluation(path) for path in paths}
    data: dict[Path, Signals] = {}
    for path in paths:
        others = [text for other in arguments.files if other != path for text in _texts(channels[other])]
        data[path] = asyncio.run(collect(channels[path], others))
    fitted = [data[path] for path in arguments.files]
    for weight in WEIGHTS:
        limit = threshold(fitted, weight, arguments.missed)
        elsewhere = [np.mean(combined(signals["elsewhere"], weight) < limit) for signals in fitted]
        print(f"weight {weight}: threshold {limit:.3f}, questions from elsewhere left empty {np.mean(elsewhere):.3f}")
    limit = HALF - SLOPE * np.log(1 / RELEVANT - 1)
    print(f"as it is: weight {SPREAD_WEIGHT}, threshold {limit:.3f}")
    for path, signals in data.items():
        show(path.name, signals, SPREAD_WEIGHT, limit)


if __name__ == "__main__":
    main()
