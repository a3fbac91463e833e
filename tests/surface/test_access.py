"""The permission rules against a brute-force oracle; single cases are in `test_access_cases`."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from cogs.memory.surface.access import (
    Audience,
    ChannelKind,
    ChannelRules,
    GuildMember,
    GuildSnapshot,
    ThreadRules,
)

from . import permission_oracle as oracle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KINDS = {
    oracle.TEXT: ChannelKind.TEXT,
    oracle.NEWS: ChannelKind.TEXT,
    oracle.VOICE: ChannelKind.VOICE,
    oracle.STAGE: ChannelKind.VOICE,
    oracle.FORUM: ChannelKind.CONTAINER,
}


def audience_of(world: oracle.World, *, knows_named: bool = False, knows_all: bool = False) -> Audience:
    named = {entry.id for channel in world.channels.values() for entry in channel.overwrites if not entry.is_role}
    return Audience(
        GuildSnapshot(
            guild_id=world.id,
            owner_id=world.owner,
            roles=world.roles,
            channels={
                channel_id: ChannelRules(
                    kind=KINDS[channel.type],
                    role_overwrites={o.id: (o.allow, o.deny) for o in channel.overwrites if o.is_role},
                    member_overwrites={o.id: (o.allow, o.deny) for o in channel.overwrites if not o.is_role},
                    age_restricted=channel.nsfw,
                )
                for channel_id, channel in world.channels.items()
            },
            threads={
                thread_id: ThreadRules(thread.parent, private=thread.type == oracle.PRIVATE_THREAD)
                for thread_id, thread in world.threads.items()
            },
            named_members={
                user: frozenset(world.members[user].roles) if user in world.members else None for user in named
            }
            if knows_named or knows_all
            else {},
            role_sets=frozenset(
                frozenset(member.roles) for user, member in world.members.items() if user not in named | {world.owner}
            )
            if knows_all
            else None,
        )
    )


def member_of(world: oracle.World, user: int) -> GuildMember | None:
    if user not in world.members:
        return None
    member = world.members[user]
    joined = frozenset(thread_id for thread_id, thread in world.threads.items() if user in thread.joined)
    return GuildMember(user, frozenset(member.roles), member.timed_out, joined)


def is_adult(world: oracle.World, place: int) -> bool:
    channel = world.channels.get(world.threads[place].parent if place in world.threads else place)
    return channel is not None and channel.nsfw


def allowed_pairs(world: oracle.World, **knowledge: bool) -> set[tuple[int, int]]:
    audience = audience_of(world, **knowledge)
    places = [*world.channels, *world.threads]
    return {(source, target) for target in places for source in audience.public_channels(target)}


@pytest.mark.parametrize("make_world", [oracle.chaotic_world, oracle.usual_world])
def test_requester_reads_exactly_what_the_oracle_lets_him_read(make_world: Callable[..., oracle.World]) -> None:
    """10,000 questions about members and strangers, over both kinds of guild."""
    rng = random.Random(20)
    for _ in range(1000):
        world = make_world(rng, members=10)
        audience = audience_of(world)
        for user in (*rng.sample(list(world.members), 4), rng.choice(world.strangers)):
            assert audience.requester_channels(member_of(world, user)) == oracle.readable_places(world, user)


@pytest.mark.parametrize("make_world", [oracle.chaotic_world, oracle.usual_world])
def test_ephemeral_reply_draws_on_what_its_reader_may_see_and_keeps_adult_text_apart(
    make_world: Callable[..., oracle.World],
) -> None:
    rng = random.Random(21)
    for _ in range(300):
        world = make_world(rng, members=8)
        audience = audience_of(world)
        adult = {place for place in (*world.channels, *world.threads) if is_adult(world, place)}
        for place in (*world.channels, *world.threads, None, 4711):
            user = rng.choice([*world.members, *world.strangers])
            readable = oracle.readable_places(world, user)
            expected = readable if place in adult else readable - adult
            assert audience.ephemeral_scope(member_of(world, user), place) == expected


@dataclass
class Coverage:
    """Counts of (source, target) pairs."""

    proved: int = 0
    proved_with_members: int = 0
    true: int = 0

    def shares(self) -> tuple[float, float]:
        """Return which part of the true pairs is proved, without and with members."""
        return self.proved / self.true, self.proved_with_members / self.true

    def add(self, world: oracle.World, *, for_askers: bool = False) -> None:
        """Find all pairs of a guild: without its members, with those that overwrites name, and with all.

        With ``for_askers`` only those pairs are counted that serve a query: some member, who can see the target, asks
        there, and can read the source.
        """
        blind, helped, true = allowed_pairs(world), allowed_pairs(world, knows_named=True), oracle.quotable_pairs(world)
        assert blind <= helped <= true
        assert allowed_pairs(world, knows_all=True) == true
        for asked in served_pairs(world) if for_askers else [true]:
            self.proved += len(blind & asked)
            self.proved_with_members += len(helped & asked)
            self.true += len(true & asked)


def served_pairs(world: oracle.World) -> Iterator[set[tuple[int, int]]]:
    for user in world.members:
        readable = oracle.readable_places(world, user)
        targets = [c for c in world.channels if oracle.permissions(world, user, c) & oracle.VIEW]
        yield {(source, target) for source in readable for target in targets}


def test_no_pair_is_proved_that_is_not_true_in_chaotic_guilds() -> None:
    rng, coverage = random.Random(30), Coverage()
    for _ in range(6000):
        coverage.add(oracle.chaotic_world(rng, members=rng.choice((3, 6, 9)), channels=6))
    assert coverage.proved > 0.5 * coverage.true


def test_no_pair_is_proved_that_is_not_true_in_usual_guilds() -> None:
    rng, coverage = random.Random(31), Coverage()
    for _ in range(3800):
        coverage.add(oracle.usual_world(rng, members=rng.choice((4, 8, 12)), channels=7))
    assert coverage.proved > 0.75 * coverage.true


def test_proof_misses_nothing_that_holds_whoever_the_members_are() -> None:
    """So without knowing members nothing more can be found; with all of them, nothing is missed either."""
    rng, pairs = random.Random(33), 0
    for _ in range(400):
        world = oracle.chaotic_world(rng, members=rng.choice((0, 3)), channels=5)
        if len(world.roles) <= 4:
            always, with_named = pairs_of_all_populations(world)
            assert allowed_pairs(world) == always
            assert allowed_pairs(world, knows_named=True) == with_named
            pairs += len(always)
    assert pairs > 1000


def pairs_of_all_populations(world: oracle.World) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """What is true even if somebody holds every set of roles there is.

    The first set takes those whom overwrites name for anybody, the second for who they are.
    """
    others = [role for role in world.roles if role != world.id]
    role_sets = [list(held) for size in range(len(others) + 1) for held in combinations(others, size)]
    named = {entry.id for channel in world.channels.values() for entry in channel.overwrites if not entry.is_role}
    anybody = {10_000 + place: oracle.Member(held) for place, held in enumerate(role_sets)}
    populations = (anybody | {user: oracle.Member(held) for user in named} for held in role_sets)
    always = set.intersection(*(oracle.quotable_pairs(replace(world, members=members)) for members in populations))
    present = {user: member for user, member in world.members.items() if user in named}
    return always, oracle.quotable_pairs(replace(world, members=anybody | present))


def test_of_what_is_true_hardly_anything_is_missed_in_usual_guilds_of_some_size() -> None:
    """In a small guild many pairs hold by accident: nobody happens to have some role. Only counting finds those."""
    rng, everywhere, asked = random.Random(32), Coverage(), Coverage()
    for _ in range(200):
        world = oracle.usual_world(rng, members=rng.choice((40, 60, 80)))
        everywhere.add(world)
        asked.add(world, for_askers=True)
    blind, helped = everywhere.shares()
    assert blind > 0.92
    assert helped > 0.97
    blind, helped = asked.shares()
    assert blind > 0.95
    assert helped > 0.98
