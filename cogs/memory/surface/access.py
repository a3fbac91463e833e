"""Who may be shown what: Discord's permission rules as pure code over plain ints.

Two questions are answered, both with *no* for whatever is unknown:

* Which channels may this member read (``Audience.requester_channels``)? Discord's own algorithm: guild permissions,
  then the overwrites of @everyone, of the member's roles together, and of the member himself.
* Which channels may be quoted where others read along (``Audience.public_channels``)? Only those that every reader
  of the place can read anyway. Where all members are known their heads are counted. A bot rarely knows them: then it
  is *proved* from roles and overwrites alone, which may fail where a count would pass, and never the other way round.

Role sets are ints with one bit a role, so a question costs a few machine words per channel.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from cogs.memory.surface.grants import ALL_ROLES, EVERYONE, Grants, Heads, Readers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ADMINISTRATOR = 1 << 3
VIEW_CHANNEL = 1 << 10
READ_MESSAGE_HISTORY = 1 << 16
CONNECT = 1 << 20
MANAGE_THREADS = 1 << 34

_PERMISSIONS = (ADMINISTRATOR, VIEW_CHANNEL, READ_MESSAGE_HISTORY, CONNECT, MANAGE_THREADS)
_NOTHING: frozenset[int] = frozenset()


class ChannelKind(Enum):
    """What a channel is to its readers."""

    TEXT = "text"
    """Text and announcement channels."""
    VOICE = "voice"
    """Voice and stage channels: their text needs *connect* as well."""
    CONTAINER = "container"
    """Forums and media channels: no messages of their own, only threads."""


_NEEDED = {  # to read what was written; *view channel* comes first
    ChannelKind.TEXT: (VIEW_CHANNEL, READ_MESSAGE_HISTORY),
    ChannelKind.VOICE: (VIEW_CHANNEL, READ_MESSAGE_HISTORY, CONNECT),
    ChannelKind.CONTAINER: (VIEW_CHANNEL, READ_MESSAGE_HISTORY),
}


@dataclass(frozen=True, slots=True)
class ChannelRules:
    """The rules of one channel; overwrites are ``{id: (allow, deny)}``."""

    kind: ChannelKind = ChannelKind.TEXT
    role_overwrites: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """By role id; @everyone's overwrite is under the guild's id."""
    member_overwrites: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    age_restricted: bool = False


@dataclass(frozen=True, slots=True)
class ThreadRules:
    """What decides about a thread beside its parent's rules; neither ever changes in a thread's life."""

    parent_id: int
    private: bool = False


@dataclass(frozen=True, slots=True)
class GuildMember:
    """A member as he is now; whoever is not known to be one is passed as ``None``."""

    id: int
    role_ids: frozenset[int] = _NOTHING
    timed_out: bool = False
    """A timeout leaves only *view channel* and *read message history*."""
    private_threads: frozenset[int] = _NOTHING
    """Private threads he is known to have joined."""


@dataclass(frozen=True, slots=True)
class GuildSnapshot:
    """The permission rules of a guild at one epoch.

    A snapshot whose ``roles`` lack @everyone (whose id is the guild's) is that of a guild not yet known: it allows
    nothing.
    """

    guild_id: int
    owner_id: int | None
    roles: Mapping[int, int]
    """Permission bits by role id."""
    channels: Mapping[int, ChannelRules]
    threads: Mapping[int, ThreadRules] = field(default_factory=dict)
    named_members: Mapping[int, frozenset[int] | None] = field(default_factory=dict)
    """Role ids of members that overwrites name, as far as they are known; ``None`` for who is not in the guild.

    They only help the proof along: without them it fails more often.
    """
    role_sets: frozenset[frozenset[int]] | None = None
    """Every set of roles that some other member holds; ``None`` when not all members are known."""
    bot_id: int | None = None
    """The bot holds the text already, so it does not count as a reader."""
    bot_role_id: int | None = None
    """The bot's own role, which Discord gives to nobody else."""
    epoch: int = 0
    """Grows with every change of the rules."""


@dataclass(frozen=True, slots=True)
class Permit:
    """What one reply may draw on: made before the search, asked again right before sending, then thrown away."""

    guild_id: int
    member_id: int
    place_id: int | None
    """The channel or thread the reply appears in, if known."""
    public: bool
    """Whether others will see the reply."""
    channel_ids: frozenset[int]
    """Channels and threads; empty means *nothing*."""


class Audience:
    """Answers who may read, and who may be shown, what under one snapshot; made once for each permission epoch."""

    def __init__(self, snapshot: GuildSnapshot) -> None:
        self.snapshot = snapshot
        self._role_bits = {role_id: 1 << position for position, role_id in enumerate(snapshot.roles, start=1)}
        self._role_bits[snapshot.guild_id] = EVERYONE
        self._channels = snapshot.channels if snapshot.guild_id in snapshot.roles else {}
        self._giving = {permission: self._roles_with(permission) for permission in _PERMISSIONS}
        self._needs = {
            channel_id: tuple(self._grants(channel, permission) for permission in _NEEDED[channel.kind])
            for channel_id, channel in self._channels.items()
        }
        own_role = self._role_bits.get(snapshot.bot_role_id or 0, 0)
        self._unquestioned_roles = self._giving[ADMINISTRATOR] | own_role
        self._known_roles, self._unquestioned_members = self._sort_named_members()
        self._heads = self._count_heads()
        self._reading: dict[int, int] = {}
        self._places, self._private_threads = self._sort_places()
        self._thread_keepers = {
            channel_id: self._grants(self._channels[channel_id], MANAGE_THREADS) for channel_id in self._private_threads
        }
        self._age_restricted = self._find_age_restricted()
        self._quotable: dict[int, frozenset[int]] = {}

    def requester_channels(self, member: GuildMember | None) -> frozenset[int]:
        """Return the channels and threads the member may read.

        A private thread is readable for its members and for those who may manage threads.
        """
        if member is None:
            return _NOTHING
        found: set[int] = set()
        for channel_id in self._readable(member):
            found |= self._places[channel_id]
            private = self._private_threads.get(channel_id, _NOTHING)
            if private:
                found |= private if self._sees_all_threads(channel_id, member) else private & member.private_threads
        return frozenset(found)

    def undecided_private_threads(self, member: GuildMember | None) -> frozenset[int]:
        """Return the private threads for which it matters whether the member has joined them."""
        if member is None:
            return _NOTHING
        undecided: set[int] = set()
        for channel_id in self._readable(member, among=self._private_threads):
            if not self._sees_all_threads(channel_id, member):
                undecided |= self._private_threads[channel_id]
        return frozenset(undecided)

    def public_channels(self, target_id: int) -> frozenset[int]:
        """Return the channels and threads that everybody who sees the target can surely read.

        Timeouts do not count here: they silence for a while somebody who keeps his place in the guild.
        """
        channel_id = self._base(target_id)
        if channel_id is None:
            return _NOTHING
        if channel_id not in self._quotable:
            self._quotable[channel_id] = self._prove(channel_id)
        quotable = self._quotable[channel_id]
        is_private = target_id in self._private_threads.get(channel_id, _NOTHING)
        if is_private and self._is_read_by_all_of(channel_id)(channel_id):
            return quotable | {target_id}  # a private thread is a source for nobody but itself
        return quotable

    def ephemeral_scope(self, member: GuildMember | None, invoked_in: int | None) -> frozenset[int]:
        """Return what a reply seen by the member alone may draw on.

        Age-restricted text stays in age-restricted channels; a place that is not known is not age-restricted.
        """
        readable = self.requester_channels(member)
        return readable if self._allows_adult_text(invoked_in) else readable - self._age_restricted

    def public_scope(self, member: GuildMember | None, target_id: int) -> frozenset[int]:
        """Return what a reply in ``target_id`` that others see may draw on."""
        return self.requester_channels(member) & self.public_channels(target_id)

    def still_allowed(self, permit: Permit, member: GuildMember | None, channel_ids: Iterable[int]) -> frozenset[int]:
        """Return those of the channels that the permit covered and that are allowed under *this* snapshot."""
        if permit.guild_id != self.snapshot.guild_id or member is None or member.id != permit.member_id:
            return _NOTHING
        covered = permit.channel_ids.intersection(channel_ids)
        if not permit.public:
            return covered & self.ephemeral_scope(member, permit.place_id)
        return _NOTHING if permit.place_id is None else covered & self.public_scope(member, permit.place_id)

    # The tables, made once.

    def _roles_with(self, permission: int) -> int:
        if self.snapshot.roles.get(self.snapshot.guild_id, 0) & permission:
            return ALL_ROLES
        return sum(self._role_bits[role_id] for role_id, bits in self.snapshot.roles.items() if bits & permission)

    def _grants(self, channel: ChannelRules, permission: int) -> Grants:
        allow = deny = 0
        base = self._giving[permission]
        for role_id, (allowed, denied) in channel.role_overwrites.items():
            if role_id == self.snapshot.guild_id:
                base = ALL_ROLES if allowed & permission else 0 if denied & permission else base
            elif allowed & permission:
                allow |= self._role_bits.get(role_id, 0)
            elif denied & permission:
                deny |= self._role_bits.get(role_id, 0)
        members = channel.member_overwrites.items()
        return Grants(
            allow,
            deny,
            base,
            frozenset(member_id for member_id, (allowed, _) in members if allowed & permission),
            frozenset(member_id for member_id, (allowed, denied) in members if denied & ~allowed & permission),
        )

    def _sort_places(self) -> tuple[dict[int, frozenset[int]], dict[int, frozenset[int]]]:
        """Return, by channel, the places with its very readers (itself, public threads) and its private threads."""
        public: dict[int, set[int]] = {
            channel_id: set() if channel.kind is ChannelKind.CONTAINER else {channel_id}
            for channel_id, channel in self._channels.items()
        }
        private: defaultdict[int, set[int]] = defaultdict(set)
        for thread_id, thread in self.snapshot.threads.items():
            if thread.parent_id in public:
                (private if thread.private else public)[thread.parent_id].add(thread_id)
        return _frozen(public), _frozen(private)

    def _sort_named_members(self) -> tuple[dict[int, int], frozenset[int]]:
        """Return the role sets of known members, and the members about whom nothing needs to be proved."""
        known: dict[int, int] = {}
        unquestioned = {self.snapshot.owner_id or 0, self.snapshot.bot_id or 0}
        for member_id, role_ids in self.snapshot.named_members.items():
            if role_ids is None or self._role_set(role_ids) & self._unquestioned_roles:
                unquestioned.add(member_id)
            else:
                known[member_id] = self._role_set(role_ids)
        return known, frozenset(unquestioned)

    def _find_age_restricted(self) -> frozenset[int]:
        restricted = [channel_id for channel_id, channel in self._channels.items() if channel.age_restricted]
        places = (self._places[i] | self._private_threads.get(i, _NOTHING) for i in restricted)
        return frozenset().union(*places)

    # Rule by rule.

    def _base(self, place_id: int) -> int | None:
        """Return the channel whose rules hold in a channel or thread; ``None`` when it is unknown."""
        thread = self.snapshot.threads.get(place_id)
        channel_id = place_id if thread is None else thread.parent_id
        return channel_id if channel_id in self._channels else None

    def _allows_adult_text(self, place_id: int | None) -> bool:
        channel_id = None if place_id is None else self._base(place_id)
        return channel_id is not None and self._channels[channel_id].age_restricted

    def _role_set(self, role_ids: frozenset[int]) -> int:
        return EVERYONE | sum(self._role_bits.get(role_id, 0) for role_id in role_ids)

    def _is_above_overwrites(self, member: GuildMember) -> bool:
        roles = self._role_set(member.role_ids)
        return member.id == self.snapshot.owner_id or bool(roles & self._giving[ADMINISTRATOR])

    def _readable(self, member: GuildMember, among: Iterable[int] | None = None) -> list[int]:
        """Return the channels (of ``among``, if given) whose messages the member may read."""
        channel_ids = self._channels if among is None else among
        if self._is_above_overwrites(member):
            return list(channel_ids)
        roles = self._role_set(member.role_ids)
        return [
            channel_id
            for channel_id in channel_ids
            if not (member.timed_out and self._channels[channel_id].kind is ChannelKind.VOICE)
            and all(grants.hold(roles, member.id) for grants in self._needs[channel_id])
        ]

    def _sees_all_threads(self, channel_id: int, member: GuildMember) -> bool:
        keeps = self._thread_keepers[channel_id].hold(self._role_set(member.role_ids), member.id)
        return self._is_above_overwrites(member) or (keeps and not member.timed_out)

    # Which sources every reader of a target can read.

    def _prove(self, target: int) -> frozenset[int]:
        is_read = self._is_read_by_all_of(target)
        adult = self._channels[target].age_restricted
        proved = (
            self._places[source]
            for source, channel in self._channels.items()
            if (adult or not channel.age_restricted) and is_read(source)
        )
        return frozenset().union(*proved)

    def _is_read_by_all_of(self, target: int) -> Callable[[int], bool]:
        """Return what tells of a source whether all who see the target can read it."""
        if self._heads is None:
            readers = self._readers(target)
            return lambda source: self._all_read(source, readers)
        seeing = self._heads.holding(self._needs[target][0])
        return lambda source: not seeing & ~self._heads_reading(source)

    # By counting heads.

    def _count_heads(self) -> Heads | None:
        snapshot = self.snapshot
        named = {member_id for channel in self._channels.values() for member_id in channel.member_overwrites}
        if snapshot.role_sets is None or not named <= snapshot.named_members.keys():
            return None
        role_sets = {self._role_set(role_ids) for role_ids in snapshot.role_sets}
        known = self._known_roles.items()
        return Heads(
            [roles for roles in role_sets if not roles & self._giving[ADMINISTRATOR]],
            {member_id: roles for member_id, roles in known if member_id not in self._unquestioned_members},
        )

    def _heads_reading(self, source: int) -> int:
        if source not in self._reading:
            reading = ALL_ROLES
            for grants in self._needs[source]:
                reading &= self._heads.holding(grants) if self._heads else 0
            self._reading[source] = reading
        return self._reading[source]

    # By proof.

    def _readers(self, channel_id: int) -> Readers:
        view = self._needs[channel_id][0]
        spoken_of = view.allow | view.deny
        # Where @everyone comes in, the other roles add nobody.
        by_base = EVERYONE if view.base & EVERYONE else view.base & ~spoken_of
        return Readers(
            by_overwrite=view.allow & ~self._unquestioned_roles,
            by_base=by_base & ~self._unquestioned_roles,
            members=view.member_allow - self._unquestioned_members,
            absent=spoken_of,
            settled=view.member_allow.union(
                view.member_deny,
                self._unquestioned_members,
                (member_id for member_id, roles in self._known_roles.items() if not view.hold(roles, member_id)),
            ),
        )

    def _all_read(self, source: int, readers: Readers) -> bool:
        return all(self._all_hold(grants, readers) for grants in self._needs[source])

    def _all_hold(self, source: Grants, readers: Readers) -> bool:
        """Whether each reader surely has one permission of the source, whatever roles he has besides."""
        denied = source.deny & ~self._unquestioned_roles
        if not source.member_deny <= readers.settled and (readers.by_overwrite or readers.by_base):
            return False  # whom the source shuts out may come in by some role
        if readers.by_overwrite & ~(source.allow | (0 if denied else source.base)):
            return False
        # Who comes in by base holds none of the absent roles, so a denial of those does not concern him.
        if readers.by_base & ~(source.allow | (0 if denied & ~readers.absent else source.base)):
            return False
        return all(self._surely_holds(source, member_id, denied) for member_id in readers.members)

    def _surely_holds(self, source: Grants, member_id: int, denied: int) -> bool:
        roles = self._known_roles.get(member_id)
        if roles is not None:
            return source.hold(roles, member_id)
        if member_id in source.member_allow:
            return True
        # He has @everyone, and any of the denied roles he may have.
        return bool(source.base & EVERYONE) and not denied and member_id not in source.member_deny


def _frozen(places: Mapping[int, set[int]]) -> dict[int, frozenset[int]]:
    return {channel_id: frozenset(ids) for channel_id, ids in places.items()}
