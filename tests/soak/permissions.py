"""Who may read what, in random guilds against a brute-force oracle: the rules alone, and the search that obeys them."""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cogs.memory.records import Scope
from cogs.memory.stores.sqlite import SqliteStore
from tests.soak.figure import Figure
from tests.stores.samples import SPACE, embed_all, message, vector
from tests.surface import permission_oracle as oracle
from tests.surface.test_access import Coverage, audience_of, member_of

if TYPE_CHECKING:
    from collections.abc import Iterator

GUILDS: Final = 10_000
ASKERS: Final = 5
SEARCHED: Final = 500
QUESTIONS: Final = 20
"""In each of the searched guilds."""


def run(*, seed: int, scale: float) -> list[Figure]:
    """Ask in 10,000 guilds at scale 1, half of them as people make them, half as chance does."""
    guilds, searched = max(20, round(GUILDS * scale)), max(4, round(SEARCHED * scale))
    with tempfile.TemporaryDirectory(prefix="discord-memory-") as folder:
        search = asyncio.run(_search(Path(folder) / "memory", f"{seed} search", searched, seed))
    return [_requesters(guilds, seed), _audiences(guilds, seed), search]


def _worlds(seed: str, count: int) -> Iterator[tuple[random.Random, oracle.World]]:
    rng = random.Random(seed)
    for make in itertools.islice(itertools.cycle((oracle.chaotic_world, oracle.usual_world)), count):
        yield rng, make(rng, members=rng.choice((4, 8, 12)), channels=7)


def _requesters(guilds: int, seed: int) -> Figure:
    """What the rules let members and strangers read, against what the oracle does."""
    asked = leaks = missed = 0
    for rng, world in _worlds(f"{seed} requesters", guilds):
        audience = audience_of(world)
        for user in (*rng.sample(list(world.members), ASKERS - 1), rng.choice(world.strangers)):
            allowed, readable = audience.requester_channels(member_of(world, user)), oracle.readable_places(world, user)
            asked += 1
            leaks += len(allowed - readable)
            missed += len(readable - allowed)
    value = f"{leaks} leaks, {missed} places kept from somebody who may read them, over {asked:,} askers"
    name = f"{guilds:,} random guilds: what an asker may read"
    return Figure(name, value, not leaks and not missed, seed, "0 leaks")


def _audiences(guilds: int, seed: int) -> Figure:
    """Which channels may be quoted in which, knowing nobody, those named by overwrites, or everybody."""
    coverage, unsound = Coverage(), 0
    for _, world in _worlds(f"{seed} audiences", guilds):
        try:
            coverage.add(world)
        except AssertionError:  # a pair was proved that is not true
            unsound += 1
    blind, helped = coverage.shares()
    value = f"{unsound} guilds with an unsound pair; {blind:.0%} of {coverage.true:,} true pairs are proved without "
    value += f"knowing a member, {helped:.0%} knowing those that overwrites name"
    name = f"{guilds:,} random guilds: what a public reply may quote"
    return Figure(name, value, not unsound, seed, "0 unsound")


async def _search(folder: Path, seed_text: str, guilds: int, seed: int) -> Figure:
    """The same sentence in every channel of guilds whose channels have the same ids, in one database."""
    store = SqliteStore(folder)
    await store.open()
    await store.use_space(SPACE)
    worlds = [(rng, world) for rng, world in _worlds(seed_text, guilds)]
    numbers, places = itertools.count(1), dict[int, tuple[int, int]]()
    for guild_id, (_, world) in enumerate(worlds, start=1):
        here = []
        for place in (*world.channels, *world.threads):
            said = message(next(numbers), "the samovar is broken", channel_id=place)
            here.append(replace(said, guild_id=guild_id))
            places[said.id] = guild_id, place
        await store.upsert(here)
    await embed_all(store)
    while (await store.stats()).index_ready < 1:  # noqa: ASYNC110  # the protocol has nothing to wait for
        await asyncio.sleep(0.01)
    asked = leaks = missed = 0
    try:
        for guild_id, (rng, world) in enumerate(worlds, start=1):
            audience = audience_of(world)
            for _ in range(QUESTIONS):
                user = rng.choice([*world.members, *world.strangers])
                scope = Scope(guild_id, frozenset(audience.requester_channels(member_of(world, user))))
                readable = {(guild_id, place) for place in oracle.readable_places(world, user)}
                found = await _found(store, scope)
                asked += 1
                leaks += sum(places[i] not in readable for i in set().union(*found))
                missed += sum({places[i] for i in hits} != readable for hits in found[:2])
    finally:
        await store.close()
    value = f"{leaks} messages from where the asker may not read or of another guild, {missed} answers incomplete"
    name = f"{asked:,} searches by random members of {guilds:,} guilds that say the same"
    return Figure(name, value, not leaks and not missed, seed, "0 leaks, 0 crossings")


async def _found(store: SqliteStore, scope: Scope) -> list[set[int]]:
    """What both legs find, and what the messages around that are."""
    words = {hit.message_id for hit in await store.lexical(scope, ["samovar"], 99)}
    vectors = {hit.message_id for hit in await store.dense(scope, vector(1), 99)}
    around = (await store.neighbours(scope, sorted(words | vectors))).values()
    return [words, vectors, {i for each in around for i in each.ids() if i is not None}]
