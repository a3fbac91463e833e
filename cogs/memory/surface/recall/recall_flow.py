"""From a question on Discord to what its reader may see of the answer."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import aiohttp
import discord
from cachetools import TTLCache

from cogs.memory.exceptions import InvalidQuery
from cogs.memory.memory_service import MAX_QUERY, RELEVANT
from cogs.memory.records import Scope
from cogs.memory.surface.page import Face, Page
from cogs.memory.surface.recall.search_state import MAX_RESULTS
from cogs.memory.surface.texts import texts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from cogs.memory.recall_records import Recall, RecalledMessage
    from cogs.memory.records import StoredMessage
    from cogs.memory.surface.access import Permit
    from cogs.memory.surface.recall.search_state import Search
    from cogs.memory.surface.services import SurfaceServices

    Interaction = discord.Interaction[Any]

log = logging.getLogger(__name__)

FACE_SECONDS: Final = 3600.0
LOOKUP_SECONDS: Final = 1.0
"""How long an answer waits for names and pictures of authors."""
REACH: Final = 4
"""Messages shown before and after one in the view of its conversation."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A message and what was said around it, oldest first."""

    centre: StoredMessage
    around: Sequence[StoredMessage]
    face: Face | None


class RecallFlow:
    """Asks the memory on behalf of one member, and lets nothing through that he may not see at that moment.

    Args:
        services: the memory, the rules, and what knows whether stored messages still stand.
    """

    def __init__(self, services: SurfaceServices) -> None:
        self._services = services
        self._faces: TTLCache[tuple[int, int], Face] = TTLCache(maxsize=10_000, ttl=FACE_SECONDS)
        self._fetching: dict[tuple[int, int], asyncio.Task[None]] = {}

    async def page(self, interaction: Interaction, search: Search) -> Page:
        """Return the page of the answer that the user may see.

        The rights are checked last: between this and sending nothing may be awaited.

        Raises:
            InvalidQuery: there is nothing to look for.
            MemoryCogError: the memory failed.
        """
        guild, search = _guild_of(interaction), await self._with_query(interaction, search)
        permit = await self._services.access.ephemeral(guild, interaction.user, interaction.channel_id)
        scope = self._scope(guild, search, permit)
        if not scope.channel_ids:
            raise InvalidQuery(texts_of(interaction).no_channels)
        await self._services.history.search.add_candidates(guild, search.query, scope)
        settings = await self._services.settings.get(guild.id)
        recall = await self._services.memory.recall(
            search.query,
            scope,
            limit=MAX_RESULTS,
            instruction=settings.instruction,
            asker_id=interaction.user.id,
        )
        recall, unverified = await self._verified(_without(recall, search.related_to), search)
        shown, has_more = _slice(recall, search)
        faces = await self._look_at(guild, {result.message.author_id for result in shown})
        allowed = await self._services.access.still_allowed(permit, {r.message.channel_id for r in shown})
        shown = [result for result in shown if result.message.channel_id in allowed]
        best = max((result.relevance for result in recall.results), default=0.0)
        return Page(
            search=search,
            results=shown,
            trace=recall.trace,
            has_more=has_more,
            is_weak=best < RELEVANT and bool(shown) and not search.anyway,
            unverified=unverified,
            is_indexing=recall.trace.unembedded > 0 or self._waits(scope),
            faces=faces,
        )

    async def conversation(self, interaction: Interaction, message_id: int) -> Conversation | None:
        """Return a stored message with its surroundings; ``None`` if the user may not read it (any more)."""
        guild, store = _guild_of(interaction), self._services.memory.store
        permit = await self._services.access.ephemeral(guild, interaction.user, interaction.channel_id)
        scope = Scope(guild.id, permit.channel_ids)
        around = await self._ids_around(scope, message_id)
        rows = await store.load(scope, sorted(around))
        verified = await self._services.history.verification.verify(row.message for row in rows.values())
        centre = verified.current.get(message_id)
        if message_id not in rows or centre is None:
            return None
        faces = await self._look_at(guild, {centre.author_id})
        allowed = await self._services.access.still_allowed(permit, [centre.channel_id])
        if centre.channel_id not in allowed:
            return None
        messages = [message for i, message in sorted(verified.current.items()) if i in rows]
        messages = [message for message in messages if message.channel_id == centre.channel_id]
        return Conversation(centre, messages, faces.get(centre.author_id))

    async def forget(self, guild_id: int, *, user_id: int | None = None, channel_id: int | None = None) -> int:
        """Forget how a user, or everybody on a server, is called and looks today; return how many those were."""
        if channel_id is not None:
            return 0
        faces = [key for key in self._faces if key[0] == guild_id and user_id in (None, key[1])]
        return sum(self._faces.pop(key, None) is not None for key in faces)

    async def for_everybody(self, interaction: Interaction, messages: Iterable[StoredMessage]) -> frozenset[int]:
        """Return the channels of the messages that everybody who reads this channel may be shown, at this moment."""
        access, place = self._services.access, interaction.channel_id
        if place is None:
            return frozenset()
        permit = await access.public(interaction.guild, interaction.user, place)
        return await access.still_allowed(permit, {message.channel_id for message in messages})

    async def _with_query(self, interaction: Interaction, search: Search) -> Search:
        """Return the search with the text of the message that it is related to as its question."""
        if search.related_to is None or search.query:
            return search
        found = await self.conversation(interaction, search.related_to)
        if found is None:
            raise InvalidQuery(texts_of(interaction).gone)
        return replace(search, query=question_from(found.centre.text))

    def _scope(self, guild: discord.Guild, search: Search, permit: Permit) -> Scope:
        channels = permit.channel_ids
        if search.channel_id is not None:
            channels &= self._below(guild, search.channel_id)
        return Scope(
            guild_id=guild.id,
            channel_ids=channels,
            author_ids=None if search.author_id is None else frozenset([search.author_id]),
            after=search.after,
            before=search.before,
            has=frozenset() if search.has is None else frozenset([search.has]),
        )

    def _below(self, guild: discord.Guild, channel_id: int) -> frozenset[int]:
        """A channel and its threads; of a category all channels in it."""
        chosen = guild.get_channel(channel_id)
        places = {channel_id}
        if isinstance(chosen, discord.CategoryChannel):
            places |= {channel.id for channel in chosen.channels}
        threads = {thread.id for thread in guild.threads if thread.parent_id in places}
        learnt = self._services.access.learnt_threads(guild.id).items()
        return frozenset(places | threads | {thread_id for thread_id, rules in learnt if rules.parent_id in places})

    async def _verified(self, recall: Recall, search: Search) -> tuple[Recall, bool]:
        """Bring the results up to the end of the page up to date with Discord; tell whether some are left out.

        Where some are gone the next ones take their places.
        """
        head: list[RecalledMessage] = []
        rest, unverified = recall.results, False
        while not unverified and rest and (missing := search.first + search.page_size - len(head)) > 0:
            checked, unverified = await self._services.history.verification.verify_results(rest[:missing])
            head += checked
            rest = rest[missing:]
        return replace(recall, results=(*head, *rest)), unverified

    def _waits(self, scope: Scope) -> bool:
        """Whether messages from where the asker may read are on their way into the store."""
        return self._services.events.holds(scope) or self._services.memory.queue.holds(scope)

    async def _ids_around(self, scope: Scope, message_id: int) -> set[int]:
        """Follow the neighbours outwards from a message, and add what it replies to."""
        store = self._services.memory.store
        found, edge = {message_id}, [message_id]
        for step in range(REACH):
            neighbours = (await store.neighbours(scope, edge)).values()
            near = {i for n in neighbours for i in ((n.previous, n.next) if step else n.ids()) if i is not None}
            edge = sorted(near - found)
            found |= near
            if not edge:
                break
        return found

    async def _look_at(self, guild: discord.Guild, author_ids: set[int]) -> dict[int, Face]:
        """Return the authors' names and pictures of today, as far as they are known or soon found out."""
        unknown = [author_id for author_id in author_ids if (guild.id, author_id) not in self._faces]
        known = {author_id: guild.get_member(author_id) for author_id in unknown}
        for author_id, member in known.items():
            if member is not None:
                self._faces[guild.id, author_id] = _face(member)
        missing = [author_id for author_id, member in known.items() if member is None]
        await asyncio.gather(*(self._fetched(guild, author_id) for author_id in missing))
        faces = {author_id: self._faces.get((guild.id, author_id)) for author_id in author_ids}
        return {author_id: face for author_id, face in faces.items() if face is not None}

    async def _fetched(self, guild: discord.Guild, author_id: int) -> None:
        """Wait for an author's face; a crowd that is shown the same author asks Discord once."""
        key = guild.id, author_id
        fetching = self._fetching.get(key)
        if fetching is None:
            fetching = self._fetching[key] = asyncio.create_task(self._fetch_face(guild, author_id))
            fetching.add_done_callback(lambda _: self._fetching.pop(key, None))
        await asyncio.shield(fetching)

    async def _fetch_face(self, guild: discord.Guild, author_id: int) -> None:
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                self._faces[guild.id, author_id] = _face(await guild.fetch_member(author_id))
        except discord.NotFound:
            self._faces[guild.id, author_id] = Face()  # has left: the name stored with the message is shown
        except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
            log.debug("No picture of an author (%s)", type(error).__name__)


def question_from(text: str) -> str:
    """Return a message's text as a question."""
    return " ".join(text.split())[: min(600, MAX_QUERY)]


def _face(member: discord.Member) -> Face:
    return Face(member.display_name, member.display_avatar.with_size(64).url)


def _guild_of(interaction: Interaction) -> discord.Guild:
    if interaction.guild is None:
        raise InvalidQuery(texts_of(interaction).guild_only)
    return interaction.guild


def _without(recall: Recall, message_id: int | None) -> Recall:
    return replace(recall, results=tuple(r for r in recall.results if r.message.id != message_id))


def _slice(recall: Recall, search: Search) -> tuple[list[RecalledMessage], bool]:
    end = search.first + search.page_size
    return list(recall.results[search.first : end]), len(recall.results) > end
