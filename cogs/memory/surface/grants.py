"""Who holds a permission in a channel, as role sets (ints with one bit a role) and member ids. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EVERYONE: Final = 1
"""The bit of @everyone, which is in every member's role set."""
ALL_ROLES: Final = -1
"""What @everyone has, every role has."""


class Grants(NamedTuple):
    """Who gets one permission in one channel."""

    allow: int
    """Roles whose overwrite allows it: they beat any role's denial."""
    deny: int
    """Roles whose overwrite denies it."""
    base: int
    """Roles that give it where no role overwrite speaks."""
    member_allow: frozenset[int]
    """Members whose own overwrite allows it: that beats everything."""
    member_deny: frozenset[int]

    def hold(self, roles: int, member_id: int) -> bool:
        """Whether this member with these roles has the permission."""
        if member_id in self.member_allow:
            return True
        if member_id in self.member_deny:
            return False
        if roles & self.allow:
            return True
        return not roles & self.deny and bool(roles & self.base)


class Readers(NamedTuple):
    """Every way in which somebody can come to see a channel: a reader fits at least one of the first three."""

    by_overwrite: int
    """Roles let in by their overwrite, whatever else their holders have."""
    by_base: int
    """Roles that let in whoever holds no role an overwrite speaks of."""
    members: frozenset[int]
    """Members let in by their own overwrite."""
    absent: int
    """Roles that nobody holds who comes in ``by_base``."""
    settled: frozenset[int]
    """Members who are shut out, or looked at one by one, or need no proof."""


class Heads:
    """All members of a guild that rules apply to, as bits of an int: who holds a permission is then a few operations.

    Members of the same roles share a bit, unless an overwrite names them.

    Args:
        role_sets: each set of roles that some member holds whom no overwrite names.
        named: the role sets of the others, by member id.
    """

    def __init__(self, role_sets: Iterable[int], named: Mapping[int, int]) -> None:
        anonymous = list(role_sets)
        self._everybody = (1 << (len(anonymous) + len(named))) - 1
        self._named = {member_id: 1 << place for place, member_id in enumerate(named, start=len(anonymous))}
        self._holders: dict[int, int] = {}
        for place, roles in enumerate([*anonymous, *named.values()]):
            for role in _bits(roles):
                self._holders[role] = self._holders.get(role, 0) | 1 << place
        self._with: dict[int, int] = {ALL_ROLES: self._everybody}

    def holding(self, grants: Grants) -> int:
        """Return the members who have a permission."""
        by_role = self._with_any(grants.allow) | self._with_any(grants.base) & ~self._with_any(grants.deny)
        return by_role & ~self._of(grants.member_deny) | self._of(grants.member_allow)

    def _with_any(self, roles: int) -> int:
        """The members with any of the roles."""
        if roles not in self._with:
            members = 0
            for role in _bits(roles):
                members |= self._holders.get(role, 0)
            self._with[roles] = members
        return self._with[roles]

    def _of(self, member_ids: Iterable[int]) -> int:
        members = 0
        for member_id in member_ids:
            members |= self._named.get(member_id, 0)
        return members


def _bits(roles: int) -> Iterable[int]:
    while roles:
        lowest = roles & -roles
        yield lowest
        roles ^= lowest
