"""Recall while its reranker model is missing, broken, hanging or out of memory, and while it is exchanged."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cogs.memory.exceptions import ModelUnavailable
from cogs.memory.memory_service import MemoryService
from cogs.memory.records import Scope
from profiles import load_profile
from tests.conftest import CHANNEL, GUILD, said
from tests.plugin_rerankers import WordReranker, too_large
from tests.tiny_models import chat_lines

from .figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from cogs.memory.embedding_service import LoadEncoder
    from cogs.memory.recall_records import Recall
    from cogs.memory.rerankers import Pair
    from profiles import MemoryProfile

SCOPE = Scope(GUILD, frozenset([CHANNEL]))
PROFILE = replace(
    load_profile("embedded"),
    reranker="cross_encoder",
    reranker_model="words",
    rerank_candidates=20,
    rerank_deadline_ms=1000,
    rerank_batch=4,
)
LONG_RELOADS = 100
PATIENCE_S = 600.0


@dataclass(frozen=True)
class State:
    """How the model is, and what must come of it."""

    name: str
    load: Callable[[MemoryProfile], WordReranker]
    reranks: bool
    """Whether everything is scored all the same; else the answer must say why not."""


class Late(WordReranker):
    """One whose load ends when it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()


class Hanging(WordReranker):
    """Passes its test at the load, then never comes back from a batch until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.in_service = False
        self.hangs, self.released = threading.Event(), threading.Event()

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Score as usual, or hang."""
        if self.in_service:
            self.hangs.set()
            self.released.wait(PATIENCE_S)
        return super().score(pairs)


def run(*, seed: int, scale: float) -> list[Figure]:
    """Walk through the states, then reload under 20 questions again and again."""
    figures = []
    for state in states():
        with tempfile.TemporaryDirectory() as folder:
            recalls, seconds = asyncio.run(ask_in_state(state, Path(folder)))
        answered = sum(bool(recall.results) for recall in recalls)
        told = sorted({text for recall in recalls for text in recall.trace.degraded})
        value = f"{answered} of {len(recalls)} answered, slowest {seconds:.2f} s; {told[0] if told else 'all reranked'}"
        asked = "all answered in full" if state.reranks else "all answered, each says why it is not reranked"
        figures.append(Figure(f"recall while the model is {state.name}", value, is_right(state, recalls), seed, asked))
    rounds = max(3, round(LONG_RELOADS * scale))
    with tempfile.TemporaryDirectory() as folder:
        answered, mixed = asyncio.run(reload_under_questions(Path(folder), rounds=rounds))
    value = f"{answered} of {20 * rounds} answered in full, {mixed} with scores of both models"
    right = answered == 20 * rounds and not mixed
    figures.append(Figure(f"reload during 20 recalls, × {rounds}", value, right, seed, "0 errors, 0 mixed"))
    return figures


def states() -> list[State]:
    """Return the states that a model can be in."""
    return [
        State("well", lambda _: WordReranker(), reranks=True),
        State("missing", _refused("The model is not on this machine."), reranks=False),
        State("truncated", _refused("The file is truncated."), reranks=False),
        State("still loading", lambda _: Late(), reranks=False),
        State("a hundred times slower", lambda _: WordReranker(ms_per_token=0.15), reranks=False),
        State("short of memory", lambda _: WordReranker(), reranks=True),
        State("out of memory", lambda _: WordReranker(), reranks=False),
        State("hanging", lambda _: Hanging(), reranks=False),
    ]


def is_right(state: State, recalls: list[Recall]) -> bool:
    """Whether each recall answered and said how."""
    complete = [recall.trace.reranked == recall.trace.rerank_of for recall in recalls]
    says_so = [bool(recall.trace.degraded) for recall in recalls]
    return all(recall.results for recall in recalls) and all(complete if state.reranks else says_so)


async def ask_in_state(state: State, folder: Path, load: LoadEncoder | None = None) -> tuple[list[Recall], float]:
    """Ask three questions, one after the other; return the answers and the seconds of the slowest."""
    recalls, slowest = [], 0.0
    models: list[WordReranker] = []

    def load_and_keep(profile: MemoryProfile) -> WordReranker:
        models.append(state.load(profile))
        if isinstance(models[-1], Late):
            models[-1].released.wait(PATIENCE_S)
        return models[-1]

    # where all must be scored, a machine that stands still for a second is no reason against it
    profile = replace(PROFILE, rerank_deadline_ms=None) if state.reranks else PROFILE
    async with MemoryService.on_folder(profile, folder, load=load, load_reranker=load_and_keep) as memory:
        await memory.remember([said(n, text) for n, text in enumerate(chat_lines(40), start=1)])
        await memory.queue.embedded()
        if state.name != "still loading":
            await asyncio.gather(memory.reranker.ready(), return_exceptions=True)
        for model in models:
            _turn(model, state)
        for question in ("router fixed backup", "red planet lunch", "pizza meeting friday"):
            started = time.monotonic()
            recalls.append(await asyncio.wait_for(memory.recall(question, SCOPE, limit=10), PATIENCE_S))
            slowest = max(slowest, time.monotonic() - started)
        for model in models:
            if isinstance(model, (Hanging, Late)):
                model.released.set()
    return recalls, slowest


async def reload_under_questions(folder: Path, *, rounds: int, load: LoadEncoder | None = None) -> tuple[int, int]:
    """Exchange the model while 20 questions run; return how many were answered in full, and with scores of both."""
    loads = 0

    def fresh(_: MemoryProfile) -> WordReranker:
        nonlocal loads
        loads += 1
        return WordReranker(key=f"words:{loads}", offset=1000.0 * (loads % 2), ms_per_token=0.005)

    answered = mixed = 0
    profile = replace(PROFILE, rerank_deadline_ms=None)
    async with MemoryService.on_folder(profile, folder, load=load, load_reranker=fresh) as memory:
        await memory.remember([said(n, text) for n, text in enumerate(chat_lines(40), start=1)])
        await memory.queue.embedded()
        await memory.reranker.ready()
        for number in range(rounds):
            questions = [f"router fixed backup {number} {index}" for index in range(20)]
            asked = [asyncio.create_task(memory.recall(question, SCOPE, limit=10)) for question in questions]
            await memory.reload(replace(profile, reranker_model=f"words {number}"))
            for recall in await asyncio.gather(*asked):
                odds = [result.rerank_log_odds for result in recall.results if result.rerank_log_odds is not None]
                answered += bool(odds) and recall.trace.reranked == recall.trace.rerank_of
                mixed += len({value > 500 for value in odds}) > 1
    return answered, mixed


def _refused(sentence: str) -> Callable[[MemoryProfile], WordReranker]:
    def load(_: MemoryProfile) -> WordReranker:
        raise ModelUnavailable(sentence)

    return load


def _turn(model: WordReranker, state: State) -> None:
    """Let a model that was well when it was loaded be as its state says."""
    if isinstance(model, Hanging):
        model.in_service = True
    if state.name == "a hundred times slower":
        model.ms_per_token *= 100
    if state.name == "short of memory":
        model.fault = too_large(8)
    if state.name == "out of memory":
        model.fault = too_large(0)
