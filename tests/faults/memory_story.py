"""A short life of a running memory in which one call fails: it goes on by itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from cogs.memory.exceptions import MemoryCogError
from cogs.memory.memory_service import MemoryService
from cogs.memory.records import Scope
from profiles import load_profile
from tests.conftest import CHANNEL, GUILD, START, said
from tests.faults.nth_call import failing

if TYPE_CHECKING:
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder

SCOPE = Scope(GUILD, frozenset([CHANNEL]))
TEXTS = {1: "the samovar is broken", 2: "tea at six", 4: "the key is under the mat"}


async def fail_once(folder: Path, n: int, kind: str, load: LoadEncoder) -> tuple[bool, str]:
    """Take in, edit, delete and ask with the n-th call failing; return whether one did, and where.

    Raises:
        AssertionError: the memory does not hold in the end what it was told, or cannot answer.
    """
    async with MemoryService.on_folder(load_profile("embedded"), folder, load=load) as memory:
        asking = asyncio.create_task(_live(memory, n, kind))
        await asyncio.wait([asking])
        failed, at = (True, "cancelled") if asking.cancelled() else asking.result()
        await _tell(memory)  # what was cut off by its own cancellation comes again, as after a reconnection
        async with asyncio.timeout(60):
            await memory.queue.embedded()
        assert {m.id: m.content async for m in memory.store.iterate(GUILD)} == TEXTS
        async with asyncio.timeout(60):
            while (await memory.stats(GUILD)).index_ready < 1:  # noqa: ASYNC110  # the protocol has nothing to wait for
                await asyncio.sleep(0.01)
        stats = await memory.stats(GUILD)
        assert (stats.embedded, stats.awaiting, stats.index_ready) == (3, 0, 1.0)
        answer = await memory.recall("where is the key?", SCOPE)
        assert answer.results[0].message.id == 4
        assert not answer.trace.degraded
    return failed, at


async def _live(memory: MemoryService, n: int, kind: str) -> tuple[bool, str]:
    with failing(n, kind) as countdown:
        await _tell(memory)
        async with asyncio.timeout(60):
            await memory.queue.embedded()
        try:
            await memory.recall("where is the samovar?", SCOPE)
        except (MemoryCogError, MemoryError, RuntimeError):
            assert countdown.failed_at  # told to whoever asked
        return countdown.failed_at is not None, countdown.failed_at or ""


async def _tell(memory: MemoryService) -> None:
    edited = replace(said(2, "tea at six"), edited_at=START + timedelta(hours=1))
    await memory.remember([said(1, TEXTS[1]), said(2, "tea at five"), said(3, "forget this")])
    await memory.remember([edited])
    await memory.forget(GUILD, [3])
    await memory.remember([said(3, "forget this"), said(4, TEXTS[4])])
