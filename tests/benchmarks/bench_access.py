"""What the permission rules cost on a big server, and how much of what is allowed they find.

    python -m tests.benchmarks.bench_access [--members 5000] [--channels 200]

Prints milliseconds of CPU time for a permission epoch (snapshot and tables) and for single questions, beside
discord.py's own ``permissions_for``, also in the largest guild whose heads are counted; then the proof's coverage of
the exact audience over random guilds.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from typing import TYPE_CHECKING, Any

import discord
from discord.ext import commands

from cogs.memory.surface.access import Audience
from cogs.memory.surface.discord_access import AccessRules
from cogs.memory.surface.roster import COUNTED_MEMBERS
from tests.surface import permission_oracle as oracle
from tests.surface.discord_access.discord_objects import guild_payload
from tests.surface.test_access import Coverage, member_of

if TYPE_CHECKING:
    from collections.abc import Callable


def milliseconds(action: Callable[[], object], times: int) -> float:
    """Return the median CPU time of one call."""
    spent = []
    for _ in range(times):
        start = time.process_time_ns()
        action()
        spent.append(time.process_time_ns() - start)
    return statistics.median(spent) / 1e6


def compare_costs(members: int, channels: int) -> None:
    """Print what a permission epoch and a question cost."""
    rng = random.Random(1)
    world = oracle.usual_world(rng, members=members, channels=channels, interests=40)
    bot = commands.Bot("!", intents=discord.Intents(guilds=True, members=True), chunk_guilds_at_startup=False)
    data: Any = guild_payload(world)
    guild = discord.Guild(data=data, state=bot._connection)
    rules = AccessRules(bot)
    snapshot = rules._snapshot(guild)
    audience = Audience(snapshot)
    people = [member_of(world, user) for user in rng.sample(list(world.members), 50)]
    objects = [guild.get_member(person.id) for person in people if person is not None]
    targets = list(world.channels)
    rng.shuffle(targets)
    print(
        f"{len(guild.members)} members, {len(guild.channels)} channels, {len(guild.roles)} roles; milliseconds of CPU"
    )
    people_in_turn, targets_in_turn = iter(people * 100), iter(targets)
    rows = {
        "epoch: snapshot of the guild": milliseconds(lambda: rules._snapshot(guild), 30),
        "epoch: tables": milliseconds(lambda: Audience(snapshot), 30),
        "requester's channels": milliseconds(lambda: audience.requester_channels(next(people_in_turn)), 500),
        "public scope, target's first": milliseconds(
            lambda: audience.public_scope(people[0], next(targets_in_turn)), 100
        ),
        "public scope, target known": milliseconds(lambda: audience.public_scope(people[0], targets[0]), 500),
        "right before sending, 10 channels": milliseconds(
            lambda: Audience(rules._snapshot(guild, frozenset(targets[:10]))).public_scope(people[0], targets[0]), 100
        ),
        "discord.py: requester's channels": milliseconds(
            lambda: [c for c in guild.channels if c.permissions_for(objects[0] or guild.me).read_message_history], 20
        ),
    }
    for what, cost in rows.items():
        print(f"{what:36} {cost:8.3f}")


def measure_coverage(guilds: int) -> None:
    """Print which part of the exact audience the proof finds."""
    print("\ncoverage of the exact audience, proved without members / with those that overwrites name")
    for members in (12, 40, 80, 150):
        rng, everywhere, asked = random.Random(members), Coverage(), Coverage()
        for _ in range(guilds):
            world = oracle.usual_world(rng, members=members)
            everywhere.add(world)
            asked.add(world, for_askers=True)
        pairs, queries = everywhere.shares(), asked.shares()
        print(
            f"{members:4} members: all pairs {pairs[0]:.3f} / {pairs[1]:.3f}, "
            f"as askers meet them {queries[0]:.3f} / {queries[1]:.3f}  ({everywhere.true} pairs)"
        )


async def main() -> None:
    """Run both measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=5000)
    parser.add_argument("--channels", type=int, default=200)
    parser.add_argument("--guilds", type=int, default=150, help="random guilds for each coverage figure")
    arguments = parser.parse_args()
    compare_costs(arguments.members, arguments.channels)
    compare_costs(COUNTED_MEMBERS, arguments.channels)
    measure_coverage(arguments.guilds)


if __name__ == "__main__":
    asyncio.run(main())
