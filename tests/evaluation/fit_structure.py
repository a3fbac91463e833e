"""Fit the structure ranker and write its weights.

    python -m tests.evaluation.fit_structure FILE… [--check FILE…]

Files are ``recall-eval/1``; every file counts the same, however many questions it has. ``--check`` files are only
measured. The model is a linear score plus a small layer of tanh units, fitted with a pairwise logistic loss against all
other candidates of the same question; questions of the category ``adversarial`` take no part.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.candidate_retrieval import StageClock
from cogs.memory.evaluation import GUILD, Outcome, Query, TemporaryFolder, ingest, metrics_of, read_evaluation
from cogs.memory.memory_service import MemoryService
from cogs.memory.records import Scope
from cogs.memory.rerankers import structure
from cogs.memory.rerankers.structure import CLIP, TOP, StructureWeights
from cogs.memory.rerankers.structure_features import structure_features
from profiles import load_profile

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

UNITS = 16
MEMBERS = 4
"""Networks fitted from different seeds and averaged: their quirks cancel out."""
STEPS = 300
QUESTIONS_A_STEP = 512
WEIGHT_DECAY = 2e-3
DROPOUT = 0.2
LEAST_SPREAD = 0.02
"""A feature with a smaller standard deviation in the data gets no weight."""


@dataclass(frozen=True)
class Example:
    """One question with its best candidates by base score."""

    query: Query
    candidates: tuple[int, ...]
    values: NDArray[np.float32]
    """(candidates, features)"""
    file: str

    @property
    def labels(self) -> NDArray[np.bool_]:
        """(candidates,) whether each answers."""
        return np.array([i in self.query.relevant for i in self.candidates])


async def collect(path: Path) -> tuple[list[str], list[Example]]:
    """Run a file's questions through the real retrieval and return names and examples."""
    channels = read_evaluation(path)
    examples: list[Example] = []
    names: list[str] = []
    with TemporaryFolder() as folder:
        async with MemoryService.on_folder(load_profile("embedded"), folder) as memory:
            await ingest(memory, channels)
            for channel in channels:
                scope = Scope(GUILD, frozenset([channel.channel_id]))
                for query in channel.queries:
                    async with memory.retrieval.encoding(query.text) as encoding:
                        pool = await memory.retrieval.pool(query.text, encoding, scope, StageClock())
                    best = await memory.retrieval.load(scope, pool, pool.best(TOP))
                    names, values = structure_features(best)
                    examples.append(Example(query, tuple(best.candidates), values, path.name))
    return names, examples


def fit(names: list[str], examples: list[Example]) -> StructureWeights:
    """Fit the ranker to the examples that can be learned from."""
    import torch

    usable = [e for e in examples if e.query.category != "adversarial" and e.labels.any() and not e.labels.all()]
    together = np.concatenate([e.values for e in usable])
    mean, spread = together.mean(axis=0), together.std(axis=0)
    dead = spread < LEAST_SPREAD
    scale = np.where(dead, 1, spread).astype(np.float32)
    standard = [np.where(dead, 0, np.clip((e.values - mean) / scale, -CLIP, CLIP)) for e in usable]
    counts = {file: sum(e.file == file for e in usable) for file in {e.file for e in usable}}
    chances = torch.tensor([1 / counts[e.file] for e in usable])
    members = [_fit_member(standard, [e.labels for e in usable], chances, seed) for seed in range(MEMBERS)]
    live = (~dead).astype(np.float32)
    return StructureWeights(
        names=tuple(names),
        mean=mean.astype(np.float32),
        scale=scale,
        weight=np.mean([m[0] for m in members], axis=0) * live,
        hidden=np.concatenate([m[1] for m in members]) * live,
        bias=np.concatenate([m[2] for m in members]),
        output=(np.concatenate([m[3] for m in members]) / MEMBERS).astype(np.float32),
    )


def _fit_member(
    standard: list[NDArray[np.float32]], labels: list[NDArray[np.bool_]], chances: Tensor, seed: int
) -> tuple[NDArray[np.float32], ...]:
    """Fit one linear score with a hidden layer; return linear (features,), hidden (units, features), bias, output."""
    import torch
    from torch.nn.functional import dropout, softplus

    torch.manual_seed(seed)
    longest, width = max(map(len, labels)), standard[0].shape[1]
    values = torch.zeros(len(labels), longest, width)
    positive = torch.zeros(len(labels), longest)
    present = torch.zeros(len(labels), longest, dtype=torch.bool)
    for row, (features, answers) in enumerate(zip(standard, labels, strict=True)):
        values[row, : len(answers)] = torch.from_numpy(features)
        positive[row, : len(answers)] = torch.from_numpy(answers)
        present[row, : len(answers)] = True
    linear, hidden = torch.zeros(width), torch.randn(UNITS, width) / width**0.5
    bias, output = torch.zeros(UNITS), torch.randn(UNITS) * 0.1
    parameters = [p.requires_grad_() for p in (linear, hidden, bias, output)]
    optimizer = torch.optim.Adam(parameters)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 0.015 * (1 - step / STEPS) + 2e-4
        rows = torch.multinomial(chances, QUESTIONS_A_STEP, replacement=True)
        x, y = values[rows], positive[rows]
        scores = x @ linear + dropout(torch.tanh(x @ hidden.T + bias), DROPOUT) @ output  # (questions, candidates)
        others = scores.masked_fill((y > 0) | ~present[rows], -1e9).logsumexp(dim=1)
        loss = ((softplus(others[:, None] - scores) * y).sum(dim=1) / y.sum(dim=1)).mean()
        decay = (linear**2).sum() + (output**2).sum() + 0.3 * (hidden**2).sum()
        optimizer.zero_grad()
        (loss + WEIGHT_DECAY * decay).backward()
        optimizer.step()
    return tuple(p.detach().numpy() for p in parameters)


def measure(weights: StructureWeights, names: list[str], examples: list[Example]) -> dict[str, float]:
    """Return the metrics of the fitted order over the examples that are not adversarial."""
    outcomes = []
    for example in examples:
        if example.query.category == "adversarial":
            continue
        order = np.argsort(-weights.score(names, example.values), kind="stable")
        found = tuple(example.candidates[row] for row in order)
        outcomes.append(Outcome(example.query, found, 0.0))
    return metrics_of(outcomes, ("R@10", "hit@1", "nDCG@10"))


def main() -> None:
    """Fit, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--check", nargs="*", type=Path, default=[], metavar="FILE")
    arguments = parser.parse_args()
    data = {path: asyncio.run(collect(path)) for path in [*arguments.files, *arguments.check]}
    names = data[arguments.files[0]][0]
    weights = fit(names, [example for path in arguments.files for example in data[path][1]])
    for path, (_, examples) in data.items():
        print(
            f"{path.name:24} {'fitted ' if path in arguments.files else 'checked'} {measure(weights, names, examples)}"
        )
    note = "Written by tests/evaluation/fit_structure.py, fitted to: " + ", ".join(p.name for p in arguments.files)
    target = Path(structure.__file__).with_name(structure.WEIGHTS_FILE)
    target.write_text(json.dumps({"note": note, **weights.to_json()}, indent=1) + "\n", "utf-8")
    print(f"wrote {target.name}")


if __name__ == "__main__":
    main()
