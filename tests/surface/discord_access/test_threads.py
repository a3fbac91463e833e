"""Private and archived threads, whose readers and very existence Discord's cache does not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord

from cogs.memory.surface.access import ThreadRules
from cogs.memory.surface.discord_access import LOOKUPS_PER_QUERY, AccessRules
from cogs.memory.surface.plain_rules import thread_rules
from tests.surface import permission_oracle as oracle

from .discord_objects import (
    ANN,
    BOB,
    CLOSED,
    GUILD,
    OPEN,
    SECRET_THREAD,
    STAFF,
    Bot,
    Discord,
    ann_of,
    carried,
    guild_of,
    listening,
    thread_members_payload,
    thread_payload,
)

if TYPE_CHECKING:
    import pytest


async def test_private_thread_opens_for_its_members_and_keepers_only(
    bot: Bot, rules: AccessRules, rest: Discord
) -> None:
    guild, ann, bob = guild_of(bot), ann_of(bot), carried(bot, BOB, oracle.Member([STAFF]))
    assert SECRET_THREAD not in (await rules.ephemeral(guild, ann, OPEN)).channel_ids
    assert SECRET_THREAD in (await rules.ephemeral(guild, bob, OPEN)).channel_ids
    rest.world.threads[SECRET_THREAD].joined.add(ANN)
    bot.receive("THREAD_MEMBERS_UPDATE", thread_members_payload(added=ANN))
    await bot.settle()
    permit = await rules.ephemeral(guild, ann, OPEN)
    assert SECRET_THREAD in permit.channel_ids
    assert await rules.still_allowed(permit, {SECRET_THREAD}) == {SECRET_THREAD}
    assert SECRET_THREAD in (await rules.public(guild, ann, SECRET_THREAD)).channel_ids
    assert SECRET_THREAD not in (await rules.public(guild, ann, OPEN)).channel_ids
    rest.world.threads[SECRET_THREAD].joined.clear()
    assert await rules.still_allowed(permit, {SECRET_THREAD, OPEN}) == {OPEN}
    assert SECRET_THREAD not in (await rules.ephemeral(guild, ann, OPEN)).channel_ids


async def test_leaving_a_private_thread_is_noticed_without_asking(bot: Bot, rules: AccessRules, rest: Discord) -> None:
    guild, ann = guild_of(bot), ann_of(bot)
    rest.world.threads[SECRET_THREAD].joined.add(ANN)
    assert SECRET_THREAD in (await rules.ephemeral(guild, ann, OPEN)).channel_ids
    assert SECRET_THREAD in (await rules.ephemeral(guild, ann, OPEN)).channel_ids
    assert rest.asked["thread member"] == 1
    bot.receive("THREAD_MEMBERS_UPDATE", thread_members_payload(removed=ANN))
    await bot.settle()
    assert SECRET_THREAD not in (await rules.ephemeral(guild, ann, OPEN)).channel_ids
    assert rest.asked["thread member"] == 1


async def test_who_leaves_a_private_thread_while_discord_is_asked_about_him_has_left(
    blind_bot: Bot, rest: Discord
) -> None:
    rules = listening(blind_bot)
    rest.world.threads[SECRET_THREAD].joined.add(ANN)
    permit = await rules.ephemeral(guild_of(blind_bot), ann_of(blind_bot), OPEN)
    assert await rules.still_allowed(permit, {SECRET_THREAD}) == {SECRET_THREAD}
    questions = rest.asked["member"]

    def leave() -> None:
        if rest.asked["member"] > questions:  # not while the thread is asked about
            blind_bot.receive("THREAD_MEMBERS_UPDATE", thread_members_payload(removed=ANN))

    rest.before_answer = leave
    assert await rules.still_allowed(permit, {SECRET_THREAD}) == frozenset()


async def test_no_answer_about_a_thread_is_a_no_that_is_asked_again(
    bot: Bot, rules: AccessRules, rest: Discord, caplog: pytest.LogCaptureFixture
) -> None:
    rest.world.threads[SECRET_THREAD].joined.add(ANN)
    rest.failing = True
    assert SECRET_THREAD not in (await rules.ephemeral(guild_of(bot), ann_of(bot), OPEN)).channel_ids
    assert "DiscordServerError" in caplog.text
    rest.failing = False
    assert SECRET_THREAD in (await rules.ephemeral(guild_of(bot), ann_of(bot), OPEN)).channel_ids


async def test_many_private_threads_are_looked_up_by_and_by_newest_first(
    bot: Bot, rules: AccessRules, rest: Discord
) -> None:
    guild, ann = guild_of(bot), ann_of(bot)
    ids = range(4000, 4000 + LOOKUPS_PER_QUERY + 5)
    rest.world.threads = {i: oracle.Thread(oracle.PRIVATE_THREAD, OPEN, {ANN}) for i in ids}
    for thread_id, thread in rest.world.threads.items():
        bot.receive("THREAD_CREATE", thread_payload(thread_id, thread))
    await bot.settle()
    permit = await rules.ephemeral(guild, ann, OPEN)
    assert permit.channel_ids & set(ids) == set(ids[5:])
    permit = await rules.ephemeral(guild, ann, OPEN)
    assert permit.channel_ids & set(ids) == set(ids)


async def test_thread_stays_known_when_discord_py_drops_it_as_archived(bot: Bot, rules: AccessRules) -> None:
    guild, ann = guild_of(bot), ann_of(bot)
    thread = oracle.Thread(oracle.PUBLIC_THREAD, CLOSED)
    bot.receive("THREAD_CREATE", thread_payload(3001, thread))
    bot.receive("THREAD_UPDATE", thread_payload(3001, thread, archived=True))
    await bot.settle()
    assert guild.get_thread(3001) is None
    assert (await rules.ephemeral(guild, ann, OPEN)).channel_ids == {OPEN, CLOSED, 3001}
    bot.receive("THREAD_DELETE", {"id": "3001", "guild_id": str(GUILD), "parent_id": str(CLOSED), "type": 11})
    await bot.settle()
    assert (await rules.ephemeral(guild, ann, OPEN)).channel_ids == {OPEN, CLOSED}


async def test_learnt_threads_survive_in_whatever_keeps_them(bot: Bot, rules: AccessRules, rest: Discord) -> None:
    guild, ann = guild_of(bot), ann_of(bot)
    archived = oracle.Thread(oracle.PRIVATE_THREAD, OPEN, {ANN})
    data: Any = thread_payload(3002, archived, archived=True)
    found = discord.Thread(guild=guild, state=bot._connection, data=data)
    rules.learn_threads(GUILD, {3001: ThreadRules(OPEN), 3002: thread_rules(found)})
    kept = dict(rules.learnt_threads(GUILD))
    again = listening(bot)
    assert 3001 not in (await again.ephemeral(guild, ann, OPEN)).channel_ids
    again.learn_threads(GUILD, kept)
    rest.world.threads[3002] = archived
    permit = await again.ephemeral(guild, ann, CLOSED)
    assert permit.channel_ids >= {3001, 3002}
    assert rest.asked["channel"] == 1
    assert await again.still_allowed(permit, {3001, 3002}) == {3001, 3002}
