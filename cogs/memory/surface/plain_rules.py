"""From discord.py's objects to the plain values that the permission rules of ``access`` work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from .access import ChannelKind, ChannelRules, GuildMember, ThreadRules

if TYPE_CHECKING:
    from collections.abc import Collection

RuledChannel = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.ForumChannel
"""Channels in which something can be read, be it in threads."""
_KINDS = {
    discord.TextChannel: ChannelKind.TEXT,  # announcements, too
    discord.VoiceChannel: ChannelKind.VOICE,
    discord.StageChannel: ChannelKind.VOICE,
    discord.ForumChannel: ChannelKind.CONTAINER,  # media channels, too
}


def thread_rules(thread: discord.Thread) -> ThreadRules:
    """Return what decides about a thread beside its parent."""
    return ThreadRules(parent_id=thread.parent_id, private=thread.is_private())


def channel_rules(channel: RuledChannel) -> ChannelRules:
    """Return what decides about a channel."""
    # The public ``overwrites`` builds a hundred-attribute object for each entry: 30 times slower, and it loses which
    # of two contradicting bits wins.
    overwrites = channel._overwrites
    return ChannelRules(
        kind=_KINDS[type(channel)],
        role_overwrites={entry.id: (entry.allow, entry.deny) for entry in overwrites if entry.is_role()},
        member_overwrites={entry.id: (entry.allow, entry.deny) for entry in overwrites if entry.is_member()},
        age_restricted=channel.is_nsfw(),
    )


def role_ids(member: discord.Member) -> frozenset[int]:
    """Return the ids of a member's roles."""
    return frozenset(role.id for role in member.roles)


def plain(member: discord.Member, joined: frozenset[int] = frozenset()) -> GuildMember:
    """Return a member as the rules know him; ``joined`` are the private threads he is known to be in."""
    return GuildMember(
        id=member.id,
        role_ids=role_ids(member),
        timed_out=member.is_timed_out(),
        private_threads=joined,
    )


def role_sets(guild: discord.Guild, left_out: Collection[int | None]) -> frozenset[frozenset[int]]:
    """Return every set of roles that a member of the guild holds, but for those left out."""
    # The public ``roles`` looks up and sorts objects: for thousands of members that is a hundred times slower.
    held = {member._roles.tobytes(): member for member in guild.members if member.id not in left_out}
    return frozenset(role_ids(member) for member in held.values())
