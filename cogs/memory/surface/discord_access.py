"""The permission rules applied to discord.py's objects.

The rules themselves are in ``access``. Here a guild becomes a ``GuildSnapshot`` (kept until one of its permissions
changes), a member a ``GuildMember`` (never kept), and Discord is asked who is in a private thread. An answer that
does not come means *no*.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import discord
from cachetools import TTLCache

from .access import Audience, GuildSnapshot, Permit
from .plain_rules import RuledChannel, channel_rules, plain, role_ids, thread_rules
from .roster import Roster

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from typing import Any

    from discord.ext import commands

    from .access import ThreadRules

log = logging.getLogger(__name__)

MEMBERSHIP_SECONDS = 300.0
"""How long a thread membership may serve a search; right before sending it is asked for again."""
LOOKUP_SECONDS = 3.0
"""How long one question to Discord may take."""
LOOKUPS_PER_QUERY = 20
"""Private threads looked up for one query, the newest first; the next query goes on from there."""

_CHANGES = (
    "guild_role_create",
    "guild_role_delete",
    "guild_role_update",
    "guild_channel_create",
    "guild_channel_delete",
    "guild_channel_update",
    "guild_update",  # a new owner
    "guild_join",
    "guild_available",
    "guild_unavailable",
)
_NO_ANSWER = (
    discord.HTTPException,
    discord.RateLimited,
    discord.InvalidData,
    aiohttp.ClientError,
    OSError,  # TimeoutError is one
)


@dataclass(frozen=True, slots=True)
class _Kept:
    guild: discord.Guild
    audience: Audience


class AccessRules:
    """Says what a reply may draw on, for the guilds of one bot.

    ``listen`` must have been called for the answers to follow the guilds' changes. Discord's cache forgets archived
    threads, and never knew those archived before the bot came: whoever comes across one (back-fill, catch-up) hands
    it to ``learn_threads``. What is unknown is not shown.
    """

    def __init__(self, bot: commands.Bot | commands.AutoShardedBot) -> None:
        self._bot = bot
        self._kept: dict[int, _Kept] = {}
        self._epochs: dict[int, int] = {}
        self._learnt: dict[int, dict[int, ThreadRules]] = {}
        self._joined: TTLCache[tuple[int, int], bool] = TTLCache(maxsize=50_000, ttl=MEMBERSHIP_SECONDS)
        self._roster = Roster(bot, on_learnt=self._begin_epoch)

    # What the surface asks.

    async def ephemeral(
        self, guild: discord.Guild | None, member: discord.Member | discord.User | None, invoked_in: int | None
    ) -> Permit:
        """Permit what a reply that ``member`` alone sees may draw on.

        Args:
            guild: ``None`` in a direct message, which permits nothing.
            member: as the interaction carries him.
            invoked_in: the channel or thread the reply appears in.
        """
        known, askers = self._asker(guild, member)
        if known is None or not askers:
            return _refusal(guild, member, invoked_in, public=False)
        undecided = self.audience(known).undecided_private_threads(plain(askers[0]))
        joined = await self._look_up_threads(known, askers[0].id, undecided)
        audience = self.audience(known)
        scopes = [audience.ephemeral_scope(plain(asker, joined), invoked_in) for asker in askers]
        return Permit(known.id, askers[0].id, invoked_in, public=False, channel_ids=frozenset.intersection(*scopes))

    async def public(
        self, guild: discord.Guild | None, member: discord.Member | discord.User | None, target: int
    ) -> Permit:
        """Permit what a reply to ``member`` that every reader of the channel or thread ``target`` sees may draw on."""
        known, askers = self._asker(guild, member)
        if known is None or not askers:
            return _refusal(guild, member, target, public=True)
        await self._roster.learn(known, self.audience(known).snapshot.channels.values())
        # Of all private threads only the target itself can be a source.
        undecided = self.audience(known).undecided_private_threads(plain(askers[0])) & {target}
        joined = await self._look_up_threads(known, askers[0].id, undecided)
        audience = self.audience(known)
        scopes = [audience.public_scope(plain(asker, joined), target) for asker in askers]
        return Permit(known.id, askers[0].id, target, public=True, channel_ids=frozenset.intersection(*scopes))

    async def still_allowed(self, permit: Permit, channel_ids: Iterable[int]) -> frozenset[int]:
        """Return those of the channels that the reply may still draw on at this moment.

        To be called right before sending, with the channels of the results. Nothing kept is trusted: the rules are
        read from the live objects, the member from the live cache or else from Discord, who is in a private thread
        from Discord.
        """
        wanted = permit.channel_ids.intersection(channel_ids)
        guild = self._known_guild(permit.guild_id)
        if guild is None or not wanted:
            return frozenset()
        threads = self._threads(guild)
        private = [channel_id for channel_id in wanted if channel_id in threads and threads[channel_id].private]
        joined = await self._ask_for_threads(guild, permit.member_id, private)
        member = await self.present_member(permit.guild_id, permit.member_id)
        # Asking took time. From here to the answer nothing is awaited.
        guild = self._known_guild(permit.guild_id)
        if guild is None or member is None:
            return frozenset()
        joined = frozenset(thread_id for thread_id in joined if self._joined.get((thread_id, member.id)))
        needed = wanted if permit.place_id is None else wanted | {permit.place_id}
        snapshot = self._snapshot(guild, needed, counts_heads=permit.public)
        return Audience(snapshot).still_allowed(permit, plain(member, joined), wanted)

    def audience(self, guild: discord.Guild) -> Audience:
        """Return the rules of the guild's current permission epoch."""
        kept = self._kept.get(guild.id)
        # A new session brings new guild objects, and that some time before their events.
        if kept is None or kept.guild is not guild:
            kept = _Kept(guild, Audience(self._snapshot(guild)))
            self._kept[guild.id] = kept
        return kept.audience

    # Threads that Discord's cache does not hold.

    def learn_threads(self, guild_id: int, threads: Mapping[int, ThreadRules]) -> None:
        """Make threads known; what is learnt never changes, so it may be stored and handed back after a restart."""
        learnt = self._learnt.setdefault(guild_id, {})
        if not threads.keys() <= learnt.keys():
            learnt.update(threads)
            self._begin_epoch(guild_id)

    def learnt_threads(self, guild_id: int) -> Mapping[int, ThreadRules]:
        """Return what ``learn_threads`` and the gateway's events have made known."""
        return self._learnt.get(guild_id, {})

    # Epochs.

    def epoch(self, guild_id: int) -> int:
        """Return the guild's permission epoch, which grows with every change of its rules."""
        return self._epochs.get(guild_id, 0)

    def listen(self) -> None:
        """Follow the guilds' changes until ``close``."""
        for event, listener in self._listeners().items():
            self._bot.add_listener(listener, f"on_{event}")

    def close(self) -> None:
        """Stop following the changes and forget everything."""
        for event, listener in self._listeners().items():
            self._bot.remove_listener(listener, f"on_{event}")
        self._roster.close()
        self._kept.clear()
        self._learnt.clear()
        self._joined.clear()

    def _listeners(self) -> dict[str, Callable[..., Coroutine[Any, Any, None]]]:
        return {
            **dict.fromkeys(_CHANGES, self._on_change),
            **dict.fromkeys(("thread_create", "thread_join", "thread_update", "thread_remove"), self._on_thread),
            "raw_thread_delete": self._on_thread_deleted,
            "thread_member_join": self._on_thread_joined,
            "raw_thread_member_remove": self._on_thread_left,
            "member_join": self._on_member,
            "member_update": self._on_member,
            "raw_member_remove": self._on_member_gone,
            "guild_remove": self._on_guild_removed,
        }

    def _begin_epoch(self, guild_id: int) -> None:
        self._epochs[guild_id] = self.epoch(guild_id) + 1
        self._kept.pop(guild_id, None)

    async def _on_change(self, *states: discord.Guild | discord.Role | discord.abc.GuildChannel) -> None:
        changed = states[-1]
        self._begin_epoch(changed.id if isinstance(changed, discord.Guild) else changed.guild.id)

    async def _on_thread(self, *states: discord.Thread) -> None:
        thread = states[-1]
        self.learn_threads(thread.guild.id, {thread.id: thread_rules(thread)})

    async def _on_thread_deleted(self, event: discord.RawThreadDeleteEvent) -> None:
        self._learnt.get(event.guild_id, {}).pop(event.thread_id, None)
        self._begin_epoch(event.guild_id)

    async def _on_thread_joined(self, member: discord.ThreadMember) -> None:
        self._joined[member.thread_id, member.id] = True

    async def _on_thread_left(self, event: discord.RawThreadMembersUpdate) -> None:
        for member_id in event.data.get("removed_member_ids", ()):
            self._joined[event.thread_id, int(member_id)] = False

    async def _on_member(self, *states: discord.Member) -> None:
        if states[0] is states[-1] or states[0].roles != states[-1].roles:
            self._note_member(states[-1].guild.id, states[-1].id)

    async def _on_member_gone(self, event: discord.RawMemberRemoveEvent) -> None:
        self._note_member(event.guild_id, event.user.id)

    def _note_member(self, guild_id: int, member_id: int) -> None:
        """Begin a new epoch if the rules in use know this member by name, or none with his roles."""
        kept = self._kept.get(guild_id)
        if kept is None:
            return
        snapshot, member = kept.audience.snapshot, kept.guild.get_member(member_id)
        is_new = snapshot.role_sets is not None and member is not None and role_ids(member) not in snapshot.role_sets
        if is_new or member_id in snapshot.named_members:
            self._begin_epoch(guild_id)

    async def _on_guild_removed(self, guild: discord.Guild) -> None:
        self._learnt.pop(guild.id, None)
        self._begin_epoch(guild.id)

    # From Discord's objects to plain values.

    def _snapshot(
        self, guild: discord.Guild, only: frozenset[int] | None = None, *, counts_heads: bool = True
    ) -> GuildSnapshot:
        """Read the guild's rules; with ``only``, those that decide about these channels and threads."""
        threads = self._threads(guild)
        if only is not None:
            threads = {thread_id: threads[thread_id] for thread_id in only if thread_id in threads}
            only |= {thread.parent_id for thread in threads.values()}
        channels = {
            channel.id: channel_rules(channel)
            for channel in guild.channels
            if isinstance(channel, RuledChannel) and (only is None or channel.id in only)
        }
        own_role = guild.self_role
        named = self._roster.named(guild, channels.values())
        return GuildSnapshot(
            guild_id=guild.id,
            owner_id=guild.owner_id,
            roles={role.id: role.permissions.value for role in guild.roles},
            channels=channels,
            threads=threads,
            named_members=named,
            role_sets=self._roster.role_sets(guild, named) if counts_heads else None,
            bot_id=self._bot.user.id if self._bot.user else None,
            bot_role_id=own_role.id if own_role else None,
            epoch=self.epoch(guild.id),
        )

    def _threads(self, guild: discord.Guild) -> dict[int, ThreadRules]:
        return {**self.learnt_threads(guild.id), **{thread.id: thread_rules(thread) for thread in guild.threads}}

    def _known_guild(self, guild_id: int) -> discord.Guild | None:
        """Return the guild as the gateway knows it now; during an outage its rules are not known."""
        guild = self._bot.get_guild(guild_id)
        return None if guild is None or guild.unavailable else guild

    def _asker(
        self, guild: discord.Guild | None, member: discord.Member | discord.User | None
    ) -> tuple[discord.Guild | None, tuple[discord.Member, ...]]:
        """Return the guild as it is now, and the member as he is known: nobody, if he is known to have left.

        Where the cache and what came with his question do not agree, both are returned: either may be the newer one,
        so only what both allow is his.
        """
        known = None if guild is None else self._known_guild(guild.id)
        if known is None or not isinstance(member, discord.Member) or member.guild.id != known.id:
            return known, ()
        live = self._roster.live(known, member.id)
        if live is None:
            return known, () if self._roster.is_complete(known) else (member,)
        return known, (live,) if plain(live) == plain(member) else (live, member)

    # What only Discord can say.

    async def author_of(self, message: discord.Message) -> discord.Member | None:
        """Return who wrote a message on a server, who must be a member; one that was fetched does not say it."""
        if message.guild is None or isinstance(message.author, discord.Member):
            return message.author if isinstance(message.author, discord.Member) else None
        return await self.present_member(message.guild.id, message.author.id)

    async def present_member(self, guild_id: int, member_id: int) -> discord.Member | None:
        """Return a member as he is now; ``None`` if he is not one, or nobody can tell."""
        guild = self._known_guild(guild_id)
        if guild is None:
            return None
        live = self._roster.live(guild, member_id)
        if live is not None:
            return live
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                return await guild.fetch_member(member_id)
        except discord.NotFound:
            return None
        except _NO_ANSWER as error:
            log.warning(
                "Cannot tell whether %d is in guild %d (%s): refused", member_id, guild_id, type(error).__name__
            )
            return None

    async def _look_up_threads(self, guild: discord.Guild, member_id: int, threads: frozenset[int]) -> frozenset[int]:
        """Return those of the private threads that the member has joined, as far as is known or soon found out."""
        known = {thread_id: self._joined.get((thread_id, member_id)) for thread_id in threads}
        unknown = sorted((thread_id for thread_id, joined in known.items() if joined is None), reverse=True)
        found = await self._ask_for_threads(guild, member_id, unknown[:LOOKUPS_PER_QUERY])
        return found.union(thread_id for thread_id, joined in known.items() if joined)

    async def _ask_for_threads(self, guild: discord.Guild, member_id: int, threads: Iterable[int]) -> frozenset[int]:
        asked = tuple(threads)
        answers = await asyncio.gather(*(self._is_in_thread(guild, thread_id, member_id) for thread_id in asked))
        return frozenset(thread_id for thread_id, joined in zip(asked, answers, strict=True) if joined)

    async def _is_in_thread(self, guild: discord.Guild, thread_id: int, member_id: int) -> bool:
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                joined = await _fetch_membership(guild, thread_id, member_id)
        except (discord.NotFound, discord.Forbidden):
            joined = False
        except _NO_ANSWER as error:
            log.warning("Cannot tell who is in thread %d (%s): refused", thread_id, type(error).__name__)
            return False  # and not remembered
        self._joined[thread_id, member_id] = joined
        return joined


async def _fetch_membership(guild: discord.Guild, thread_id: int, member_id: int) -> bool:
    thread = guild.get_thread(thread_id) or await guild.fetch_channel(thread_id)
    if not isinstance(thread, discord.Thread):
        return False
    # One member's own entry needs no privileged intent, the list of all does.
    await thread.fetch_member(member_id)
    return True


def _refusal(
    guild: discord.Guild | None, member: discord.Member | discord.User | None, place_id: int | None, *, public: bool
) -> Permit:
    return Permit(guild.id if guild else 0, member.id if member else 0, place_id, public, frozenset())
