"""The world's permission rules agree with discord.py's, and its documented examples run."""

from __future__ import annotations

import doctest
import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from . import faults, world
from .channels import Channel, ChannelKind
from .permissions import ALL, Overwrite, Permission
from .world import World

if TYPE_CHECKING:
    from types import ModuleType

    from .conftest import TeaHouse
    from .guilds import Guild
    from .people import Member, Role

ELSEWHERE = (
    Permission.KICK_MEMBERS
    | Permission.BAN_MEMBERS
    | Permission.ADMINISTRATOR
    | Permission.MANAGE_GUILD
    | Permission.VIEW_AUDIT_LOG
    | Permission.CHANGE_NICKNAME
    | Permission.MANAGE_NICKNAMES
    | Permission.MODERATE_MEMBERS
    | Permission.STREAM
    | Permission.CONNECT
    | Permission.SPEAK
    | Permission.USE_VAD
)
COMPARED = int(sum(set(Permission), Permission(0)) & ~ELSEWHERE)
"""What text channels decide. Server-wide and voice permissions mean nothing there, and discord.py drops other ones."""


@pytest.mark.parametrize("module", [world, faults])
def test_the_examples_in_the_docstrings_run(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


async def test_permissions_agree_with_discord_py_on_random_overwrites(house: TeaHouse) -> None:
    rng = random.Random(1)
    bits = list(Permission)

    def some() -> int:
        return int(sum(set(rng.sample(bits, rng.randint(0, 6))), Permission(0)))

    roles = [house.guild.role(f"role {number}") for number in range(5)]
    for role in roles[:4]:
        role.set_permissions(*(bit for bit in bits if bit & some() and bit != Permission.ADMINISTRATOR))
    roles[4].set_permissions(Permission.ADMINISTRATOR)
    people = [house.guild.member(f"guest {number}", *rng.sample(roles, rng.randint(0, 2))) for number in range(20)]
    people[0].time_out(timedelta(hours=1))
    channels = [house.guild.text_channel(f"room {number}") for number in range(30)]
    for channel in channels:
        targets: list[Role | Member] = [house.guild.everyone, *rng.sample(roles, 3), *rng.sample(people, 3)]
        for target in targets:
            allowed = some()
            channel.set_overwrite(target, Overwrite(allowed, some() & ~allowed))
    open_to_bot = [channel for channel in channels if channel.can_view(house.guild.me)]
    threads = [house.guild.thread(channel, "talk", house.ada) for channel in open_to_bot]
    await house.discord.gateway.barrier()

    guild = house.bot.guilds[0]
    owner = house.guild.members[house.guild.owner.id]
    assert len(threads) > 5
    for channel in (*channels, *threads):
        theirs = guild.get_channel_or_thread(channel.id)
        for person in (*people, owner, house.guild.me):
            member = guild.get_member(person.id)
            assert theirs is not None
            assert member is not None
            assert channel.permissions_for(person) & COMPARED == theirs.permissions_for(member).value & COMPARED


def build(kind: ChannelKind = ChannelKind.TEXT) -> tuple[Guild, Channel]:
    guild = World().guild("Tea House")
    return guild, guild.channel("room", kind)


def test_owner_and_administrators_may_all_and_strangers_nothing() -> None:
    guild, channel = build()
    admin = guild.member("admin", guild.role("admins", Permission.ADMINISTRATOR))
    channel.set_overwrite(guild.everyone, Overwrite(deny=ALL))
    assert channel.permissions_for(guild.owner) == channel.permissions_for(admin) == ALL
    assert channel.permissions_for(guild.world.user("stranger")) == 0


def test_voice_text_needs_connect_and_private_threads_membership() -> None:
    guild, lounge = build(ChannelKind.VOICE)
    ada, mod = guild.member("ada"), guild.member("mod", guild.role("mods", Permission.MANAGE_THREADS))
    lounge.set_overwrite(ada, Overwrite(deny=int(Permission.CONNECT)))
    assert not lounge.can_view(ada)
    assert lounge.can_view(mod)
    thread = guild.thread(guild.text_channel("general"), "plans", guild.owner, private=True)
    assert not thread.can_view(ada)
    assert thread.can_view(mod)
    thread.join(ada.user)
    assert thread.can_view(ada)
    ada.leave()
    assert not thread.can_view(ada)


def test_ids_carry_their_moment_and_history_is_in_their_order() -> None:
    guild, channel = build()
    late = channel.post(guild.owner, "late")
    early = channel.post(guild.owner, "early", at=late.created_at - timedelta(days=1))
    assert channel.history() == [early, late]
    assert late.created_at - early.created_at == timedelta(days=1)
    assert channel.history(1) == [late]


def test_posting_in_an_archived_thread_opens_it_again() -> None:
    guild, channel = build()
    thread = guild.thread(channel, "old", guild.owner)
    thread.archive()
    thread.post(guild.owner, "still here")
    assert not thread.archived
