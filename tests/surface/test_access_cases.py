"""The permission rules in single cases told in words.

@everyone is 1, roles are 11 and up, channels 21 and up, threads 31 and up, users 101 and up.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from cogs.memory.surface.access import (
    ADMINISTRATOR,
    CONNECT,
    MANAGE_THREADS,
    READ_MESSAGE_HISTORY,
    VIEW_CHANNEL,
    Audience,
    ChannelKind,
    ChannelRules,
    GuildMember,
    GuildSnapshot,
    Permit,
    ThreadRules,
)

READ = VIEW_CHANNEL | READ_MESSAGE_HISTORY
HIDDEN = (0, VIEW_CHANNEL)
SHOWN = (VIEW_CHANNEL, 0)
OWNER, ANN, BOB = 101, 102, 103
RED, BLUE = 11, 12


def guild(
    channels: dict[int, ChannelRules],
    *,
    threads: dict[int, ThreadRules] | None = None,
    everyone: int = READ | CONNECT,
    red: int = 0,
    blue: int = 0,
    named: dict[int, frozenset[int] | None] | None = None,
    bot: int | None = None,
    bot_role: int | None = None,
) -> GuildSnapshot:
    return GuildSnapshot(
        guild_id=1,
        owner_id=OWNER,
        roles={1: everyone, RED: red, BLUE: blue},
        channels=channels,
        threads=threads or {},
        named_members=named or {},
        bot_id=bot,
        bot_role_id=bot_role,
    )


def shown_to(*roles: int, users: tuple[int, ...] = ()) -> ChannelRules:
    """A channel hidden from @everyone but for these."""
    return ChannelRules(
        role_overwrites={1: HIDDEN, **dict.fromkeys(roles, SHOWN)}, member_overwrites=dict.fromkeys(users, SHOWN)
    )


def test_who_is_not_known_to_be_a_member_reads_nothing() -> None:
    audience = Audience(guild({21: ChannelRules()}))
    assert audience.requester_channels(None) == frozenset()
    assert audience.undecided_private_threads(None) == frozenset()
    assert audience.ephemeral_scope(None, 21) == frozenset()
    assert audience.public_scope(None, 21) == frozenset()


def test_guild_without_its_everyone_role_is_unknown_and_allows_nothing_even_to_its_owner() -> None:
    audience = Audience(replace(guild({21: ChannelRules()}), roles={RED: ADMINISTRATOR}))
    assert audience.requester_channels(GuildMember(OWNER)) == frozenset()
    assert audience.requester_channels(GuildMember(ANN, frozenset({RED}))) == frozenset()
    assert audience.public_channels(21) == frozenset()


def test_unknown_target_takes_nothing() -> None:
    audience = Audience(guild({21: ChannelRules()}, threads={31: ThreadRules(parent_id=29)}))
    assert audience.public_channels(22) == frozenset()
    assert audience.public_channels(31) == frozenset()
    assert audience.requester_channels(GuildMember(OWNER)) == {21}


def test_role_and_permission_unknown_to_the_snapshot_give_nothing() -> None:
    audience = Audience(guild({21: shown_to(99)}))
    assert audience.requester_channels(GuildMember(ANN, frozenset({99}))) == frozenset()


@pytest.mark.parametrize(("connect", "readable"), [(CONNECT, {21}), (0, set())])
def test_text_of_a_voice_channel_needs_connect(connect: int, readable: set[int]) -> None:
    audience = Audience(guild({21: ChannelRules(kind=ChannelKind.VOICE)}, everyone=READ | connect))
    assert audience.requester_channels(GuildMember(ANN)) == readable
    assert audience.public_channels(21) == readable


def test_timeout_takes_voice_text_and_thread_keeping_but_not_from_administrators() -> None:
    channels = {21: ChannelRules(), 22: ChannelRules(kind=ChannelKind.VOICE)}
    audience = Audience(
        guild(channels, threads={31: ThreadRules(21, private=True)}, red=MANAGE_THREADS, blue=ADMINISTRATOR)
    )
    keeper, chief = frozenset({RED}), frozenset({BLUE})
    assert audience.requester_channels(GuildMember(ANN, keeper)) == {21, 22, 31}
    assert audience.requester_channels(GuildMember(ANN, keeper, timed_out=True)) == {21}
    assert audience.requester_channels(GuildMember(ANN, chief, timed_out=True)) == {21, 22, 31}
    assert audience.requester_channels(GuildMember(OWNER, timed_out=True)) == {21, 22, 31}


def test_private_thread_is_read_by_its_members_and_quoted_only_in_itself() -> None:
    threads = {31: ThreadRules(21, private=True), 32: ThreadRules(21, private=True), 33: ThreadRules(21)}
    audience = Audience(guild({21: ChannelRules()}, threads=threads))
    outsider, insider = GuildMember(ANN), GuildMember(ANN, private_threads=frozenset({31}))
    assert audience.requester_channels(outsider) == {21, 33}
    assert audience.undecided_private_threads(outsider) == {31, 32}
    assert audience.ephemeral_scope(insider, 21) == {21, 31, 33}
    assert audience.public_scope(insider, 21) == {21, 33}
    assert audience.public_scope(insider, 33) == {21, 33}
    assert audience.public_scope(insider, 31) == {21, 31, 33}
    assert audience.public_scope(insider, 32) == {21, 33}


def test_joining_a_private_thread_does_not_help_who_cannot_read_its_channel() -> None:
    audience = Audience(guild({21: shown_to(RED)}, threads={31: ThreadRules(21, private=True)}))
    assert audience.requester_channels(GuildMember(ANN, private_threads=frozenset({31}))) == frozenset()
    assert audience.undecided_private_threads(GuildMember(ANN)) == frozenset()


def test_forum_is_read_through_its_threads_alone() -> None:
    audience = Audience(guild({21: ChannelRules(kind=ChannelKind.CONTAINER)}, threads={31: ThreadRules(21)}))
    assert audience.requester_channels(GuildMember(ANN)) == {31}
    assert audience.public_channels(31) == {31}


def test_age_restricted_text_goes_only_where_age_restricted_text_belongs() -> None:
    channels = {21: ChannelRules(), 22: ChannelRules(age_restricted=True), 23: ChannelRules(age_restricted=True)}
    threads = {31: ThreadRules(21), 32: ThreadRules(22)}
    audience = Audience(guild(channels, threads=threads))
    ann = GuildMember(ANN)
    for place in (21, 31, None, 4711):
        assert audience.ephemeral_scope(ann, place) == {21, 31}
    for place in (22, 32):
        assert audience.ephemeral_scope(ann, place) == {21, 22, 23, 31, 32}
    assert audience.public_scope(ann, 31) == {21, 31}
    assert audience.public_scope(ann, 32) == {21, 22, 23, 31, 32}


def test_staff_channel_is_not_quoted_in_public_but_public_is_quoted_among_staff() -> None:
    audience = Audience(guild({21: ChannelRules(), 22: shown_to(RED)}))
    staff = GuildMember(ANN, frozenset({RED}))
    assert audience.public_scope(staff, 21) == {21}
    assert audience.public_scope(staff, 22) == {21, 22}


def test_two_groups_quote_each_other_only_where_one_is_part_of_the_other() -> None:
    audience = Audience(guild({21: shown_to(RED), 22: shown_to(RED, BLUE)}))
    both = GuildMember(ANN, frozenset({RED, BLUE}))
    assert audience.public_scope(both, 21) == {21, 22}
    assert audience.public_scope(both, 22) == {22}


def test_readers_without_history_keep_a_channel_from_being_quoted_even_in_itself() -> None:
    no_history = ChannelRules(role_overwrites={1: (0, READ_MESSAGE_HISTORY)})
    audience = Audience(guild({21: no_history}))
    assert audience.public_channels(21) == frozenset()


def test_denied_role_counts_unless_it_is_shut_out_of_the_target_too() -> None:
    quarantine = {RED: HIDDEN}
    audience = Audience(guild({21: ChannelRules(), 22: ChannelRules(role_overwrites=quarantine)}))
    assert audience.public_channels(21) == {21}
    assert audience.public_channels(22) == {21, 22}
    both = Audience(guild({c: ChannelRules(role_overwrites=quarantine) for c in (21, 22)}))
    assert both.public_channels(21) == {21, 22}


def test_role_shut_out_of_the_target_is_no_reader_of_it() -> None:
    channels = {21: ChannelRules(role_overwrites={BLUE: HIDDEN}), 22: shown_to(RED)}
    audience = Audience(guild(channels, everyone=READ_MESSAGE_HISTORY, red=READ, blue=READ))
    assert audience.public_channels(21) == {21, 22}
    assert audience.public_channels(22) == {22}


def test_ticket_channel_takes_public_text_and_knowing_its_guest_lets_it_take_more() -> None:
    channels = {21: ChannelRules(), 22: shown_to(RED), 23: shown_to(RED, users=(ANN,))}
    assert Audience(guild(channels)).public_channels(23) == {21, 23}
    assert Audience(guild(channels, named={ANN: frozenset()})).public_channels(23) == {21, 23}
    assert Audience(guild(channels, named={ANN: frozenset({RED})})).public_channels(23) == {21, 22, 23}
    assert Audience(guild(channels, named={ANN: None})).public_channels(23) == {21, 22, 23}


def test_member_shut_out_of_the_source_must_be_shut_out_of_the_target() -> None:
    without_ann = ChannelRules(member_overwrites={ANN: HIDDEN})
    channels = {21: ChannelRules(), 22: without_ann, 23: without_ann, 24: shown_to(RED)}
    assert Audience(guild(channels)).public_channels(21) == {21}
    assert Audience(guild(channels)).public_channels(22) == {21, 22, 23}
    assert Audience(guild(channels)).public_channels(24) == {21, 24}
    assert Audience(guild(channels, named={ANN: frozenset()})).public_channels(24) == {21, 22, 23, 24}
    assert Audience(guild(channels, named={ANN: frozenset({RED})})).public_channels(24) == {21, 24}


def test_bot_let_into_a_channel_does_not_count_as_a_reader() -> None:
    channels = {21: shown_to(RED), 22: shown_to(RED, BLUE, users=(BOB,))}
    assert Audience(guild(channels)).public_channels(22) == {22}
    assert Audience(guild(channels, bot=BOB, bot_role=BLUE)).public_channels(22) == {21, 22}


def test_permit_is_cut_to_what_holds_now_and_never_grows() -> None:
    open_guild = guild({21: ChannelRules(), 22: ChannelRules(), 23: ChannelRules()})
    ann = GuildMember(ANN)
    alone = Permit(1, ANN, 21, public=False, channel_ids=frozenset({21, 22}))
    for_all = replace(alone, public=True)
    closed = Audience(replace(open_guild, channels={**open_guild.channels, 22: shown_to(RED)}))
    red = GuildMember(ANN, frozenset({RED}))
    for permit in (alone, for_all):
        assert Audience(open_guild).still_allowed(permit, ann, [21, 22, 23]) == {21, 22}
        assert closed.still_allowed(permit, ann, [21, 22, 23]) == {21}
        assert closed.still_allowed(permit, None, [21, 22]) == frozenset()
        assert closed.still_allowed(permit, GuildMember(BOB), [21, 22]) == frozenset()
        assert closed.still_allowed(replace(permit, guild_id=2), ann, [21, 22]) == frozenset()
    assert closed.still_allowed(alone, red, [22]) == {22}
    assert closed.still_allowed(for_all, red, [22]) == frozenset()
    assert Audience(open_guild).still_allowed(replace(for_all, place_id=None), ann, [21]) == frozenset()
