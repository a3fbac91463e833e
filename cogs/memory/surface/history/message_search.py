"""Day-one recall: while a guild's history is still being read, Discord's own search adds what it finds."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import discord
from discord.http import Route

from cogs.memory.exceptions import ModelError, StoreError
from cogs.memory.query_terms import parse_question

from .discord_requests import AccessRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cogs.memory.records import Scope, StoredMessage

    from .backfill import Backfill
    from .tools import HistoryTools

log = logging.getLogger(__name__)

SEARCH_S: Final = 1.5
"""How long a question may wait for Discord's search."""
EMBED_S: Final = 0.8
"""How long it may wait for the vectors of what was found; without them it is ranked by its words alone."""
HITS: Final = 25
"""The most that one request gives."""
MAX_WORDS: Final = 2
"""Discord wants every word to be in the message; two of a question often are, all hardly ever."""
MAX_CHANNELS: Final = 100
"""Channels named in a request; beyond them only the answer is cut to what the asker may read."""
MAX_AUTHORS: Final = 100
MAX_MEMBERS: Final = 5000
"""In larger guilds every other word is somebody's name."""
NOT_ALLOWED_S: Final = 3600.0
INDEXING_S: Final = 5.0
"""The least time before Discord is asked again whether it has indexed the guild."""

_FILTERS: Final = {"link": "link", "file": "file", "image": "image"}  # Discord knows nothing of code


class MessageSearch:
    """Lets Discord look for candidates and remembers them, so that they are ranked like everything else.

    Discord answers with what the *bot* may read; only what lies in the asker's scope is taken from it.

    Args:
        tools: what history is read with.
        backfill: knows which guilds are complete.
        timeout_s: how long one question may wait.
    """

    def __init__(self, tools: HistoryTools, backfill: Backfill, *, timeout_s: float = SEARCH_S) -> None:
        self._tools = tools
        self._backfill = backfill
        self._timeout_s = timeout_s
        self._not_before: dict[int, float] = {}

    async def add_candidates(self, guild: discord.Guild, question: str, scope: Scope) -> int:
        """Search once, before the memory does, and return how many messages were taken in.

        Nothing is asked when the guild's history is complete or shall not be read, when the scope is empty, or when
        Discord said not to ask yet. A failure or a slow answer adds nothing: the memory's own search goes on without.

        What was taken in has its vectors, too, unless that takes too long: a backlog of history is embedded from its
        newest message on, and would come to these last.

        Raises:
            StoreError: the store failed.
        """
        if not scope.channel_ids or time.monotonic() < self._not_before.get(guild.id, 0.0):
            return 0
        if not await self._backfill.is_unfinished(guild.id):
            return 0
        words = search_words(question, _names(guild))
        if not words:
            return 0
        taken: Sequence[StoredMessage] = ()
        try:
            async with asyncio.timeout(self._timeout_s):
                taken = await self._search(guild, words, scope)
        except discord.HTTPException as error:
            self._not_before[guild.id] = time.monotonic() + NOT_ALLOWED_S
            log.warning("Discord's search refuses guild %d: %d", guild.id, error.status)
        except StoreError:
            raise
        except (AccessRefused, discord.RateLimited, aiohttp.ClientError, OSError) as error:  # a TimeoutError, too
            log.info("Discord's search gave nothing for guild %d (%s)", guild.id, type(error).__name__)
        await self._embed(scope, taken)
        return len(taken)

    async def _embed(self, scope: Scope, taken: Sequence[StoredMessage]) -> None:
        memory = self._tools.memory
        rows = await memory.store.load(scope, [message.id for message in taken])
        waiting = [row.message for row in rows.values() if row.vector is None]
        try:
            async with asyncio.timeout(EMBED_S):
                await memory.queue.embed_now(waiting)
        except (TimeoutError, ModelError) as error:  # the queue embeds them in their turn
            log.info("What Discord's search found waits for its vectors (%s)", type(error).__name__)

    async def _search(self, guild: discord.Guild, words: str, scope: Scope) -> Sequence[StoredMessage]:
        epoch = self._tools.verified.epoch(guild.id)
        route = Route("GET", "/guilds/{guild_id}/messages/search", guild_id=guild.id)
        data: dict[str, Any] = await guild._state.http.request(route, params=search_parameters(words, scope))
        if "messages" not in data:  # 202: the guild has never been searched and is being indexed
            pause = max(INDEXING_S, float(data.get("retry_after") or 0))
            self._not_before[guild.id] = time.monotonic() + pause
            return ()
        threads = await self._learn_threads(guild, data)
        found = [message for message in _messages(guild, data, threads) if message.channel.id in scope.channel_ids]
        return await self._tools.intake.take(guild.id, epoch, found)

    async def _learn_threads(self, guild: discord.Guild, data: Mapping[str, Any]) -> dict[int, discord.Thread]:
        threads = [discord.Thread(guild=guild, state=guild._state, data=each) for each in data.get("threads") or ()]
        wanted = [thread for thread in threads if await self._tools.places.wanted(thread)]
        await self._tools.places.learn(guild.id, wanted)
        return {thread.id: thread for thread in threads}


def search_words(question: str, names: frozenset[str] = frozenset()) -> str:
    """Return the words to search for: the longest keywords, which tend to be the rarest.

    Names of members are left out if anything else remains: who wrote a message is not part of its text.
    """
    keywords = parse_question(question).keywords
    content = [word for word in keywords if word not in names] or list(keywords)
    longest = sorted(content, key=len, reverse=True)[:MAX_WORDS]
    return " ".join(word for word in content if word in longest)


def search_parameters(words: str, scope: Scope) -> list[tuple[str, str]]:
    """Return the query of a search request; what Discord cannot filter by is left to the memory's own search."""
    parameters = [
        ("content", words),
        ("limit", str(HITS)),
        ("sort_by", "relevance"),
        ("author_type", "user"),
        ("include_nsfw", "true"),  # the scope holds age-restricted channels only where they may be quoted
    ]
    if len(scope.channel_ids) <= MAX_CHANNELS:
        parameters += [("channel_id", str(channel_id)) for channel_id in sorted(scope.channel_ids)]
    if scope.author_ids is not None and len(scope.author_ids) <= MAX_AUTHORS:
        parameters += [("author_id", str(author_id)) for author_id in sorted(scope.author_ids)]
    if scope.after is not None:
        parameters.append(("min_id", str(max(0, discord.utils.time_snowflake(scope.after) - 1))))
    if scope.before is not None:
        parameters.append(("max_id", str(max(0, discord.utils.time_snowflake(scope.before)))))
    return parameters + [("has", _FILTERS[name]) for name in sorted(scope.has) if name in _FILTERS]


def _names(guild: discord.Guild) -> frozenset[str]:
    if len(guild.members) > MAX_MEMBERS:
        return frozenset()
    return frozenset(
        word for member in guild.members for word in f"{member.display_name} {member.name}".lower().split()
    )


def _messages(
    guild: discord.Guild, data: Mapping[str, Any], threads: Mapping[int, discord.Thread]
) -> Iterable[discord.Message]:
    """The hits as discord.py's messages; those from channels unknown here are left out."""
    for group in data["messages"]:
        for each in group:
            channel_id = int(each["channel_id"])
            channel = guild.get_channel_or_thread(channel_id) or threads.get(channel_id)
            if isinstance(channel, discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread):
                yield discord.Message(state=guild._state, channel=channel, data=each)
