"""Forgetting for good: a person, a channel or a whole server, wherever the memory holds something of them.

In this order: what else keeps traces lets go of them; what is queued is applied, so that nothing queued comes back; the
store erases rows, vectors, search entries and the bytes they leave on the disk; kept answers are dropped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from cogs.memory.exceptions import Busy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cogs.memory.memory_service import MemoryService
    from cogs.memory.records import ChannelInfo

log = logging.getLogger(__name__)

Subject = Literal["user", "channel", "server"]

DRAIN_S = 60.0
"""Seconds that what is queued may take to be applied before an erasure gives up."""
BATCH = 500
"""Messages of threads deleted at a time."""


class KeepsTraces(Protocol):
    """Something beside the store that knows what people wrote or did, or brings more of it in.

    Judgements, recent questions, events that wait, a running back-fill.
    """

    async def forget(self, guild_id: int, *, user_id: int | None = None, channel_id: int | None = None) -> int:
        """Let go of what belongs to a user, a channel or (neither given) the guild; return how many things that were.

        What feeds messages of theirs into the memory stops doing so before it returns.
        """


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """What an erasure removed."""

    guild_id: int
    subject: Subject
    messages: int
    """Messages, each with its vectors, its search entries and its names."""
    traces: int
    """Things that were kept beside the messages, such as judgements of results."""
    seconds: float


class Erasure:
    """Erases in one memory, and from all that keeps traces beside it; every way to forget leads here.

    Args:
        memory: the running memory.
        keepers: what else keeps traces; may be added to.
    """

    def __init__(self, memory: MemoryService, keepers: Iterable[KeepsTraces] = ()) -> None:
        self.memory = memory
        self.keepers = list(keepers)

    async def forget_user(self, guild_id: int, user_id: int) -> ErasureReceipt:
        """Erase a user on one server. Raises what `forget_user` raises."""
        return await forget_user(self.memory, guild_id, user_id, also=self.keepers)

    async def forget_channel(self, guild_id: int, channel_id: int) -> ErasureReceipt:
        """Erase a channel and its threads. Raises what `forget_user` raises."""
        return await forget_channel(self.memory, guild_id, channel_id, also=self.keepers)

    async def forget_guild(self, guild_id: int) -> ErasureReceipt:
        """Erase a server. Raises what `forget_user` raises."""
        return await forget_guild(self.memory, guild_id, also=self.keepers)


async def forget_user(
    memory: MemoryService, guild_id: int, user_id: int, *, also: Sequence[KeepsTraces] = ()
) -> ErasureReceipt:
    """Erase everything of a user on one server; older messages of theirs that turn up later are refused.

    Args:
        memory: the running memory.
        guild_id: the server.
        user_id: whose messages; they need not be a member any more.
        also: what else keeps traces.

    Raises:
        Busy: what is queued could not be applied in time; the messages are still there.
        StoreError: the store failed; its sentence says what is left.
    """
    return await _forget(memory, guild_id, "user", also, user_id=user_id)


async def forget_channel(
    memory: MemoryService, guild_id: int, channel_id: int, *, also: Sequence[KeepsTraces] = ()
) -> ErasureReceipt:
    """Erase all messages of one channel and its threads, and their names. Raises what `forget_user` raises."""
    return await _forget(memory, guild_id, "channel", also, channel_id=channel_id)


async def forget_guild(memory: MemoryService, guild_id: int, *, also: Sequence[KeepsTraces] = ()) -> ErasureReceipt:
    """Erase all messages of a server and the names of its channels. Raises what `forget_user` raises."""
    return await _forget(memory, guild_id, "server", also)


async def _forget(
    memory: MemoryService,
    guild_id: int,
    subject: Subject,
    also: Sequence[KeepsTraces],
    *,
    user_id: int | None = None,
    channel_id: int | None = None,
) -> ErasureReceipt:
    start = time.perf_counter()
    threads = await _threads(memory, guild_id, channel_id)
    traces = 0
    for each in also:
        traces += await each.forget(guild_id, user_id=user_id, channel_id=channel_id)
        for thread in threads:
            traces += await each.forget(guild_id, channel_id=thread.id)
    await _drain(memory, guild_id)
    try:
        # Threads first: only `erase` clears the disk, and it clears what was deleted before it as well.
        messages = await _delete_threads(memory, guild_id, threads)
        messages += await memory.store.erase(guild_id, author_id=user_id, channel_id=channel_id)
    finally:
        # Also when the store failed: some of its failures come after the messages are gone.
        memory.forget_caches(guild_id)
    seconds = time.perf_counter() - start
    log.info("Erased %d messages and %d traces of a %s in guild %d", messages, traces, subject, guild_id)
    return ErasureReceipt(guild_id, subject, messages, traces, seconds)


async def _threads(memory: MemoryService, guild_id: int, channel_id: int | None) -> list[ChannelInfo]:
    if channel_id is None:
        return []
    return [channel for channel in await memory.store.channels(guild_id) if channel.parent_id == channel_id]


async def _delete_threads(memory: MemoryService, guild_id: int, threads: Sequence[ChannelInfo]) -> int:
    """Delete the messages of threads, and forget what the threads are called."""
    if not threads:
        return 0
    of = {thread.id for thread in threads}
    doomed = [message.id async for message in memory.store.iterate(guild_id) if message.channel_id in of]
    deleted = 0
    for start in range(0, len(doomed), BATCH):
        deleted += await memory.store.delete(guild_id, doomed[start : start + BATCH])
    await memory.store.put_channels([replace(thread, name="") for thread in threads])
    return deleted


async def _drain(memory: MemoryService, guild_id: int) -> None:
    try:
        async with asyncio.timeout(DRAIN_S):
            await memory.queue.stored(guild_id)
    except TimeoutError as error:
        raise Busy(
            f"{memory.queue.waiting:,} messages still wait to be stored, so nothing was erased yet; "
            "try again in a few minutes."
        ) from error
