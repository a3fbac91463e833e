"""What a public reply may draw on, in random guilds: never anything that one of its readers cannot read."""

from __future__ import annotations

import random

from cogs.memory.surface.access import Permit
from tests.surface import permission_oracle as oracle
from tests.surface.test_access import audience_of, member_of


def readable_for_all(world: oracle.World, asker: int, target: int) -> set[int]:
    """What the asker and every reader of the target can read, member by member."""
    quotable = {source for source, place in oracle.quotable_pairs(world) if place == target}
    return quotable & oracle.readable_places(world, asker)


def test_no_reply_in_10000_random_guilds_draws_on_what_one_of_its_readers_cannot_read() -> None:
    """Also when all rights change between the search and the sending: the next world is this one's future."""
    rng = random.Random(20_251_121)
    searched = sent = 0
    permit = Permit(1000, 1, 2000, public=True, channel_ids=frozenset(range(2000, 3010)))
    for number in range(10_000):
        make = oracle.usual_world if number % 4 == 0 else oracle.chaotic_world
        world = make(rng, members=4, channels=4)
        audience = audience_of(world)
        earlier = permit.place_id or 0
        kept = audience.still_allowed(permit, member_of(world, permit.member_id), permit.channel_ids)
        if kept:
            assert kept <= permit.channel_ids & readable_for_all(world, permit.member_id, earlier), f"guild {number}"
            sent += len(kept)
        asker, target = rng.choice(list(world.members)), rng.choice([*world.channels, *world.threads])
        sources = audience.public_scope(member_of(world, asker), target)
        if sources:
            assert sources <= readable_for_all(world, asker, target), f"guild {number}"
            searched += len(sources)
        permit = Permit(world.id, asker, target, public=True, channel_ids=sources or permit.channel_ids)
    assert searched > 5_000
    assert sent > 1_000
