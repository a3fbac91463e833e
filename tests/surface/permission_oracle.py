"""Discord's permission rules by brute force, step by step as its documentation tells them, and worlds to try them on.

Nothing here knows the code under test: worlds are plain records with Discord's own channel numbers, and every
question is answered by asking it of each member in turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

ALL = (1 << 53) - 1
ADMIN = 0x8
VIEW = 0x400
SEND = 0x800
HISTORY = 0x10000
CONNECT = 0x100000
MANAGE_THREADS = 0x400000000

TEXT, VOICE, CATEGORY, NEWS, STAGE, FORUM = 0, 2, 4, 5, 13, 15
PUBLIC_THREAD, PRIVATE_THREAD = 11, 12


@dataclass
class Overwrite:
    id: int
    is_role: bool
    allow: int
    deny: int


@dataclass
class Channel:
    type: int
    overwrites: list[Overwrite] = field(default_factory=list)
    nsfw: bool = False


@dataclass
class Thread:
    type: int
    parent: int
    joined: set[int] = field(default_factory=set)


@dataclass
class Member:
    roles: list[int]
    timed_out: bool = False


@dataclass
class World:
    id: int
    owner: int
    roles: dict[int, int]
    members: dict[int, Member]
    channels: dict[int, Channel]
    threads: dict[int, Thread] = field(default_factory=dict)
    strangers: list[int] = field(default_factory=list)
    """Users who left or never came; overwrites may still name them."""


def permissions(world: World, user: int, channel_id: int, *, with_timeout: bool = True) -> int:
    """What a member may do in a channel."""
    member = world.members[user]
    granted = world.roles[world.id]
    for role in member.roles:
        granted |= world.roles[role]
    if user == world.owner or granted & ADMIN:
        return ALL
    granted = _overwritten(granted, world, member, user, world.channels[channel_id].overwrites)
    if not granted & VIEW:
        return 0
    if with_timeout and member.timed_out:
        granted &= VIEW | HISTORY
    return granted


def _overwritten(granted: int, world: World, member: Member, user: int, overwrites: list[Overwrite]) -> int:
    for entry in overwrites:
        if entry.is_role and entry.id == world.id:
            granted &= ~entry.deny
            granted |= entry.allow
    denied = allowed = 0
    for entry in overwrites:
        if entry.is_role and entry.id in member.roles:
            denied |= entry.deny
            allowed |= entry.allow
    granted &= ~denied
    granted |= allowed
    for entry in overwrites:
        if not entry.is_role and entry.id == user:
            granted &= ~entry.deny
            granted |= entry.allow
    return granted


def can_read_back(granted: int, channel_type: int) -> bool:
    """Whether these permissions let somebody read what was written before."""
    if channel_type in (VOICE, STAGE) and not granted & CONNECT:
        return False
    return bool(granted & VIEW) and bool(granted & HISTORY)


def readable_places(world: World, user: int) -> set[int]:
    """Every channel and thread in which the user may read the messages."""
    found: set[int] = set()
    if user not in world.members:
        return found
    for channel_id, channel in world.channels.items():
        if channel.type in (TEXT, NEWS, VOICE, STAGE) and can_read_back(
            permissions(world, user, channel_id), channel.type
        ):
            found.add(channel_id)
    for thread_id, thread in world.threads.items():
        parent = world.channels.get(thread.parent)
        if parent is None:
            continue
        granted = permissions(world, user, thread.parent)
        if not can_read_back(granted, parent.type):
            continue
        if thread.type == PUBLIC_THREAD or user in thread.joined or granted & MANAGE_THREADS:
            found.add(thread_id)
    return found


def quotable_pairs(world: World) -> set[tuple[int, int]]:
    """Every (source, target) where each member who sees the target can read the source anyway.

    Timeouts are left out of it; a private thread is a source for itself only; age-restricted text stays among its own.
    """
    readers: dict[int, int] = {}  # a set of members as bits
    seers: dict[int, int] = {}
    for channel_id, channel in world.channels.items():
        readers[channel_id] = seers[channel_id] = 0
        for position, user in enumerate(world.members):
            granted = permissions(world, user, channel_id, with_timeout=False)
            seers[channel_id] |= bool(granted & VIEW) << position
            readers[channel_id] |= can_read_back(granted, channel.type) << position
    parents = {channel_id: channel_id for channel_id in world.channels}
    parents |= {thread_id: thread.parent for thread_id, thread in world.threads.items() if thread.parent in readers}
    sources = [place for place in parents if place not in world.channels or world.channels[place].type != FORUM]
    pairs = set()
    for target, target_channel in parents.items():
        for source in sources:
            source_channel = parents[source]
            if source != target and source in world.threads and world.threads[source].type == PRIVATE_THREAD:
                continue
            if world.channels[source_channel].nsfw and not world.channels[target_channel].nsfw:
                continue
            if not seers[target_channel] & ~readers[source_channel]:
                pairs.add((source, target))
    return pairs


def chaotic_world(rng: random.Random, *, members: int = 8, channels: int = 7) -> World:
    """A guild in which anything may be set anywhere, contradictions and leftovers included."""
    bits = (VIEW, HISTORY, CONNECT, MANAGE_THREADS, SEND)

    def some(chance: float) -> int:
        return sum(bit for bit in bits if rng.random() < chance)

    guild_id = 1000
    role_ids = [guild_id, *range(1001, 1001 + rng.randint(1, 6))]
    roles = {role: some(0.3) | (ADMIN if rng.random() < 0.08 else 0) for role in role_ids}
    roles[guild_id] = some(0.6) | (ADMIN if rng.random() < 0.01 else 0)
    users = list(range(1, members + 1))
    strangers = [901, 902]

    def overwrites() -> list[Overwrite]:
        named = [(role, True) for role in role_ids if rng.random() < 0.35]
        named += [(user, False) for user in users + strangers if rng.random() < 0.1]
        entries = [Overwrite(i, is_role=is_role, allow=some(0.35), deny=some(0.35)) for i, is_role in named]
        rng.shuffle(entries)
        return entries

    return _with_threads(
        rng,
        World(
            id=guild_id,
            owner=rng.choice(users + strangers),
            roles=roles,
            members={u: Member(_sample(rng, role_ids[1:], 0.35), timed_out=rng.random() < 0.1) for u in users},
            channels={
                2000 + n: Channel(
                    rng.choice((TEXT, TEXT, TEXT, NEWS, VOICE, STAGE, FORUM)), overwrites(), nsfw=rng.random() < 0.15
                )
                for n in range(channels)
            },
            strangers=strangers,
        ),
    )


def usual_world(rng: random.Random, *, members: int = 24, channels: int = 10, interests: int = 4) -> World:
    """A guild set up the way people set them up: staff, verified members, interest groups, tickets, muted people."""
    guild_id = 1000
    staff, moderators, verified, muted, bots = range(1001, 1006)
    groups = list(range(1010, 1010 + interests))
    gated = rng.random() < 0.3  # newcomers see next to nothing
    usual = VIEW | HISTORY | CONNECT | SEND
    roles = {
        guild_id: 0 if gated else usual,
        staff: ADMIN if rng.random() < 0.5 else usual | MANAGE_THREADS,
        moderators: usual | MANAGE_THREADS,
        verified: usual,
        muted: 0,
        bots: usual,
        **dict.fromkeys(groups, usual if rng.random() < 0.3 else 0),
    }
    users = list(range(1, members + 1))
    people = {}
    for user in users:
        held = _sample(rng, groups, 0.35)
        held += [role for role, chance in ((staff, 0.1), (moderators, 0.15), (verified, 0.75)) if rng.random() < chance]
        held += [role for role, chance in ((muted, 0.05), (bots, 0.05)) if rng.random() < chance]
        people[user] = Member(held, timed_out=rng.random() < 0.03)
    strangers = [901, 902]

    def role(role_id: int, allow: int = 0, deny: int = 0) -> Overwrite:
        return Overwrite(role_id, is_role=True, allow=allow, deny=deny)

    def channel() -> Channel:
        hidden = role(guild_id, deny=VIEW)
        keepers = [role(moderators, allow=VIEW)] if rng.random() < 0.7 else []
        recipes: list[tuple[float, list[Overwrite]]] = [
            (5, []),
            (2, [role(guild_id, deny=SEND)]),
            (2, [role(muted, deny=SEND)]),
            (2, [hidden, role(staff, allow=VIEW), *keepers]),
            (3, [hidden, role(rng.choice(groups), allow=VIEW), *keepers]),
            (1, [hidden, *(role(group, allow=VIEW) for group in rng.sample(groups, 2)), *keepers]),
            (2, [hidden, role(verified, allow=VIEW)]),
            (1, [hidden, role(staff, allow=VIEW), Overwrite(rng.choice(users + strangers), False, VIEW, 0)]),
            (1, [role(guild_id, deny=HISTORY)]),
            (1, [role(muted, deny=VIEW)]),
            (1, [Overwrite(rng.choice(users), False, 0, VIEW)]),
        ]
        weights, choices = zip(*recipes, strict=True)
        chosen = rng.choices(choices, weights)[0]
        kind = rng.choices((TEXT, NEWS, VOICE, STAGE, FORUM), (10, 1, 3, 1, 2))[0]
        if kind in (VOICE, STAGE) and rng.random() < 0.2:
            spoken_of = {entry.id for entry in chosen}  # an id has one overwrite at most
            chosen = [*chosen, *(role(g, deny=CONNECT) for g in rng.sample(groups, 1) if g not in spoken_of)]
        return Channel(kind, chosen, nsfw=rng.random() < 0.05)

    return _with_threads(
        rng,
        World(
            id=guild_id,
            owner=rng.choice(users),
            roles=roles,
            members=people,
            channels={2000 + n: channel() for n in range(channels)},
            strangers=strangers,
        ),
    )


def _sample(rng: random.Random, items: list[int], chance: float) -> list[int]:
    return [item for item in items if rng.random() < chance]


def _with_threads(rng: random.Random, world: World) -> World:
    parents = [i for i, channel in world.channels.items() if channel.type in (TEXT, NEWS, FORUM)]
    parents.append(2999)  # a channel that is gone
    for n in range(rng.randint(0, 4)):
        kind = rng.choice((PUBLIC_THREAD, PRIVATE_THREAD))
        world.threads[3000 + n] = Thread(kind, rng.choice(parents), set(_sample(rng, list(world.members), 0.3)))
    return world
