"""Members are asked for over the gateway where an answer seen by others is due, and only there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import discord
import pytest
from discord.ext import commands

from cogs.memory.surface import roster
from cogs.memory.surface.client import memory_intents, trim_members
from cogs.memory.surface.discord_access import AccessRules
from tests.loopback import LoopbackDiscord, Overwrite, Permission, World, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.loopback import Guild, Member, Role

VIEW = Permission.VIEW_CHANNEL


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, members that come are waited for."""
    monkeypatch.setattr(roster, "PATIENCE_S", 60.0)


class Club:
    """A guild in which all staff happen to be members of the club, which only counting heads can tell."""

    def __init__(self, *, others: int = 0) -> None:
        self.world = World()
        self.guild: Guild = self.world.guild("Club")
        self.staff: Role = self.guild.role("staff")
        self.club: Role = self.guild.role("club")
        self.ann: Member = self.guild.member("ann", self.club)
        self.bob: Member = self.guild.member("bob", self.club, self.staff)
        self.inner = self.guild.text_channel("inner", only=[self.club])
        self.office = self.guild.text_channel("office", only=[self.club, self.staff])
        self.ticket = self.guild.text_channel("ticket", only=[self.club])
        self.ticket.set_overwrite(self.bob, Overwrite(allow=VIEW))
        for number in range(others):
            self.guild.member(f"member {number}")
        self.server = LoopbackDiscord(self.world)

    @asynccontextmanager
    async def open(self, *, members: bool = True) -> AsyncIterator[AccessRules]:
        """A bot on the guild, which listens."""
        bot = commands.AutoShardedBot("!", intents=memory_intents(members=members), chunk_guilds_at_startup=False)
        async with self.server, running(self.server, bot):
            self.bot = bot
            rules = AccessRules(bot)
            rules.listen()
            yield rules
            rules.close()

    async def quotable(self, rules: AccessRules, target: int) -> frozenset[int]:
        """What ann may be shown in a channel in front of others."""
        known = self.bot.get_guild(self.guild.id)
        assert known is not None
        ann = await known.fetch_member(self.ann.id)
        return (await rules.public(known, ann, target)).channel_ids


async def test_all_members_of_a_small_server_are_asked_for_once_and_then_counted() -> None:
    club = Club()
    async with club.open() as rules:
        assert club.server.gateway.member_requests == []
        assert club.inner.id in await club.quotable(rules, club.office.id)
        assert await club.quotable(rules, club.ticket.id) == {club.inner.id, club.office.id, club.ticket.id}
        assert len(club.server.gateway.member_requests) == 1
        club.bob.remove_role(club.club)
        await club.server.gateway.barrier()
        assert club.inner.id not in await club.quotable(rules, club.office.id)
        club.guild.member("new one", club.staff, club.club)
        club.bob.leave()
        await club.server.gateway.barrier()
        assert club.inner.id in await club.quotable(rules, club.office.id)
        assert len(club.server.gateway.member_requests) == 1


async def test_a_new_session_asks_anew() -> None:
    club = Club()
    async with club.open() as rules:
        await club.quotable(rules, club.office.id)
        await club.server.gateway.invalidate()
        await club.server.until(lambda: club.server.gateway.identifies == 2 and club.bot.is_ready(), within=30)
        await club.server.gateway.barrier()
        assert club.inner.id in await club.quotable(rules, club.office.id)
        assert len(club.server.gateway.member_requests) == 2


async def test_of_a_large_server_only_those_are_asked_for_whom_overwrites_name() -> None:
    club = Club(others=roster.COUNTED_MEMBERS)
    async with club.open() as rules:
        assert club.inner.id in await club.quotable(rules, club.ticket.id)
        assert club.inner.id not in await club.quotable(rules, club.office.id)
        [request] = club.server.gateway.member_requests
        assert request["user_ids"] == [club.bob.id]
        club.bob.remove_role(club.club)
        await club.server.gateway.barrier()
        assert club.inner.id not in await club.quotable(rules, club.ticket.id)


async def test_members_that_do_not_come_leave_the_proof_and_better_it_when_they_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    club = Club()
    monkeypatch.setattr(roster, "PATIENCE_S", 0.05)
    club.server.gateway.answers_member_requests = False
    async with club.open() as rules:
        assert await club.quotable(rules, club.office.id) == {club.office.id}
        assert await club.quotable(rules, club.office.id) == {club.office.id}
        [request] = club.server.gateway.member_requests
        club.server.gateway.answers_member_requests = True
        [session] = club.server.gateway.live
        club.server.gateway._send_members(session, request)
        await club.server.gateway.barrier()
        assert club.inner.id in await club.quotable(rules, club.office.id)


async def test_bot_without_the_intent_asks_for_nobody() -> None:
    club = Club()
    async with club.open(members=False) as rules:
        assert await club.quotable(rules, club.office.id) == {club.office.id}
        assert club.server.gateway.member_requests == []


async def test_cache_of_a_large_server_keeps_the_bot_and_whom_overwrites_name() -> None:
    club = Club(others=roster.COUNTED_MEMBERS)
    async with club.open():
        guild = club.bot.get_guild(club.guild.id)
        assert guild is not None
        await guild.chunk()
        assert len(guild.members) == len(club.guild.members)
        trim_members(guild)
        assert {member.id for member in guild.members} == {club.world.bot.id, club.bob.id}


async def test_cache_of_a_small_server_stays_whole() -> None:
    club = Club()
    async with club.open():
        guild = club.bot.get_guild(club.guild.id)
        assert isinstance(guild, discord.Guild)
        await guild.chunk()
        trim_members(guild)
        assert guild.chunked
