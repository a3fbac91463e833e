"""`Eraser`: forgetting for good, also when the process dies in the middle of it or the disk is full.

What is to be erased is written down first, in one small transaction that refuses it from then on. The messages follow
in small steps, each with its search entries and vectors, and last the bytes: the full-text index is merged and the file
rewritten. Whatever fails is taken up again a minute later, and at the next start.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from cogs.memory.exceptions import StoreError, StoreReadOnly
from cogs.memory.stores import sqlite_writes as writes
from cogs.memory.stores.data_folder import folder_errors
from cogs.memory.stores.sqlite_reads import get_setting

if TYPE_CHECKING:
    from cogs.memory.stores.data_folder import DataFolder
    from cogs.memory.stores.sqlite_connections import Connections, Statements
    from cogs.memory.stores.sqlite_vectors import SpaceVectors

log = logging.getLogger(__name__)

RETRY_S: Final = 60.0
"""Seconds after which an erasure that could not end is taken up again."""
_STORE: Final = -1
_INTENTS_KEY: Final = "erasures"
_SCRUB_KEY: Final = "scrub"
_NOT_CLEARED: Final = (
    "The messages are removed and will not be found again, but their bytes are not all cleared from the disk yet"
)
_CHUNK: Final = 1000
_SMALLEST_CHUNK: Final = 8


class Intent(NamedTuple):
    """What is to be erased; the fields are columns of ``messages``, None for any value."""

    guild_id: int
    author_id: int | None
    channel_id: int | None


class Eraser:
    """Erases messages of one store.

    Args:
        connections: to the database.
        vectors: the index that must follow.
        folder: holds the database and what was put aside of it.
    """

    def __init__(self, connections: Connections, vectors: SpaceVectors, folder: DataFolder) -> None:
        self._connections = connections
        self._vectors = vectors
        self._folder = folder
        self._retrying: asyncio.Task[None] | None = None

    async def erase(self, intent: Intent) -> int:
        """Erase messages, names and all; return their number.

        Raises:
            StoreError: nothing was removed; or, as the sentence then says, a part of it or all of it was.
        """
        async with self._connections.write_lock:
            await self._connections.write(partial(_note, intent=intent), durable=True)
            count, error = await self._remove(intent)
            if error is None:
                error, state = await self._scrub(), _NOT_CLEARED
            else:
                state = f"{count:,} messages are removed, the others are not yet"
        if error is not None:
            self.take_up_later()
            raise type(error)(f"{state}; this is tried again every minute, and at the next start. {error}") from error
        return count

    async def resume(self) -> None:
        """Bring to its end what was cut off; what fails is taken up later."""
        error = None
        async with self._connections.write_lock:
            intents = await self._intents()
            for intent in intents:
                _, error = await self._remove(intent)
                if error is not None:
                    break
            if error is None and (intents or await get_setting(self._connections, _STORE, _SCRUB_KEY) is not None):
                error = await self._scrub()
        if error is not None:
            log.warning("an erasure could not be brought to its end, the next try is in %.0f s: %s", RETRY_S, error)
            self.take_up_later()

    def take_up_later(self) -> None:
        """Try again in `RETRY_S`, unless that is planned already."""
        if self._retrying is None or self._retrying.done() or self._retrying is asyncio.current_task():
            self._retrying = asyncio.create_task(self._resume_later(), name="memory erasure")

    async def close(self) -> None:
        """Leave the rest to the next start."""
        task, self._retrying = self._retrying, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _resume_later(self) -> None:
        await asyncio.sleep(RETRY_S)
        try:
            await self.resume()
        except StoreError as error:
            log.warning("an erasure waits for the database: %s", error)
            self.take_up_later()

    async def _intents(self) -> list[Intent]:
        text = await get_setting(self._connections, _STORE, _INTENTS_KEY)
        return [Intent(*each) for each in json.loads(text or "[]")]

    async def _remove(self, intent: Intent) -> tuple[int, StoreError | None]:
        """Remove messages in steps that even a full disk has room for; return their number and what went wrong."""
        count, chunk = 0, _CHUNK
        while True:
            try:
                gone = await self._connections.write(partial(_erase_some, intent=intent, limit=chunk), durable=True)
            except StoreReadOnly as error:
                if chunk <= _SMALLEST_CHUNK:
                    return count, error
                chunk //= 4
                try:
                    await self._connections.recycle_log()
                except StoreError as further:
                    return count, further
            except StoreError as error:
                return count, error
            else:
                if not gone:
                    return count, None
                count += len(gone)
                await self._vectors.submit_remove({intent.guild_id: gone})

    async def _scrub(self) -> StoreError | None:
        """Clear the disk of what was removed; the caller holds the write lock."""
        try:
            with folder_errors(self._folder.path):
                self._folder.drop_what_was_put_aside()
                self._folder.check_room(self._folder.bytes_on_disk())
            await self._connections.write(writes.optimize_search, durable=True)
            await self._connections.rewrite()
            await self._connections.write(lambda database: writes.put_setting(database, _STORE, _SCRUB_KEY, None))
        except StoreError as error:
            return error
        return None


def _note(database: Statements, *, intent: Intent) -> None:
    """Write down what is to be erased, and refuse it from now on."""
    if intent.author_id is not None and intent.channel_id is None:
        writes.mark_erased(database, [(intent.guild_id, intent.author_id, time.time_ns() // 1000)])
    intents = [*_noted(database), intent]
    writes.put_setting(database, _STORE, _INTENTS_KEY, json.dumps(intents))
    writes.put_setting(database, _STORE, _SCRUB_KEY, "pending")


def _erase_some(database: Statements, *, intent: Intent, limit: int) -> list[int]:
    """Remove some messages and return their ids; after the last ones settle the rest."""
    gone = writes.erase_some(database, *intent, limit=limit)
    if not gone:
        _settle(database, intent)
    return gone


def _settle(database: Statements, intent: Intent) -> None:
    """Forget the names that went with the messages, and that there was something to erase."""
    writes.drop_names(database, *intent)
    left = [each for each in _noted(database) if each != intent]
    writes.put_setting(database, _STORE, _INTENTS_KEY, json.dumps(left) if left else None)


def _noted(database: Statements) -> list[Intent]:
    rows = database.execute("SELECT value FROM settings WHERE guild_id = ? AND key = ?", (_STORE, _INTENTS_KEY))
    return [Intent(*each) for [text] in rows for each in json.loads(text)]
