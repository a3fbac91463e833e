"""What an asker may not read changes nothing in what he gets: not a result, a score, an order or a footer."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from cogs.memory.memory_service import MemoryService
from cogs.memory.records import Scope
from profiles import load_profile
from tests.conftest import CHANNEL, GUILD, START, said

if TYPE_CHECKING:
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder
    from cogs.memory.recall_records import Recall
    from cogs.memory.records import StoredMessage

WORDS = "tea samovar router port vpn key mat cake game thursday broken blue tin printer".split()  # noqa: SIM905
AUTHORS = ("Mia", "Tess", "dunk", "Jörg")
HIDDEN, ELSEWHERE = 21, 11
SCOPE = Scope(GUILD, frozenset([CHANNEL, 22]))
QUESTIONS = ("where is the key of the router?", "what did Mia say about tea", "samovar", "who has the blue tin? Will?")


def chat(seed: int, first: int, count: int, channels: tuple[int, ...], guild_id: int = GUILD) -> list[StoredMessage]:
    rng = random.Random(seed)
    return [
        said(
            first + i,
            " ".join(rng.choices(WORDS, k=rng.randint(2, 9))),
            author=rng.choice(AUTHORS),
            channel_id=rng.choice(channels),
            guild_id=guild_id,
        )
        for i in range(count)
    ]


def shown(recall: Recall) -> object:
    """All of an answer but how long it took."""
    trace = recall.trace
    return (
        recall.results,
        trace.candidates,
        trace.reranker,
        trace.reaches_back_to,
        trace.index_ready,
        trace.unembedded,
        trace.degraded,
        [(stage.name, stage.count) for stage in trace.stages],
    )


async def test_answers_are_the_same_with_and_without_what_the_asker_may_not_read(
    tmp_path: Path, load_shared: LoadEncoder
) -> None:
    hidden = chat(2, 10_000, 40, (HIDDEN,))
    hidden.append(replace(said(20_000, "will it rain", author="Will", channel_id=HIDDEN), author_handle="router"))
    hidden.append(replace(said(20_001, "the first of all", channel_id=HIDDEN), created_at=START.replace(year=2019)))
    elsewhere = chat(3, 30_000, 40, (CHANNEL, HIDDEN), ELSEWHERE)
    answers: list[list[object]] = []
    for name, more in (("without", []), ("with", [*hidden, *elsewhere])):
        async with MemoryService.on_folder(load_profile("embedded"), tmp_path / name, load=load_shared) as memory:
            await memory.remember(chat(1, 100, 60, (CHANNEL, 22)))
            await memory.queue.embedded()
            await memory.remember(more)
            await memory.forget(GUILD, [more[0].id] if more else [])
            await memory.queue.embedded()
            answers.append([shown(await memory.recall(question, SCOPE, limit=20)) for question in QUESTIONS])
            filtered = replace(SCOPE, author_ids=frozenset([said(1, "", author="Mia").author_id]))
            answers[-1].append(shown(await memory.recall(QUESTIONS[0], filtered, limit=20)))
    assert answers[0] == answers[1]


async def test_what_waits_is_told_to_those_who_may_read_it(tmp_path: Path, load_shared: LoadEncoder) -> None:
    everywhere = replace(SCOPE, channel_ids=SCOPE.channel_ids | {HIDDEN})
    async with MemoryService.on_folder(load_profile("embedded"), tmp_path, load=load_shared) as memory:
        await memory.remember(chat(1, 100, 20, (CHANNEL,)))
        await memory.queue.embedded()
        async with memory.embedding.swapping:  # nothing is embedded meanwhile
            await memory.remember([said(900, "the router is in the cellar", channel_id=HIDDEN)])
            assert memory.queue.holds(everywhere)
            assert not memory.queue.holds(SCOPE)
            await memory.queue.stored()
            assert not memory.queue.holds(everywhere)
            assert (await memory.recall("router in the cellar", everywhere)).trace.unembedded == 1
            assert (await memory.recall("router in the cellar", SCOPE)).trace.unembedded == 0
        await memory.queue.embedded()
        assert (await memory.recall("router in the cellar", everywhere)).trace.unembedded == 0
