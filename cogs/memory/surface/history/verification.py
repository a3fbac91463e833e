"""Looking whether stored messages still stand on Discord as they are stored, before they are shown.

While the bot is away, edits and deletions never reach it. After such a gap every stored message is in doubt until it
was seen once: in a page of history (catch-up, back-fill, sweep) or, when a question finds it first, here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

import aiohttp
import discord
from cachetools import TTLCache

from .discord_requests import AccessRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cogs.memory.recall_records import RecalledMessage
    from cogs.memory.records import StoredMessage

    from .tools import HistoryTools

log = logging.getLogger(__name__)

VERIFY_S: Final = 2.5
"""How long one answer may wait for Discord."""
CONCURRENT: Final = 5
"""Lookups at a time, for all guilds."""
AROUND: Final = 25
"""Messages asked for around a doubtful one: its neighbours are shown with it."""
REFUSED_S: Final = 600.0
"""How long a channel that refused is not asked again."""


@dataclass(slots=True)
class Verified:
    """What came of looking."""

    current: dict[int, StoredMessage] = field(default_factory=dict)
    """The messages that exist, as they are now, by id."""
    unchecked: bool = False
    """Whether some could not be checked; they are not in ``current``."""


class Verifies(Protocol):
    """Knows whether stored messages still stand."""

    async def verify(self, messages: Iterable[StoredMessage]) -> Verified:
        """Return those of the stored messages that exist, as they are now."""


class Verification:
    """Verifies stored messages, each at most once per sync epoch.

    Args:
        bot: knows the channels.
        tools: what history is read with.
        timeout_s: how long one call may take; a lookup that takes longer goes on for the next.
    """

    def __init__(self, bot: discord.Client, tools: HistoryTools, *, timeout_s: float = VERIFY_S) -> None:
        self._bot = bot
        self._tools = tools
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(CONCURRENT)
        self._lookups: dict[int, asyncio.Task[dict[int, StoredMessage] | None]] = {}
        self._refused: TTLCache[int, bool] = TTLCache(maxsize=10_000, ttl=REFUSED_S)

    async def verify(self, messages: Iterable[StoredMessage]) -> Verified:
        """Return those of the stored messages that exist, as they are now.

        What is gone is forgotten and what has changed is remembered anew on the way.
        """
        verified = Verified()
        doubtful: dict[int, list[StoredMessage]] = defaultdict(list)
        for message in messages:
            if self._tools.verified.holds(message):
                verified.current[message.id] = message
            else:
                doubtful[message.channel_id].append(message)
        await asyncio.gather(*(self._verify_channel(found, verified) for found in doubtful.values()))
        return verified

    async def verify_results(self, results: Sequence[RecalledMessage]) -> tuple[Sequence[RecalledMessage], bool]:
        """Return the results that exist, as they are now, and whether some could not be checked.

        Surroundings that are not known to be true are left out, and ranks are closed up.
        """
        verified = await self.verify(result.message for result in results)
        renewed = [self._renewed(result, verified) for result in results if result.message.id in verified.current]
        return [replace(result, rank=rank) for rank, result in enumerate(renewed, start=1)], verified.unchecked

    async def check(self, _: discord.Guild, results: Sequence[RecalledMessage]) -> Sequence[RecalledMessage]:
        """Return the results that are known to be true, as they are now: a `ResultCheck`."""
        true, _unchecked = await self.verify_results(results)
        return true

    async def close(self) -> None:
        """End the lookups that still run."""
        tasks = list(self._lookups.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _renewed(self, result: RecalledMessage, verified: Verified) -> RecalledMessage:
        return replace(
            result,
            message=verified.current[result.message.id],
            before=self._still_true(result.before, verified),
            after=self._still_true(result.after, verified),
            replies=self._still_true(result.replies, verified),
        )

    def _still_true(self, around: Sequence[StoredMessage], verified: Verified) -> tuple[StoredMessage, ...]:
        return tuple(
            verified.current.get(message.id, message) for message in around if self._tools.verified.holds(message)
        )

    async def _verify_channel(self, messages: Sequence[StoredMessage], verified: Verified) -> None:
        """Look at the doubtful messages of one channel one after the other: one look may settle several."""
        try:
            async with asyncio.timeout(self._timeout_s):
                for message in messages:
                    if message.id not in verified.current:
                        await self._verify_one(message, verified)
        except TimeoutError:
            log.info("Discord took too long to verify messages in channel %d", messages[0].channel_id)
            verified.unchecked = True

    async def _verify_one(self, message: StoredMessage, verified: Verified) -> None:
        lookup = self._lookups.get(message.id)
        if lookup is None:
            lookup = asyncio.create_task(self._look_up(message), name="verify a message")
            self._lookups[message.id] = lookup
            lookup.add_done_callback(lambda done: self._note_end(message.id, done))
        seen = await asyncio.shield(lookup)
        if seen is None:
            verified.unchecked = True
        else:
            verified.current |= seen

    def _note_end(self, message_id: int, lookup: asyncio.Task[dict[int, StoredMessage] | None]) -> None:
        del self._lookups[message_id]
        error = None if lookup.cancelled() else lookup.exception()
        if error is not None:  # whoever still waits meets it too
            log.error("Message %d could not be verified: %s", message_id, error)

    async def _look_up(self, message: StoredMessage) -> dict[int, StoredMessage] | None:
        """Return the message and those around it as they are, without it if it is gone; None if nobody can tell."""
        if self._refused.get(message.channel_id):
            return None
        epoch = self._tools.verified.epoch(message.guild_id)
        try:
            async with self._slots:
                found = await self._ask(message)
        except discord.NotFound:
            found = []
        except (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, OSError) as error:
            if isinstance(error, discord.Forbidden):
                self._refused[message.channel_id] = True
            log.warning("Cannot verify message %d (%s): not shown", message.id, type(error).__name__)
            return None
        try:
            taken = await self._tools.intake.take(message.guild_id, epoch, found, known=[message.id])
        except AccessRefused as error:
            log.warning("Cannot verify message %d: %s", message.id, error)
            return None
        current = {each.id: each for each in taken}
        if message.id not in current:  # gone, or nothing of it may be remembered any more
            await self._tools.memory.forget(message.guild_id, [message.id])
        return current

    async def _ask(self, message: StoredMessage) -> list[discord.Message]:
        """Ask for the message with its surroundings, which stand without it if it is gone.

        An empty page only says that the bot may not read the history, and a page without the message is not taken
        for its deletion either: then the message itself is asked for. Raises NotFound if the channel is gone.
        """
        place = self._place(message)
        around = discord.Object(message.id)
        page = [each async for each in place.history(limit=AROUND, around=around)]
        if all(each.id != message.id for each in page):
            with contextlib.suppress(discord.NotFound):
                page.append(await place.fetch_message(message.id))
        return page

    def _place(self, message: StoredMessage) -> discord.abc.Messageable:
        guild = self._bot.get_guild(message.guild_id)
        known = guild.get_channel_or_thread(message.channel_id) if guild is not None else None
        if isinstance(known, discord.abc.Messageable):
            return known
        return self._bot.get_partial_messageable(message.channel_id, guild_id=message.guild_id)
