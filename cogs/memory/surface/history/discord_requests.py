"""Asking Discord for the past: politely paced, patient with faults, clear about refusals.

discord.py repeats what a 429, 500, 502, 504 or 524 interrupts; a 503 or a fifth 429 in a row it raises at once, and a
cut connection as aiohttp's error. Here all of these are tried again, a bounded number of times.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import aiohttp
import discord

from cogs.memory.exceptions import MemoryCogError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

log = logging.getLogger(__name__)

T = TypeVar("T")

PAGE: Final = 100
"""Messages in a page of history, the most that Discord gives."""
ATTEMPTS: Final = 6
"""How often one request is made before Discord counts as unwell."""
FIRST_BACKOFF_S: Final = 1.0
LONGEST_BACKOFF_S: Final = 60.0


class DiscordRequestError(MemoryCogError):
    """Discord did not give what was asked for."""


class AccessRefused(DiscordRequestError):
    """The bot may not read there."""


class PlaceGone(DiscordRequestError):
    """The channel, thread or message does not exist any more."""


class DiscordUnwell(DiscordRequestError):
    """Discord keeps failing."""


class Readable(Protocol):
    """Whatever has an id and a history: channels, threads, and partial ones."""

    @property
    def id(self) -> int:
        """The snowflake."""

    def history(self, *, limit: int | None, before: discord.abc.Snowflake | None) -> AsyncIterator[discord.Message]:
        """The messages, newest first."""


class Pace:
    """Lets requests pass at most once per ``interval_s``, in the order they came."""

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self._next = 0.0
        self._turn = asyncio.Lock()

    async def wait(self) -> None:
        """Wait for the next free moment."""
        async with self._turn:
            now = time.monotonic()
            if self._next > now:
                await asyncio.sleep(self._next - now)
            self._next = max(now, self._next) + self.interval_s


class Requests:
    """Makes the requests of one guild.

    Args:
        interval_s: seconds between two requests.
        first_backoff_s: pause before the first repetition; each further pause is twice as long.
    """

    def __init__(self, interval_s: float = 1.0, *, first_backoff_s: float = FIRST_BACKOFF_S) -> None:
        self.pace = Pace(interval_s)
        self._first_backoff_s = first_backoff_s

    async def page(self, place: Readable, before: int | None) -> list[discord.Message]:
        """Return the newest messages below the id ``before`` (of all if None), newest first: one page.

        Raises:
            DiscordRequestError: the place is gone or closed to the bot, or Discord keeps failing.
        """
        return await self.ask(lambda: _read_page(place, before))

    async def ask(self, request: Callable[[], Awaitable[T]]) -> T:
        """Make a request, again where that may help.

        Raises:
            AccessRefused: 403, or another refusal that a repetition does not change.
            PlaceGone: 404.
            DiscordUnwell: it failed too often.
        """
        for attempt in range(ATTEMPTS):
            await self.pace.wait()
            try:
                return await request()
            except discord.HTTPException as error:
                if not _passes(error):
                    raise refusal(error) from error
                failure: Exception = error
            except (aiohttp.ClientError, OSError, discord.RateLimited) as error:  # TimeoutError is an OSError
                failure = error
            log.info("Request %d of %d for history failed (%s)", attempt + 1, ATTEMPTS, type(failure).__name__)
            wish = _wish(failure)
            if wish > LONGEST_BACKOFF_S:
                break
            if attempt + 1 < ATTEMPTS:
                await asyncio.sleep(max(wish, self._backoff(attempt)))
        raise DiscordUnwell("Discord keeps failing; the history is read further in a few minutes.")

    def _backoff(self, attempt: int) -> float:
        longest = min(LONGEST_BACKOFF_S, self._first_backoff_s * (1 << attempt))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 # spreads load, guards nothing


def _wish(error: BaseException) -> float:
    """Return for how many seconds Discord, or the proxy in front of it, wishes not to be asked."""
    response = error.response if isinstance(error, discord.HTTPException) else None
    wish = "" if response is None else response.headers.get("Retry-After", "")
    return float(wish) if re.fullmatch(r"\d{1,9}(\.\d+)?", wish) else 0.0


def refusal(error: discord.HTTPException) -> DiscordRequestError:
    """Return what a 4xx answer means here."""
    if isinstance(error, discord.NotFound):
        return PlaceGone("That does not exist any more.")
    return AccessRefused("I may not read there.")


def _passes(error: discord.HTTPException) -> bool:
    """Whether the failure may pass by itself."""
    return error.status == 429 or error.status >= 500


async def _read_page(place: Readable, before: int | None) -> list[discord.Message]:
    limit = discord.Object(before) if before is not None else None
    return [message async for message in place.history(limit=PAGE, before=limit)]
