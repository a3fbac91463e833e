"""Which members of a server are known, and asking Discord for those that an answer seen by others depends on.

Only with the members intent does Discord tell every change, so only then does what is known stay true; without it
nothing is known here. Members are asked for where such an answer is due, never for all servers when the bot starts:
all of a small server, of a larger one those that its overwrites name.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp
import discord

from .plain_rules import role_ids, role_sets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from discord.ext import commands

    from .access import ChannelRules

log = logging.getLogger(__name__)

COUNTED_MEMBERS: Final = 250
"""Largest server whose heads are counted (4 ms at worst). In larger ones the proof misses next to nothing."""
PATIENCE_S: Final = 2.0
"""Seconds that an answer waits for members; if they come later, the next one is better."""
ANSWER_S: Final = 60.0
"""Seconds after which members are taken not to come."""
NAMES_PER_REQUEST: Final = 100
"""Discord's limit."""
NAMES_ASKED: Final = 500
"""How many members that overwrites name are asked for in one server; without the others the proof fails more often."""


@dataclass(slots=True)
class _Asked:
    """What was asked about a server in this session: a new session brings new guild objects."""

    guild: discord.Guild
    everybody: bool = False
    named: set[int] = field(default_factory=set)
    request: asyncio.Task[None] | None = None
    waited_until: float = 0.0
    """When patience with the request ends (monotonic time), for all answers together."""


class Roster:
    """Knows who is in the guilds of one bot, as far as Discord keeps it told.

    Args:
        bot: whose cache of members is read and filled.
        on_learnt: is told the id of a guild more of whose members are known now.
    """

    def __init__(self, bot: commands.Bot | commands.AutoShardedBot, on_learnt: Callable[[int], None]) -> None:
        self._bot = bot
        self._on_learnt = on_learnt
        self._asked: dict[int, _Asked] = {}

    def live(self, guild: discord.Guild, member_id: int) -> discord.Member | None:
        """Return the member from the cache, if the bot is told of changes to members: else the cache goes stale."""
        return guild.get_member(member_id) if self._bot.intents.members else None

    def is_complete(self, guild: discord.Guild) -> bool:
        """Whether everybody in the guild is known: who is not, has left."""
        return self._bot.intents.members and guild.chunked

    def named(self, guild: discord.Guild, channels: Iterable[ChannelRules]) -> dict[int, frozenset[int] | None]:
        """Return the role ids of members that overwrites name, as far as known; ``None`` for who is not a member."""
        if not self._bot.intents.members:
            return {}
        complete = self.is_complete(guild)
        found = {member_id: guild.get_member(member_id) for member_id in _names(channels)}
        return {
            member_id: role_ids(member) if member else None for member_id, member in found.items() if member or complete
        }

    def role_sets(self, guild: discord.Guild, named: Iterable[int]) -> frozenset[frozenset[int]] | None:
        """Return every set of roles that a member holds, but for those named, the owner and the bot.

        ``None`` where not all are known, or they are too many to count.
        """
        if not self.is_complete(guild) or len(guild.members) > COUNTED_MEMBERS:
            return None
        return role_sets(guild, {*named, guild.owner_id, self._bot.user.id if self._bot.user else None})

    async def learn(self, guild: discord.Guild, channels: Iterable[ChannelRules]) -> None:
        """Ask for the members that an answer in the guild depends on, unless they are known, and wait a moment."""
        if not self._bot.intents.members or guild.chunked:
            return
        asked = self._asked.get(guild.id)
        if asked is None or asked.guild is not guild:
            self._forget(guild.id)
            asked = self._asked[guild.id] = _Asked(guild)
        if asked.request is None or asked.request.done():
            asked.request = self._request(asked, channels)
            asked.waited_until = time.monotonic() + PATIENCE_S
        if asked.request is not None:
            await asyncio.wait({asked.request}, timeout=max(0.0, asked.waited_until - time.monotonic()))

    def close(self) -> None:
        """Ask for nobody any more."""
        for guild_id in tuple(self._asked):
            self._forget(guild_id)

    def _forget(self, guild_id: int) -> None:
        asked = self._asked.pop(guild_id, None)
        if asked is not None and asked.request is not None:
            asked.request.cancel()

    def _request(self, asked: _Asked, channels: Iterable[ChannelRules]) -> asyncio.Task[None] | None:
        """Begin to ask for whom nobody has asked yet in this session; Discord bears few requests for everybody."""
        guild = asked.guild
        if (guild.member_count or COUNTED_MEMBERS + 1) <= COUNTED_MEMBERS:
            if asked.everybody:
                return None
            asked.everybody = True
            return asyncio.create_task(self._ask(guild, ()), name="members")
        names = sorted(name for name in _names(channels) - asked.named if guild.get_member(name) is None)
        names = names[: max(0, NAMES_ASKED - len(asked.named))]
        asked.named.update(names)
        return asyncio.create_task(self._ask(guild, names), name="named members") if names else None

    async def _ask(self, guild: discord.Guild, names: Iterable[int]) -> None:
        """Fill the cache with these members, or with all."""
        wanted = list(names)
        try:
            async with asyncio.timeout(ANSWER_S):
                if not wanted:
                    await guild.chunk()
                for start in range(0, len(wanted), NAMES_PER_REQUEST):
                    await guild.query_members(user_ids=wanted[start : start + NAMES_PER_REQUEST], cache=True)
        except (discord.DiscordException, aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            log.warning("The members of guild %d did not come: %s", guild.id, type(error).__name__)
            return
        self._on_learnt(guild.id)


def _names(channels: Iterable[ChannelRules]) -> set[int]:
    return {member_id for channel in channels for member_id in channel.member_overwrites}
