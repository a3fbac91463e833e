"""Where a guild's history is: its channels, its threads, and the archives that hold more threads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import discord

from cogs.memory.surface.access import ThreadRules
from cogs.memory.surface.conversion import channel_info
from cogs.memory.surface.plain_rules import thread_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cogs.memory.memory_service import MemoryService
    from cogs.memory.surface.discord_access import AccessRules
    from cogs.memory.surface.guild_settings import GuildSettingsStore

Channel = discord.TextChannel | discord.VoiceChannel | discord.StageChannel
"""A channel with messages of its own; announcement channels are text channels."""
Place = Channel | discord.Thread
"""Whatever holds messages."""
ThreadParent = discord.TextChannel | discord.ForumChannel

CHUNK = 1000
"""Threads stored under one key."""
CHANNEL_CLASSES = (discord.TextChannel, discord.VoiceChannel, discord.StageChannel)
PARENT_CLASSES = (discord.TextChannel, discord.ForumChannel)


def may_read(place: discord.abc.GuildChannel | discord.Thread) -> bool:
    """Whether the bot may read the history there: without the right Discord gives an empty one, not an error."""
    if isinstance(place, discord.Thread) and place.parent is None:
        return False
    allowed = place.permissions_for(place.guild.me)
    vocal = isinstance(place, discord.VoiceChannel | discord.StageChannel)
    return allowed.view_channel and allowed.read_message_history and (allowed.connect or not vocal)


def places_of(guild: discord.Guild) -> list[Place]:
    """Return the guild's channels and active threads, those with the newest message first."""
    channels = [channel for channel in guild.channels if isinstance(channel, CHANNEL_CLASSES)]
    return sorted([*channels, *guild.threads], key=lambda place: place.last_message_id or 0, reverse=True)


def archives_of(channel: discord.abc.GuildChannel) -> list[Archive]:
    """Return the archives of a channel that the bot may look through."""
    if not isinstance(channel, PARENT_CLASSES) or not may_read(channel):
        return []
    archives = [Archive(channel, private=False)]
    if isinstance(channel, discord.TextChannel) and not channel.is_news():
        archives.append(Archive(channel, private=True))
    return archives


class Archive:
    """The archived threads of a channel, a page at a time, the latest archived first.

    Of private ones: all with *manage threads*, else those that the bot has joined.
    """

    def __init__(self, parent: ThreadParent, *, private: bool) -> None:
        self.parent = parent
        self.private = private
        self._last: discord.Thread | None = None

    @property
    def by_id(self) -> bool:
        """Whether its threads come by id, not by the time of archiving."""
        return self.private and not self.parent.permissions_for(self.parent.guild.me).manage_threads

    async def page(self) -> list[discord.Thread]:
        """Return the next threads, none at the end; raises what discord.py raises."""
        parent = self.parent
        if isinstance(parent, discord.ForumChannel):
            pages = parent.archived_threads(limit=100, before=self._last and self._last.archive_timestamp)
        elif self.by_id:
            pages = parent.archived_threads(private=True, joined=True, limit=100, before=self._last)
        else:
            before = self._last and self._last.archive_timestamp
            pages = parent.archived_threads(private=self.private, limit=100, before=before)
        threads = [thread async for thread in pages]
        self._last = threads[-1] if threads else self._last
        return threads


class KnownPlaces:
    """Keeps what was learnt about channels and threads: names for display, rules of threads for permissions.

    Discord's cache holds no archived threads, so their rules are stored and handed to `AccessRules` after a restart.
    """

    def __init__(self, memory: MemoryService, settings: GuildSettingsStore, access: AccessRules) -> None:
        self._memory = memory
        self._settings = settings
        self._access = access
        self._threads: dict[tuple[int, int], dict[int, bool]] = {}

    async def wanted(self, place: discord.abc.GuildChannel | discord.Thread) -> bool:
        """Whether the guild's admins let messages from there be remembered. Raises StoreError."""
        parent_id = place.parent_id if isinstance(place, discord.Thread) else None
        return (await self._settings.get(place.guild.id)).indexes(place.id, parent_id)

    async def learn(self, guild_id: int, places: Sequence[discord.abc.GuildChannel | discord.Thread]) -> None:
        """Store the names of places and the rules of threads among them. Raises StoreError."""
        await self._memory.name_channels([channel_info(place) for place in places])
        threads = [place for place in places if isinstance(place, discord.Thread)]
        self._access.learn_threads(guild_id, {thread.id: thread_rules(thread) for thread in threads})
        for parent_id in {thread.parent_id for thread in threads}:
            await self._store_threads(guild_id, parent_id, [t for t in threads if t.parent_id == parent_id])

    async def recall_threads(self, guild: discord.Guild) -> None:
        """Hand the stored rules of a guild's threads to the access rules. Raises StoreError."""
        known: dict[int, ThreadRules] = {}
        for channel in guild.channels:
            if isinstance(channel, PARENT_CLASSES):
                private = await self._stored_threads(guild.id, channel.id)
                known |= {thread_id: ThreadRules(channel.id, flag) for thread_id, flag in private.items()}
        self._access.learn_threads(guild.id, known)

    async def _store_threads(self, guild_id: int, parent_id: int, threads: Iterable[discord.Thread]) -> None:
        """Store, a chunk at a time, the threads that are new: a forum may have tens of thousands."""
        known = await self._stored_threads(guild_id, parent_id)
        count = len(known)
        known.update((thread.id, thread.is_private()) for thread in threads)
        entries = list(known.items())
        first = count - count % CHUNK if len(entries) > count else len(entries)
        for start in range(first, len(entries), CHUNK):
            text = json.dumps(dict(entries[start : start + CHUNK]))
            await self._memory.store.put_setting(guild_id, _threads_key(parent_id, start // CHUNK), text)

    async def _stored_threads(self, guild_id: int, parent_id: int) -> dict[int, bool]:
        """The known threads of a channel in the order they were learnt: whether each is private, by id."""
        known = self._threads.get((guild_id, parent_id))
        if known is None:
            known = {}
            while text := await self._memory.store.get_setting(guild_id, _threads_key(parent_id, len(known) // CHUNK)):
                chunk = {int(thread_id): bool(private) for thread_id, private in json.loads(text).items()}
                known |= chunk
                if len(chunk) < CHUNK:
                    break
            known = self._threads.setdefault((guild_id, parent_id), known)
        return known


def _threads_key(parent_id: int, chunk: int) -> str:
    return f"threads:{parent_id}:{chunk}"
