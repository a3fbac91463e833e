"""The database server restarts, is cut off or slow: answers say so, heal, and nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cogs.memory import ingest_lane
from cogs.memory.exceptions import StoreError, StoreTimeout, StoreUnreachable
from cogs.memory.memory_service import MemoryService
from cogs.memory.model_loading import ModelSources
from cogs.memory.records import Scope
from cogs.memory.stores import postgres_dense
from cogs.memory.stores.postgres import PostgresStore
from cogs.memory.worker import ModelWorker
from profiles import load_profile
from tests.conftest import CHANNEL, GUILD, said
from tests.postgres_server import TEST_SCHEMA, NoPostgres, stopped
from tests.stores.samples import emptied
from tests.unreliable_network import UnreliableNetwork, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder

SCOPE = Scope(GUILD, frozenset([CHANNEL]))
LONG_S, NO_TIME_S = 60.0, 0.0


@pytest.fixture
async def network(postgres_dsn: str) -> AsyncIterator[UnreliableNetwork]:
    async with UnreliableNetwork(postgres_dsn) as between:
        yield between


@pytest.fixture
async def store(network: UnreliableNetwork, postgres_dsn: str) -> PostgresStore:
    await (await emptied(PostgresStore(postgres_dsn, schema=TEST_SCHEMA))).close()
    return PostgresStore(network.dsn, schema=TEST_SCHEMA, read_s=LONG_S, query_deadline_s=LONG_S)


@pytest.fixture
async def memory(
    store: PostgresStore, tmp_path: Path, load_shared: LoadEncoder, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MemoryService]:
    """A memory behind the network, with time enough and two messages that can be found."""
    monkeypatch.setattr(ingest_lane, "RETRY_S", 0.05)
    monkeypatch.setattr(postgres_dense, "DEADLINE_S", LONG_S)
    sources = ModelSources(tmp_path / "models")
    async with MemoryService(load_profile("embedded"), store, ModelWorker(), sources, load=load_shared) as service:
        await service.remember([said(1, "the samovar is broken"), said(2, "lemon cake on friday then")])
        await service.queue.embedded()
        yield service


def hurry(store: PostgresStore, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Give reads so much time."""
    store._deadline_s = store.connections.read_s = seconds
    monkeypatch.setattr(postgres_dense, "DEADLINE_S", seconds)


async def answers(memory: MemoryService, message_id: int, query: str) -> bool:
    """Whether a message is found again, and the answer has nothing to complain of."""
    try:
        recall = await memory.recall(query, SCOPE)
    except StoreError:
        return False
    return message_id in {result.message.id for result in recall.results} and not recall.trace.degraded


async def test_a_cut_network_is_told_and_heals_and_what_was_said_meanwhile_is_kept(
    memory: MemoryService, network: UnreliableNetwork
) -> None:
    await network.cut()
    with pytest.raises(StoreUnreachable, match="cannot be reached"):
        await memory.recall("what is broken", SCOPE)
    await memory.remember([said(3, "the kettle is broken too")])

    async def noticed() -> bool:
        return "cannot be reached" in (memory.queue.problem or "")

    await eventually(noticed)
    await network.mend()
    await eventually(lambda: answers(memory, 3, "kettle"))
    assert {m.id async for m in memory.store.iterate(GUILD)} == {1, 2, 3}
    assert await answers(memory, 1, "samovar")


async def test_a_server_that_is_restarted_is_told_and_heals_and_what_was_said_meanwhile_is_kept(
    memory: MemoryService, postgres_dsn: str
) -> None:
    try:
        with stopped(postgres_dsn):
            with pytest.raises(StoreUnreachable, match="cannot be reached"):
                await memory.recall("what is broken", SCOPE)
            await memory.remember([said(3, "the kettle is broken too")])
    except NoPostgres as reason:
        pytest.skip(str(reason))
    await eventually(lambda: answers(memory, 3, "kettle"))
    assert {m.id async for m in memory.store.iterate(GUILD)} == {1, 2, 3}


async def test_a_network_that_swallows_everything_is_told_in_time_and_heals(
    memory: MemoryService, store: PostgresStore, network: UnreliableNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.swallow()
    hurry(store, monkeypatch, NO_TIME_S)
    with pytest.raises(StoreTimeout, match="took too long"):
        await memory.recall("what is broken", SCOPE)
    await memory.remember([said(3, "the kettle is broken too")])
    await network.swallowed.wait()
    hurry(store, monkeypatch, LONG_S)
    network.let_through()
    await eventually(lambda: answers(memory, 3, "kettle"))
    assert {m.id async for m in store.iterate(GUILD)} == {1, 2, 3}


async def test_connections_that_are_cut_in_the_middle_of_writes_lose_nothing_acknowledged(
    memory: MemoryService, store: PostgresStore, network: UnreliableNetwork
) -> None:
    acknowledged: set[int] = set()
    for i in range(10, 40):
        if i % 3 == 0:
            network.swallow()
        await memory.remember([said(i, f"message {i}")])
        if i % 3 == 0:
            await network.swallowed.wait()  # half a transaction is on its way
            await network.cut()
            network.let_through()
            await network.mend()
        await memory.queue.stored()
        acknowledged.add(i)
    assert {m.id async for m in store.iterate(GUILD)} == {1, 2, *acknowledged}
    await memory.queue.embedded()
    assert (await store.stats(GUILD)).awaiting == 0


async def test_a_slow_keyword_search_leaves_the_search_by_meaning_and_says_so(
    memory: MemoryService, store: PostgresStore
) -> None:
    store._deadline_s = NO_TIME_S
    recall = await memory.recall("what is broken", SCOPE)
    assert recall.results[0].message.id == 1
    [sentence] = recall.trace.degraded
    assert sentence.startswith("Found by meaning alone: ")
    assert "took too long" in sentence
    store._deadline_s = LONG_S
    assert await answers(memory, 1, "what is broken")  # the same question: such an answer is not kept


async def test_a_slow_search_by_meaning_leaves_the_keywords_and_says_so(
    memory: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_dense, "DEADLINE_S", NO_TIME_S)
    recall = await memory.recall("lemon cake", SCOPE)
    assert recall.results[0].message.id == 2
    [sentence] = recall.trace.degraded
    assert sentence.startswith("Found by words alone: ")
    monkeypatch.setattr(postgres_dense, "DEADLINE_S", LONG_S)
    assert await answers(memory, 2, "lemon cake")


async def test_a_slow_network_costs_the_keywords_and_says_so(
    memory: MemoryService, store: PostgresStore, network: UnreliableNetwork
) -> None:
    store._deadline_s = network.delay_s = 0.05
    recall = await memory.recall("what is broken", SCOPE)
    assert recall.results[0].message.id == 1
    assert recall.trace.degraded[0].startswith("Found by meaning alone: ")
    store._deadline_s, network.delay_s = LONG_S, 0.0
    assert await answers(memory, 1, "what is broken")


async def test_a_memory_that_cannot_be_counted_answers_all_the_same(
    memory: MemoryService, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.forget_caches(GUILD)

    async def slow(*_: object) -> None:
        raise StoreTimeout("The database took too long to answer.")

    monkeypatch.setattr(store, "oldest", slow)
    recall = await memory.recall("what is broken", SCOPE)
    assert recall.results[0].message.id == 1
    assert recall.trace.degraded == (
        "How far the memory reaches could not be seen: The database took too long to answer.",
    )
