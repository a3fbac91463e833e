"""A reranker on another machine: what waits for the network holds up nobody here."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cogs.memory.model_cache import ModelCache
from cogs.memory.model_reranking import ModelReranking
from cogs.memory.rerankers.factory import load_reranker
from cogs.memory.worker import ModelWorker
from profiles import MemoryProfile
from tests.plugin_rerankers import PROFILE, Loader, WordReranker, documents, pairs_for
from tests.rerankers.rerank_server import Answer, RerankServer
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from cogs.memory.serving_model import LoadReranker


@pytest.fixture
def worker() -> Iterator[ModelWorker]:
    worker = ModelWorker("test-worker")
    yield worker
    worker.shutdown()


@asynccontextmanager
async def served(profile: MemoryProfile, worker: ModelWorker, load: LoadReranker) -> AsyncIterator[ModelReranking]:
    models = ModelCache()
    reranking = ModelReranking(profile, worker, models, load=load)
    await reranking.start()
    await reranking.ready()
    yield reranking
    await reranking.close()
    models.close()


def remote_profile(url: str, **changes: int) -> MemoryProfile:
    return MemoryProfile(name="test", reranker="remote", reranker_model="m", reranker_url=url, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_remote", [False, True])
async def test_only_a_model_that_computes_here_takes_a_turn_on_the_model_thread(
    worker: ModelWorker, is_remote: bool
) -> None:
    reranker = WordReranker(is_remote=is_remote)
    async with served(PROFILE, worker, Loader(reranker)) as reranking:
        reranker.threads.clear()
        reranker.entered.clear()
        reranker.gate.clear()
        call = asyncio.create_task(reranking.score(pairs_for("q", documents(5)), deadline_ms=None))
        await until(reranker.entered.is_set)
        other = asyncio.create_task(worker.run(threading.current_thread))
        done, _ = await asyncio.wait([other], timeout=60 if is_remote else 0.1)
        assert bool(done) is is_remote
        reranker.gate.set()
        assert (await call).scored == 5
        assert (await other).name == "test-worker"
    assert ("test-worker" in reranker.threads) is not is_remote


async def test_a_server_that_hangs_costs_the_deadline_and_no_more(worker: ModelWorker) -> None:
    with RerankServer() as server:
        profile = remote_profile(server.url, rerank_deadline_ms=150, injection_deadline_ms=150)
        async with served(profile, worker, load_reranker) as reranking:
            wakes = threading.Event()
            server.answers = [Answer(hold=wakes)] * 20
            scores = await reranking.score(pairs_for("q", documents(5)), deadline_ms=150)
            assert (scores.scored, scores.reason) == (0, "the deadline of 0.15 s left no time for any of 5")
            await asyncio.wait_for(worker.run(int), 60)  # is not held up meanwhile
            assert reranking.get_statistics()["timeouts"] == 1
            wakes.set()


async def test_guilds_take_turns_at_a_server_too(worker: ModelWorker) -> None:
    """One guild's many questions do not keep another's waiting until all of them are answered."""
    with RerankServer() as server:
        async with served(remote_profile(server.url), worker, load_reranker) as reranking:
            order: list[int] = []

            async def ask(guild: int, number: int) -> None:
                texts = [f"{guild} {number} {text}" for text in documents(40)]
                scores = await reranking.score(pairs_for(f"{guild} {number}", texts), deadline_ms=None, guild_id=guild)
                assert np.isfinite(scores.log_odds).all()
                order.append(guild)

            await asyncio.gather(*(ask(1, number) for number in range(8)), ask(2, 0))
    assert order.index(2) < 4
