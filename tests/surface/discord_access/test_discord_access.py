"""The permission rules over real discord.py objects, fed by real gateway payloads and a small REST server."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import discord
import pytest

from tests.surface import permission_oracle as oracle

from .discord_objects import (
    ADULT,
    ANN,
    BOB,
    CLOSED,
    GUILD,
    HIDDEN,
    OPEN,
    RED,
    SECRET_THREAD,
    STAFF,
    Bot,
    Discord,
    ann_of,
    carried,
    channel_payload,
    guild_of,
    guild_payload,
    listening,
    member_payload,
    role_payload,
    shown,
    user_payload,
)

if TYPE_CHECKING:
    from cogs.memory.surface.discord_access import AccessRules

# Congruence.


@pytest.mark.parametrize("make_world", [oracle.chaotic_world, oracle.usual_world])
async def test_scope_is_what_discord_py_itself_computes(rest: Discord, make_world: Any) -> None:
    rng = random.Random(40)
    bot = Bot(members=True)
    await bot.login("token")
    rules = listening(bot)
    for _ in range(150):
        world = make_world(rng, members=6)
        for channel in world.channels.values():
            channel.nsfw = False
        rest.world = world
        bot.receive("GUILD_CREATE", guild_payload(world))
        guild = guild_of(bot)
        for member in guild.members:
            permit = await rules.ephemeral(guild, member, None)
            expected = {c.id for c in guild.channels if may_read(c.permissions_for(member), c)}
            expected |= {
                thread.id
                for thread in guild.threads
                if thread.parent is not None
                and may_read(thread.permissions_for(member), thread.parent)
                and (
                    not thread.is_private()
                    or thread.permissions_for(member).manage_threads
                    or member.id in world.threads[thread.id].joined
                )
            }
            assert permit.channel_ids == expected - {c.id for c in guild.forums}
        bot.receive("GUILD_DELETE", {"id": str(GUILD)})
        await bot.settle()
        rules._joined.clear()
    await bot.close()


def may_read(permissions: discord.Permissions, channel: Any) -> bool:
    voice = isinstance(channel, discord.VoiceChannel | discord.StageChannel)
    return permissions.view_channel and permissions.read_message_history and (permissions.connect or not voice)


async def test_public_scope_holds_what_every_reader_may_read(bot: Bot, rules: AccessRules) -> None:
    ann = ann_of(bot)
    assert (await rules.public(guild_of(bot), ann, OPEN)).channel_ids == {OPEN}
    assert (await rules.public(guild_of(bot), ann, CLOSED)).channel_ids == {OPEN, CLOSED}
    assert (await rules.public(guild_of(bot), ann, ADULT)).channel_ids == {OPEN, ADULT}


async def test_public_scope_asks_discord_about_no_private_thread_but_the_target(
    bot: Bot, rules: AccessRules, rest: Discord
) -> None:
    await rules.public(guild_of(bot), ann_of(bot), OPEN)
    assert rest.asked["thread member"] == 0
    await rules.public(guild_of(bot), ann_of(bot), SECRET_THREAD)
    assert rest.asked["thread member"] == 1


async def test_public_permit_is_checked_against_the_readers_of_its_place_as_they_are_now(
    bot: Bot, rules: AccessRules
) -> None:
    permit = await rules.public(guild_of(bot), ann_of(bot), ADULT)
    assert await rules.still_allowed(permit, {OPEN}) == {OPEN}
    bot.receive("CHANNEL_UPDATE", channel_payload(OPEN, oracle.Channel(oracle.TEXT, [HIDDEN, shown(RED)])))
    assert await rules.still_allowed(permit, {OPEN}) == frozenset()
    bot.receive("CHANNEL_UPDATE", channel_payload(ADULT, oracle.Channel(oracle.TEXT, [HIDDEN, shown(RED)])))
    assert await rules.still_allowed(permit, {OPEN}) == {OPEN}


# Who is asking.


async def test_direct_message_user_stranger_and_outage_permit_nothing(bot: Bot, rules: AccessRules) -> None:
    guild, ann = guild_of(bot), ann_of(bot)
    user_data: Any = user_payload(ANN)
    user = discord.User(state=bot._connection, data=user_data)
    elsewhere: Any = {"id": "1", "roles": [role_payload(1, oracle.ALL)], "owner_id": str(ANN)}
    stranger: Any = member_payload(ANN, oracle.Member([]))
    guest = discord.Member(
        data=stranger, guild=discord.Guild(data=elsewhere, state=bot._connection), state=bot._connection
    )
    for asked_guild, asker in ((None, ann), (guild, user), (guild, guest), (guild, None), (None, None)):
        assert (await rules.ephemeral(asked_guild, asker, OPEN)).channel_ids == frozenset()
        assert (await rules.public(asked_guild, asker, OPEN)).channel_ids == frozenset()
    permit = await rules.ephemeral(guild, ann, OPEN)
    bot.receive("GUILD_DELETE", {"id": str(GUILD), "unavailable": True})
    assert (await rules.ephemeral(guild, ann, OPEN)).channel_ids == frozenset()
    assert await rules.still_allowed(permit, permit.channel_ids) == frozenset()


async def test_who_has_left_reads_nothing_though_his_interaction_still_calls_him_a_member(
    bot: Bot, rules: AccessRules, rest: Discord
) -> None:
    guild, ann = guild_of(bot), ann_of(bot)
    permit = await rules.ephemeral(guild, ann, OPEN)
    del rest.world.members[ANN]
    bot.receive("GUILD_MEMBER_REMOVE", {"guild_id": str(GUILD), "user": user_payload(ANN)})
    assert (await rules.ephemeral(guild, ann, OPEN)).channel_ids == frozenset()
    assert await rules.still_allowed(permit, permit.channel_ids) == frozenset()


async def test_only_what_the_cached_member_and_the_copy_an_interaction_carries_may_both_read_is_shown(
    bot: Bot, rules: AccessRules
) -> None:
    """The events of Discord need not come in the order of what happened."""
    assert (await rules.ephemeral(guild_of(bot), ann_of(bot), OPEN)).channel_ids == {OPEN, CLOSED}
    demoted = carried(bot, ANN, oracle.Member([]))
    assert (await rules.ephemeral(guild_of(bot), demoted, OPEN)).channel_ids == {OPEN}
    assert (await rules.public(guild_of(bot), demoted, CLOSED)).channel_ids == {OPEN}
    promoted = carried(bot, ANN, oracle.Member([STAFF, RED]))
    without_roles = member_payload(ANN, oracle.Member([]))
    bot.receive("GUILD_MEMBER_UPDATE", {"guild_id": str(GUILD), **without_roles})
    assert (await rules.ephemeral(guild_of(bot), promoted, OPEN)).channel_ids == {OPEN}


async def test_bot_blind_to_members_trusts_what_an_interaction_carries_and_asks_before_sending(
    blind_bot: Bot, rest: Discord, caplog: pytest.LogCaptureFixture
) -> None:
    rules = listening(blind_bot)
    guild_of(blind_bot)._add_member(carried(blind_bot, ANN, oracle.Member([STAFF])))  # once met in a voice channel
    permit = await rules.ephemeral(guild_of(blind_bot), ann_of(blind_bot), OPEN)
    assert permit.channel_ids == {OPEN, CLOSED}
    assert not rest.asked["member"]
    assert await rules.still_allowed(permit, permit.channel_ids) == {OPEN, CLOSED}
    rest.world.members[ANN].roles.remove(RED)
    assert await rules.still_allowed(permit, permit.channel_ids) == {OPEN}
    caplog.clear()
    del rest.world.members[ANN]
    assert await rules.still_allowed(permit, permit.channel_ids) == frozenset()
    assert not caplog.records


async def test_no_answer_about_a_member_is_a_no_and_a_warning(
    blind_bot: Bot, rest: Discord, caplog: pytest.LogCaptureFixture
) -> None:
    rules = listening(blind_bot)
    permit = await rules.ephemeral(guild_of(blind_bot), ann_of(blind_bot), OPEN)
    rest.failing = True
    assert await rules.still_allowed(permit, permit.channel_ids) == frozenset()
    assert "DiscordServerError" in caplog.text


# In step with the guild.


def change_role(bot: Bot) -> None:
    bot.receive("GUILD_ROLE_UPDATE", {"guild_id": str(GUILD), "role": role_payload(GUILD, 0)})


def delete_role(bot: Bot) -> None:
    bot.receive("GUILD_ROLE_DELETE", {"guild_id": str(GUILD), "role_id": str(RED)})


def close_channel(bot: Bot) -> None:
    bot.receive("CHANNEL_UPDATE", channel_payload(CLOSED, oracle.Channel(oracle.TEXT, [HIDDEN, shown(STAFF)])))


def restrict_channel(bot: Bot) -> None:
    closed = oracle.Channel(oracle.TEXT, [HIDDEN, shown(RED)], nsfw=True)
    bot.receive("CHANNEL_UPDATE", channel_payload(CLOSED, closed))


def delete_channel(bot: Bot) -> None:
    bot.receive("CHANNEL_DELETE", channel_payload(CLOSED, oracle.Channel(oracle.TEXT)))


def take_role(bot: Bot) -> None:
    bot.receive("GUILD_MEMBER_UPDATE", {"guild_id": str(GUILD), **member_payload(ANN, oracle.Member([]))})


def kick_bot(bot: Bot) -> None:
    bot.receive("GUILD_DELETE", {"id": str(GUILD)})


REVOCATIONS = [change_role, delete_role, close_channel, restrict_channel, delete_channel, take_role, kick_bot]


@pytest.mark.parametrize("revoke", REVOCATIONS)
async def test_revocation_counts_right_before_sending_even_before_any_listener_has_run(
    bot: Bot, rules: AccessRules, revoke: Any
) -> None:
    permit = await rules.ephemeral(guild_of(bot), ann_of(bot), OPEN)
    assert await rules.still_allowed(permit, {CLOSED}) == {CLOSED}
    revoke(bot)
    assert await rules.still_allowed(permit, {CLOSED}) == frozenset()


@pytest.mark.parametrize("revoke", REVOCATIONS)
async def test_revocation_counts_for_the_next_query(bot: Bot, rules: AccessRules, revoke: Any) -> None:
    guild, ann = guild_of(bot), ann_of(bot)
    assert CLOSED in (await rules.ephemeral(guild, ann, OPEN)).channel_ids
    revoke(bot)
    await bot.settle()
    assert CLOSED not in (await rules.ephemeral(guild, ann, OPEN)).channel_ids


@pytest.mark.parametrize("revoke", REVOCATIONS)
async def test_revocation_counts_while_discord_is_asked_about_a_thread(
    bot: Bot, rules: AccessRules, rest: Discord, revoke: Any
) -> None:
    rest.world.threads[SECRET_THREAD].joined.add(ANN)
    permit = await rules.ephemeral(guild_of(bot), ann_of(bot), OPEN)
    rest.before_answer = lambda: revoke(bot)
    assert CLOSED not in await rules.still_allowed(permit, {SECRET_THREAD, CLOSED})
    assert rest.asked["thread member"] == 2


@pytest.mark.parametrize("revoke", [r for r in REVOCATIONS if r is not take_role])
async def test_revocation_counts_while_discord_is_asked_about_the_member(
    blind_bot: Bot, rest: Discord, revoke: Any
) -> None:
    rules = listening(blind_bot)
    permit = await rules.ephemeral(guild_of(blind_bot), ann_of(blind_bot), OPEN)
    rest.before_answer = lambda: revoke(blind_bot)
    assert CLOSED not in await rules.still_allowed(permit, {OPEN, CLOSED})
    assert rest.asked["member"] == 1


async def test_member_who_goes_while_discord_is_asked_about_a_thread_is_gone(
    bot: Bot, rules: AccessRules, rest: Discord
) -> None:
    rest.world.threads[SECRET_THREAD].joined.add(ANN)
    permit = await rules.ephemeral(guild_of(bot), ann_of(bot), OPEN)

    def leave() -> None:
        rest.world.members.pop(ANN, None)
        bot.receive("GUILD_MEMBER_REMOVE", {"guild_id": str(GUILD), "user": user_payload(ANN)})

    rest.before_answer = leave
    assert await rules.still_allowed(permit, {SECRET_THREAD, OPEN}) == frozenset()


async def test_new_owner_new_channel_and_new_role_begin_an_epoch_and_ordinary_events_do_not(
    bot: Bot, rules: AccessRules, rest: Discord
) -> None:
    guild = guild_of(bot)
    audience, epoch = rules.audience(guild), rules.epoch(GUILD)
    bot.receive("GUILD_MEMBER_UPDATE", {"guild_id": str(GUILD), **member_payload(BOB, oracle.Member([RED]))})
    await bot.settle()
    assert rules.audience(guild) is audience
    rest.world.owner = BOB
    bot.receive("GUILD_UPDATE", guild_payload(rest.world))
    await bot.settle()
    assert rules.audience(guild).snapshot.owner_id == BOB
    bot.receive("CHANNEL_CREATE", channel_payload(2010, oracle.Channel(oracle.TEXT)))
    bot.receive("GUILD_ROLE_CREATE", {"guild_id": str(GUILD), "role": role_payload(1010, 0)})
    await bot.settle()
    snapshot = rules.audience(guild).snapshot
    assert 2010 in snapshot.channels
    assert 1010 in snapshot.roles
    assert snapshot.epoch == rules.epoch(GUILD) == epoch + 3
    bot.receive("GUILD_ROLE_DELETE", {"guild_id": str(GUILD), "role_id": "1010"})
    await bot.settle()
    assert 1010 not in rules.audience(guild).snapshot.roles


async def test_member_named_by_an_overwrite_begins_an_epoch_when_his_roles_change(bot: Bot, rules: AccessRules) -> None:
    guest = oracle.Overwrite(BOB, is_role=False, allow=oracle.VIEW, deny=0)
    bot.receive("CHANNEL_UPDATE", channel_payload(ADULT, oracle.Channel(oracle.TEXT, [HIDDEN, shown(RED), guest])))
    await bot.settle()
    guild = guild_of(bot)
    assert CLOSED not in rules.audience(guild).public_channels(ADULT)
    bot.receive("GUILD_MEMBER_UPDATE", {"guild_id": str(GUILD), **member_payload(BOB, oracle.Member([RED]))})
    await bot.settle()
    assert CLOSED in rules.audience(guild).public_channels(ADULT)
    bot.receive("GUILD_MEMBER_UPDATE", {"guild_id": str(GUILD), **member_payload(BOB, oracle.Member([]))})
    await bot.settle()
    assert CLOSED not in rules.audience(guild).public_channels(ADULT)
    bot.receive("GUILD_MEMBER_REMOVE", {"guild_id": str(GUILD), "user": user_payload(BOB)})
    await bot.settle()
    assert CLOSED in rules.audience(guild).public_channels(ADULT)


async def test_heads_are_counted_where_all_members_are_known_and_whoever_comes_to_see_more_counts_at_once(
    bot: Bot, blind_bot: Bot, rules: AccessRules
) -> None:
    """Staff may look into a channel of RED's: it takes RED's text as long as all staff are RED."""
    both = channel_payload(ADULT, oracle.Channel(oracle.TEXT, [HIDDEN, shown(RED), shown(STAFF)]))
    for each in (bot, blind_bot):
        each.receive("CHANNEL_UPDATE", both)
    bot.receive("GUILD_MEMBER_UPDATE", {"guild_id": str(GUILD), **member_payload(BOB, oracle.Member([STAFF, RED]))})
    await bot.settle()
    permit = await rules.public(guild_of(bot), ann_of(bot), ADULT)
    assert permit.channel_ids == {OPEN, CLOSED, ADULT}
    assert await rules.still_allowed(permit, {CLOSED}) == {CLOSED}
    blind = listening(blind_bot)
    assert CLOSED not in blind.audience(guild_of(blind_bot)).public_channels(ADULT)

    bot.receive("GUILD_MEMBER_UPDATE", {"guild_id": str(GUILD), **member_payload(BOB, oracle.Member([STAFF]))})
    assert await rules.still_allowed(permit, {CLOSED}) == frozenset()
    await bot.settle()
    assert CLOSED not in rules.audience(guild_of(bot)).public_channels(ADULT)
    newcomer = {"guild_id": str(GUILD), **member_payload(77, oracle.Member([STAFF, RED]))}
    bot.receive("GUILD_MEMBER_REMOVE", {"guild_id": str(GUILD), "user": user_payload(BOB)})
    bot.receive("GUILD_MEMBER_ADD", newcomer)
    await bot.settle()
    assert CLOSED in rules.audience(guild_of(bot)).public_channels(ADULT)


async def test_member_who_is_only_not_cached_counts_as_a_reader(bot: Bot, rules: AccessRules, rest: Discord) -> None:
    stranger = oracle.Overwrite(77, is_role=False, allow=oracle.VIEW, deny=0)
    rest.world.channels[ADULT].overwrites = [HIDDEN, shown(RED), stranger]
    payload = guild_payload(rest.world)
    bot.receive("GUILD_CREATE", payload)
    assert CLOSED in rules.audience(guild_of(bot)).public_channels(ADULT)
    bot.receive("GUILD_CREATE", {**payload, "member_count": 1000})
    await bot.settle()
    assert CLOSED not in rules.audience(guild_of(bot)).public_channels(ADULT)


async def test_new_session_is_believed_at_once(bot: Bot, rules: AccessRules, rest: Discord) -> None:
    assert CLOSED in rules.audience(guild_of(bot)).snapshot.channels
    del rest.world.channels[CLOSED]
    bot._connection._remove_guild(guild_of(bot))  # what READY does
    bot.receive("GUILD_CREATE", guild_payload(rest.world))
    assert CLOSED not in rules.audience(guild_of(bot)).snapshot.channels


async def test_closed_rules_listen_no_more(bot: Bot, rules: AccessRules) -> None:
    rules.close()
    epoch = rules.epoch(GUILD)
    close_channel(bot)
    await bot.settle()
    assert rules.epoch(GUILD) == epoch
    assert not any(bot.extra_events.values())
