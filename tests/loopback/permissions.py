"""Discord's permission rules over plain integers, written from its documentation and independent of discord.py.

The loopback server enforces them, and tests may use them as an oracle for what a member can see.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Permission(IntFlag):
    """The permission bits that the loopback knows by name."""

    CREATE_INSTANT_INVITE = 1 << 0
    KICK_MEMBERS = 1 << 1
    BAN_MEMBERS = 1 << 2
    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_AUDIT_LOG = 1 << 7
    STREAM = 1 << 9
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_EXTERNAL_EMOJIS = 1 << 18
    CONNECT = 1 << 20
    SPEAK = 1 << 21
    USE_VAD = 1 << 25
    CHANGE_NICKNAME = 1 << 26
    MANAGE_NICKNAMES = 1 << 27
    MANAGE_ROLES = 1 << 28
    MANAGE_WEBHOOKS = 1 << 29
    USE_APPLICATION_COMMANDS = 1 << 31
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    SEND_MESSAGES_IN_THREADS = 1 << 38
    MODERATE_MEMBERS = 1 << 40


ALL = (1 << 53) - 1
"""Every permission, named above or not: what owners and administrators have."""

_NEEDS_SENDING = Permission.MENTION_EVERYONE | Permission.EMBED_LINKS | Permission.ATTACH_FILES
_TIMED_OUT = Permission.VIEW_CHANNEL | Permission.READ_MESSAGE_HISTORY

DEFAULT_EVERYONE = int(
    Permission.CREATE_INSTANT_INVITE
    | Permission.ADD_REACTIONS
    | Permission.STREAM
    | Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.MENTION_EVERYONE
    | Permission.USE_EXTERNAL_EMOJIS
    | Permission.CONNECT
    | Permission.SPEAK
    | Permission.USE_VAD
    | Permission.CHANGE_NICKNAME
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.CREATE_PUBLIC_THREADS
    | Permission.CREATE_PRIVATE_THREADS
    | Permission.SEND_MESSAGES_IN_THREADS
)
"""What @everyone may do on a new server."""

DEFAULT_BOT = int(
    Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.SEND_MESSAGES_IN_THREADS
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.ADD_REACTIONS
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.CONNECT
)
"""What the bot's own role grants it, unless a test says otherwise."""


@dataclass(frozen=True, slots=True)
class Overwrite:
    """What a channel allows and denies to one role or member, as permission bits."""

    allow: int = 0
    deny: int = 0


def allow(*permissions: Permission) -> Overwrite:
    """Make an overwrite that allows these permissions and says nothing of the others."""
    return Overwrite(allow=reduce(or_, map(int, permissions), 0))


def deny(*permissions: Permission) -> Overwrite:
    """Make an overwrite that denies these permissions and says nothing of the others."""
    return Overwrite(deny=reduce(or_, map(int, permissions), 0))


def base_permissions(*, owner: bool, everyone: int, roles: Iterable[int]) -> int:
    """Compute a member's permissions on the server, before any channel's overwrites."""
    granted = reduce(or_, roles, everyone)
    return ALL if owner or granted & Permission.ADMINISTRATOR else granted


def channel_permissions(
    base: int,
    *,
    everyone: Overwrite | None,
    roles: Iterable[Overwrite],
    member: Overwrite | None,
    timed_out: bool = False,
    sending: Permission = Permission.SEND_MESSAGES,
) -> int:
    """Compute a member's permissions in a channel from his base permissions and the channel's overwrites.

    @everyone's overwrite is applied first, then those of his roles taken together, then his own. Without
    VIEW_CHANNEL nothing is left, without `sending` (another permission in threads) nothing of what goes into messages,
    and a timed-out member may only read.
    """
    if base & Permission.ADMINISTRATOR:
        return ALL
    permissions = _apply(base, everyone)
    role_overwrites = list(roles)
    combined = Overwrite(
        allow=reduce(or_, (each.allow for each in role_overwrites), 0),
        deny=reduce(or_, (each.deny for each in role_overwrites), 0),
    )
    permissions = _apply(_apply(permissions, combined), member)
    if not permissions & Permission.VIEW_CHANNEL:
        return 0
    if not permissions & sending:
        permissions &= ~_NEEDS_SENDING
    return permissions & _TIMED_OUT if timed_out else permissions


def _apply(permissions: int, overwrite: Overwrite | None) -> int:
    if overwrite is None:
        return permissions
    return (permissions & ~overwrite.deny) | overwrite.allow
