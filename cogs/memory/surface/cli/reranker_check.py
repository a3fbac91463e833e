"""``bot.py doctor``: does the profile's reranker model load, order known texts, and keep the deadline here?"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.exceptions import MemoryCogError
from cogs.memory.model_cache import ModelCache
from cogs.memory.model_reranking import ModelReranking
from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.proof import TRIPLETS
from cogs.memory.surface.cli.model_at_hand import is_model_here
from cogs.memory.surface.cli.output import console
from cogs.memory.worker import ModelWorker

if TYPE_CHECKING:
    from cogs.memory.model_loading import ModelSources
    from profiles import MemoryProfile


async def check_reranker(profile: MemoryProfile, sources: ModelSources) -> list[str]:
    """Load and try the model, and print its proof of life; return the problems, one sentence each."""
    try:
        if not await asyncio.to_thread(is_model_here, profile, sources):
            console.print(
                f"[bold]reranker[/]  {profile.reranker_model} is not on this machine yet: the bot fetches it when it "
                "starts, and answers without it until then",
                highlight=False,
            )
            return []
        return await _try(profile, sources)
    except MemoryCogError as error:
        return [str(error)]


async def _try(profile: MemoryProfile, sources: ModelSources) -> list[str]:
    start = time.perf_counter()
    worker, models = ModelWorker(), ModelCache()
    reranking = ModelReranking(profile, worker, models, load=sources.load_reranker)
    try:
        await reranking.start()
        await reranking.ready()
        console.print(f"[bold]loaded[/]    {profile.reranker_model} in {time.perf_counter() - start:.1f} s")
        for number, triplet in enumerate(TRIPLETS):
            pairs = [Pair(triplet.query, text, f"Find what answers it ({number}).") for text in triplet[:0:-1]]
            scores = await reranking.score(pairs, deadline_ms=profile.rerank_deadline_ms)  # the answer comes last
            order = np.argsort(-scores.log_odds, kind="stable")  # what was not scored stays behind
            reranking.note_ranking(range(len(pairs)), order.tolist())
        return _told(reranking, profile)
    finally:
        await reranking.close()
        models.close()
        worker.shutdown(wait=False)


def _told(reranking: ModelReranking, profile: MemoryProfile) -> list[str]:
    figures = reranking.get_statistics()
    console.print(f"[bold]self-test[/] {figures['state']}: {figures['reason']}", highlight=False)
    if figures["score_mean"] is None:
        return ["The reranker model gave no scores in time: its deadline is too short for this machine."]
    per_document = float(figures["ms_per_document"] or 0)
    console.print(
        f"[bold]life[/]      the right answer put first in {float(figures['top1_changed_share'] or 0):.0%} of "
        f"{figures['rankings']} examples, moved {float(figures['mean_rank_move'] or 0):.1f} places; P(yes) "
        f"{float(figures['score_min'] or 0):.2f} to {float(figures['score_max'] or 0):.2f}, "
        f"{float(figures['score_mean']):.2f} on average; {per_document:.1f} ms a text, path {figures['path'] or '–'}, "
        f"{figures['timeouts']} out of time",
        highlight=False,
    )
    if reranking.state == "degraded":
        return [f"The reranker model {profile.reranker_model} is not to be trusted: {reranking.reason}."]
    return []
