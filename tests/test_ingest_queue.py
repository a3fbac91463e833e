"""Events are applied in order; the last state wins."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cogs.memory import ingest_lane
from cogs.memory.exceptions import ScoringFailed, StoreError
from cogs.memory.ingest_lane import Delete, Event, Upsert, _merge
from cogs.memory.records import Scope
from tests.conftest import CHANNEL, GUILD, START, said
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.memory_service import MemoryService
    from cogs.memory.records import Embedding, StoredMessage
    from tests.conftest import OpenMemory

SCOPE = Scope(GUILD, frozenset([CHANNEL]))


async def texts(memory: MemoryService) -> dict[int, str]:
    return {message.id: message.content async for message in memory.store.iterate(GUILD)}


async def test_what_is_remembered_is_stored_and_embedded(memory: MemoryService) -> None:
    await memory.remember([said(1, "the samovar is broken"), said(2, "buy a new one")])
    await memory.queue.embedded()
    stats = await memory.stats(GUILD)
    assert (stats.messages, stats.embedded, stats.awaiting) == (2, 2, 0)


async def test_an_edit_replaces_and_a_deletion_removes_in_the_order_they_came(memory: MemoryService) -> None:
    first = said(1, "tea at five")
    await memory.remember([first, said(2, "coffee")])
    await memory.remember([replace(first, content="tea at six", edited_at=START + timedelta(hours=1))])
    await memory.forget(GUILD, [2])
    await memory.remember([said(2, "coffee")])  # a replay of what is gone
    await memory.queue.embedded()
    assert await texts(memory) == {1: "tea at six"}


async def test_random_histories_end_in_their_last_state(memory: MemoryService) -> None:
    random_ = random.Random(11)
    expected: dict[int, str] = {}
    gone: set[int] = set()
    for step in range(400):
        message_id = random_.randint(1, 60)
        if random_.random() < 0.25:
            await memory.forget(GUILD, [message_id])
            gone.add(message_id)
            expected.pop(message_id, None)
        else:
            text = f"state {step}"
            edited = START + timedelta(days=1, seconds=step)
            await memory.remember([replace(said(message_id, text), edited_at=edited)])
            if message_id not in gone:
                expected[message_id] = text
    await memory.queue.embedded()
    assert await texts(memory) == expected
    found = await memory.recall("which state", SCOPE, limit=50)
    assert {result.message.id for result in found.results} <= expected.keys()


async def test_what_was_not_embedded_is_taken_up_after_a_restart(open_memory: OpenMemory) -> None:
    async with open_memory() as memory:
        await memory.store.upsert([said(1, "the samovar is broken")])
    async with open_memory() as memory:
        await memory.queue.embedded()
        assert (await memory.stats(GUILD)).embedded == 1


async def test_a_look_at_the_work_list_that_began_earlier_does_not_count_as_done(
    memory: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow store: it is asked for work, a message is stored, and only then it answers that there was none."""
    claim, asked, answered = memory.store.claim_unembedded, asyncio.Event(), asyncio.Event()

    async def slow(limit: int) -> list[StoredMessage]:
        waiting = await claim(limit)
        if not asked.is_set():
            asked.set()
            await answered.wait()
        return waiting

    await memory.queue.embedded()
    monkeypatch.setattr(memory.store, "claim_unembedded", slow)
    memory.queue.take_up_work()
    await asked.wait()
    await memory.remember([said(1, "the samovar is broken")])
    await memory.queue.stored()
    embedded = asyncio.create_task(memory.queue.embedded())
    while memory.queue._lanes[0]._idle.is_set():  # noqa: ASYNC110  # until it waits for what follows
        await asyncio.sleep(0)
    answered.set()
    await embedded
    assert (await memory.stats(GUILD)).embedded == 1


def test_neighbouring_events_of_one_kind_are_joined() -> None:
    a, b, c = said(1, "a"), said(2, "b"), said(3, "c")
    events: list[Event] = [
        Upsert((a,)),
        Upsert((b,)),
        Delete(GUILD, (1,)),
        Delete(GUILD, (2,)),
        Delete(11, (3,)),
        Upsert((c,)),
    ]
    assert _merge(events) == [Upsert((a, b)), Delete(GUILD, (1, 2)), Delete(11, (3,)), Upsert((c,))]


async def test_a_message_that_no_store_can_take_does_not_stop_the_others(memory: MemoryService) -> None:
    await memory.remember([said(1, "first"), said(2, "lone \ud800 surrogate"), said(3, "third")])
    await memory.queue.embedded()
    assert await texts(memory) == {1: "first", 3: "third"}
    assert memory.queue.refused == 1


async def test_waiting_on_a_stopped_queue_is_an_error_and_no_hang(memory: MemoryService) -> None:
    await memory.queue.stop()
    await memory.remember([said(1, "never applied")])
    with pytest.raises(StoreError, match="stopped taking in"):
        await memory.queue.stored()
    memory.queue.start()


async def test_a_failing_embedder_is_told_until_it_works_again_whatever_is_stored(
    memory: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_lane, "RETRY_S", 0.01)
    embed = memory.embedding.embed

    async def failing(_: Sequence[StoredMessage]) -> list[Embedding]:
        raise ScoringFailed("The embedder has a headache.")

    monkeypatch.setattr(memory.embedding, "embed", failing)
    await memory.remember([said(1, "the samovar is broken")])
    await until(lambda: memory.queue.problem)
    await memory.remember([said(2, "buy a new one")])
    await memory.queue.stored()
    assert {memory.queue.problem, memory.queue.problem_of(GUILD)} == {"The embedder has a headache."}
    monkeypatch.setattr(memory.embedding, "embed", embed)
    await memory.queue.embedded()
    assert memory.queue.problem is None
    assert (await memory.stats(GUILD)).embedded == 2
