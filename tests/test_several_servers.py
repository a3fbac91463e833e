"""One of several database servers is away: its guilds wait, in their order, and those of the others do not."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cogs.memory import ingest_lane
from cogs.memory.erasure import Erasure
from cogs.memory.exceptions import StoreUnreachable
from cogs.memory.ingest_lane import Delete, Upsert
from cogs.memory.ingest_queue import IngestQueue
from cogs.memory.memory_service import MemoryService
from cogs.memory.model_loading import ModelSources
from cogs.memory.records import ChannelInfo, QuotingReply, Scope
from cogs.memory.stores.postgres import PostgresStore
from cogs.memory.stores.routed import RoutedStore
from cogs.memory.surface import event_line
from cogs.memory.surface.event_line import ChannelGone, EventLine, Named, Said, Unsaid
from cogs.memory.surface.guild_settings import GuildSettings, GuildSettingsStore
from cogs.memory.worker import ModelWorker
from profiles import load_profile
from tests.conftest import CHANNEL, START, said
from tests.faults.instant_embedding import instant_embedding
from tests.postgres_server import TEST_SCHEMA
from tests.stores.samples import emptied
from tests.unreliable_network import UnreliableNetwork
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder
    from cogs.memory.ingest_lane import Event
    from cogs.memory.records import StoredMessage

NEAR, FAR, FAR_TOO = 10, 10 | 1 << 22, 11 | 1 << 22
"""A guild of the server that is always there, and two of the one that is not."""
AWAY = "cannot be reached"


@pytest.fixture
async def network(postgres_dsn: str) -> AsyncIterator[UnreliableNetwork]:
    async with UnreliableNetwork(postgres_dsn) as between:
        yield between


@pytest.fixture
async def both(network: UnreliableNetwork, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> RoutedStore:
    """Two empty stores, not open yet; the second is behind the network."""
    monkeypatch.setattr(ingest_lane, "RETRY_S", 0.02)
    far = f"{TEST_SCHEMA}_far"
    for schema in (TEST_SCHEMA, far):
        await (await emptied(PostgresStore(postgres_dsn, schema=schema))).close()
    return RoutedStore([PostgresStore(postgres_dsn, schema=TEST_SCHEMA), PostgresStore(network.dsn, schema=far)])


@pytest.fixture
async def memory(both: RoutedStore, tmp_path: Path, load_shared: LoadEncoder) -> AsyncIterator[MemoryService]:
    sources = ModelSources(tmp_path / "models")
    async with MemoryService(load_profile("embedded"), both, ModelWorker(), sources, load=load_shared) as service:
        yield service


@asynccontextmanager
async def queue_of(store: RoutedStore, *, size: int = 10_000) -> AsyncIterator[IngestQueue]:
    """A running queue whose embedder costs nothing."""
    await store.open()
    queue = IngestQueue(store, await instant_embedding(store), size=size)
    queue.start()
    try:
        yield queue
    finally:
        await queue.stop()
        await store.close()


async def texts(store: RoutedStore, guild_id: int) -> dict[int, str]:
    return {message.id: message.content async for message in store.iterate(guild_id)}


def state(message_id: int, text: str, guild_id: int) -> StoredMessage:
    """A state of a message; of two, nothing but their order says which is the later."""
    return replace(said(message_id, text, guild_id=guild_id), edited_at=START + timedelta(days=1))


async def test_guilds_of_the_other_server_go_on_and_those_that_wait_lose_nothing(
    memory: MemoryService, both: RoutedStore, network: UnreliableNetwork
) -> None:
    queue = memory.queue
    await network.cut()
    await memory.remember([state(1, "tea at five", FAR), state(1, "the samovar is broken", NEAR)])
    await memory.remember([state(1, "tea at six", FAR), state(2, "lemon cake", FAR)])
    await memory.forget(FAR, [2])
    await until(lambda: AWAY in (queue.problem_of(FAR) or ""))
    waiting = asyncio.create_task(queue.stored())

    await memory.remember([said(2, "the kettle is broken too", guild_id=NEAR)])
    async with asyncio.timeout(PATIENCE_S):
        await queue.stored(NEAR)
    assert (await texts(both, NEAR)).keys() == {1, 2}
    await until_embedded(both, NEAR, 2)
    found = await memory.recall("what is broken", Scope(NEAR, frozenset([CHANNEL])))
    assert {result.message.id for result in found.results} == {1, 2}
    assert found.trace.degraded == ()  # its own messages do not wait
    assert queue.problem_of(NEAR) is None
    assert AWAY in (queue.problem or "")
    assert not waiting.done()
    assert queue.holds(Scope(FAR, frozenset([CHANNEL])))

    await network.mend()
    await queue.embedded()
    await waiting
    assert await texts(both, FAR) == {1: "tea at six"}
    assert (await both.stats(FAR)).awaiting == 0
    assert queue.problem is None


async def until_embedded(store: RoutedStore, guild_id: int, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await store.stats(guild_id)).embedded < count:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.02)


async def test_a_server_that_swallows_everything_keeps_no_other_from_its_vectors(
    both: RoutedStore, network: UnreliableNetwork
) -> None:
    async with queue_of(both) as queue:
        network.swallow()
        await queue.put(Upsert((said(1, "tea", guild_id=FAR),)))
        queue.take_up_work()
        await network.swallowed.wait()
        for start in range(0, 600, 100):
            await queue.put(Upsert(tuple(said(start + i, f"text {start + i}", guild_id=NEAR) for i in range(1, 101))))
        await until_embedded(both, NEAR, 600)
        network.let_through()
        await queue.embedded()
        assert await texts(both, FAR) == {1: "tea"}
        assert (await both.stats(FAR)).embedded == 1


async def test_what_waits_is_bounded_and_leaves_the_others_room(both: RoutedStore, network: UnreliableNetwork) -> None:
    async with queue_of(both, size=8) as queue:
        await network.cut()
        await queue.put(Delete(FAR, (99,)))
        await until(lambda: queue.problem)  # the consumer has it in hand
        for i in range(1, 5):
            await queue.put(Upsert((said(i, "tea", guild_id=FAR),)))
        flood = asyncio.create_task(queue.put(Upsert((said(5, "tea", guild_id=FAR), said(1, "cake", guild_id=NEAR)))))
        async with asyncio.timeout(PATIENCE_S):
            while not await texts(both, NEAR):  # noqa: ASYNC110  # the half for which there is room
                await asyncio.sleep(0.02)
            for i in range(2, 30):
                await queue.put(Upsert((said(i, "cake", guild_id=NEAR),)))
            await queue.stored(NEAR)
        assert queue.waiting == 4
        assert not flood.done()
        await network.mend()
        await flood
        await queue.stored()
        assert (await texts(both, FAR)).keys() == {1, 2, 3, 4, 5}
        assert len(await texts(both, NEAR)) == 29


@pytest.mark.parametrize("seed", range(3))
async def test_interleaved_histories_of_guilds_end_in_their_last_state_however_the_network_fails(
    both: RoutedStore, network: UnreliableNetwork, seed: int
) -> None:
    rng = random.Random(seed)
    expected: dict[int, dict[int, str]] = {guild: {} for guild in (NEAR, FAR, FAR_TOO)}
    gone: set[tuple[int, int]] = set()
    async with queue_of(both, size=40) as queue:
        is_cut = False
        for step in range(250):
            if rng.random() < 0.06:
                await (network.mend() if is_cut else network.cut())
                is_cut = not is_cut
            async with asyncio.timeout(PATIENCE_S):
                put = asyncio.create_task(queue.put(_anything(rng, step, expected, gone)))
                await asyncio.wait([put], timeout=0.01)
                if not put.done() and is_cut:  # no room until the server is back
                    await network.mend()
                    is_cut = False
                await put
        if is_cut:
            await network.mend()
        await queue.embedded()
        for guild, last in expected.items():
            assert await texts(both, guild) == last
            assert (await both.stats(guild)).awaiting == 0
        assert queue.refused == 0
        assert queue.problem is None


def _anything(rng: random.Random, step: int, expected: dict[int, dict[int, str]], gone: set[tuple[int, int]]) -> Event:
    """A deletion, or states of messages of one guild or of several; notes what must be left in the end."""
    guilds = list(expected)
    if rng.random() < 0.15:
        guild, message_id = rng.choice(guilds), rng.randint(1, 25)
        gone.add((guild, message_id))
        expected[guild].pop(message_id, None)
        return Delete(guild, (message_id,))
    said_now = []
    for part in range(rng.randint(1, 4)):
        guild, message_id, text = rng.choice(guilds), rng.randint(1, 25), f"state {step}.{part}"
        said_now.append(state(message_id, text, guild))
        if (guild, message_id) not in gone:
            expected[guild][message_id] = text
    return Upsert(tuple(said_now))


async def test_what_the_gateway_tells_of_the_other_guilds_goes_on(
    memory: MemoryService, both: RoutedStore, network: UnreliableNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_line, "RETRY_S", 0.02)
    settings = GuildSettingsStore(memory.store)
    line = EventLine(Erasure(memory), settings)
    await settings.put(NEAR, GuildSettings(denied_channels=frozenset([CHANNEL + 1])))
    await network.cut()
    line.start()
    line.put(Named((ChannelInfo(CHANNEL, FAR, "tea-room"),)))  # goes to the store itself
    line.put(Said(said(1, "the far samovar", guild_id=FAR), None))
    line.put(Said(said(2, "the far cake", guild_id=FAR), None))
    line.put(Said(said(1, "the near samovar", guild_id=NEAR), None))
    hidden = said(2, "not to be remembered", guild_id=NEAR, channel_id=CHANNEL + 1)
    line.put(Said(hidden, None, edited=True))  # looks whether it is stored
    line.put(Said(said(3, "the near cake", guild_id=NEAR), None))
    line.put(Unsaid(NEAR, (1,)))
    line.put(ChannelGone(FAR, CHANNEL + 1))
    line.put(Unsaid(FAR, (2,)))
    await until(lambda: line.waiting == 5)
    async with asyncio.timeout(PATIENCE_S):
        await memory.queue.stored(NEAR)
        assert (await Erasure(memory, [line]).forget_channel(NEAR, CHANNEL + 1)).messages == 0
    assert await texts(both, NEAR) == {3: "the near cake"}
    await network.mend()
    await line.drained()
    await memory.queue.stored()
    await line.stop()
    assert await texts(both, FAR) == {1: "the far samovar"}
    assert [channel.name for channel in await both.channels(FAR)] == ["tea-room"]
    assert line.given_up == 0


async def test_replies_that_quote_what_is_gone_are_found_while_one_server_is_away(
    both: RoutedStore, network: UnreliableNetwork
) -> None:
    async with queue_of(both):
        await both.upsert([said(1, "the samovar is broken", guild_id=NEAR)])
        await both.put_reply(QuotingReply(NEAR, CHANNEL, (9,)), [said(1, "something else", guild_id=NEAR)])
        await network.cut()
        assert [reply.id for reply in await both.stale_replies(9)] == [9]
        await both.drop_reply(NEAR, 9)
        with pytest.raises(StoreUnreachable):
            await both.stale_replies(9)
        await network.mend()
