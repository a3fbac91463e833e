"""A short life of a running memory in which one call fails: it goes on by itself."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cogs.memory.exceptions import MemoryCogError, StoreBusy
from cogs.memory.memory_service import MemoryService
from cogs.memory.records import ChannelInfo, Scope
from profiles import load_profile
from tests.conftest import CHANNEL, GUILD, START, said
from tests.faults.nth_call import failing
from tests.plugin_rerankers import WordReranker

if TYPE_CHECKING:
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder
    from cogs.memory.records import StoredMessage
    from tests.faults.nth_call import Countdown

SCOPE: Final = Scope(GUILD, frozenset([CHANNEL]))
TEXTS: Final = {1: "the samovar is broken", 2: "tea at six", 4: "the key is under the mat"}
PROFILE: Final = replace(
    load_profile("embedded"),
    reranker="cross_encoder",
    reranker_model="words",
    rerank_candidates=5,
    rerank_deadline_ms=None,
)
PATIENCE_S: Final = 60.0


async def fail_once(folder: Path, n: int, kind: str, load: LoadEncoder) -> tuple[bool, str]:
    """Take in, edit, delete, ask, reload and erase with the n-th call failing; return whether one did, and where.

    Raises:
        AssertionError: the memory does not hold in the end what it was told, or cannot answer.
        TimeoutError: it does not get that far.
    """
    memory = MemoryService.on_folder(PROFILE, folder, load=load, load_reranker=lambda _: WordReranker())
    async with memory:
        await memory.reranker.ready()
        living = asyncio.create_task(_live(memory, n, kind))
        await asyncio.wait([living])
        failed, at = (True, "cancelled") if living.cancelled() else living.result()
        async with asyncio.timeout(PATIENCE_S):
            await _make_up(memory)
            await _check(memory)
    return failed, at


async def _live(memory: MemoryService, n: int, kind: str) -> tuple[bool, str]:
    with failing(n, kind) as countdown:
        await _tell(memory)
        async with asyncio.timeout(PATIENCE_S):
            await memory.queue.embedded()
        for step in (_ask, _ask_much, _set_up, _reload, _erase):
            with _told(countdown):
                await step(memory)
        return countdown.failed_at is not None, countdown.failed_at or ""


class _told(suppress):  # noqa: N801  # reads as what it is: a context manager like `suppress`
    """Failures are told to whoever asked, as the memory's own or as the machine's; without a cause there are none."""

    def __init__(self, countdown: Countdown) -> None:
        super().__init__(MemoryCogError, MemoryError, RuntimeError)
        self._countdown = countdown

    def __exit__(self, *raised: object) -> bool:
        if raised[0] is not None and self._countdown.failed_at is None:
            return False
        return super().__exit__(*raised)  # type: ignore[arg-type]  # three parts of one exception


async def _tell(memory: MemoryService) -> None:
    edited = replace(said(2, "tea at six"), edited_at=START + timedelta(hours=1))
    await memory.remember([said(1, TEXTS[1]), said(2, "tea at five"), said(3, "forget this"), _of_bob()])
    await memory.remember([edited])
    await memory.forget(GUILD, [3])
    await memory.remember([said(3, "forget this"), said(4, TEXTS[4])])


def _of_bob() -> StoredMessage:
    return replace(said(5, "bob has the samovar"), author_id=77, author_name="Bob")


async def _ask(memory: MemoryService) -> None:
    await memory.recall("where is the samovar?", SCOPE)


async def _ask_much(memory: MemoryService) -> None:
    questions = ("where is the key?", "when is tea?", "who has the samovar?")
    answers = await asyncio.gather(*(memory.recall(each, SCOPE) for each in questions), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer


async def _set_up(memory: MemoryService) -> None:
    await memory.name_channels([ChannelInfo(CHANNEL, GUILD, "lobby")])
    await memory.store.put_setting(GUILD, "instruction", "Find tea.")


async def _reload(memory: MemoryService) -> None:
    await memory.reload()


async def _erase(memory: MemoryService) -> None:
    await memory.store.erase(GUILD, author_id=77)


async def _make_up(memory: MemoryService) -> None:
    """Do again what may have failed: what a reconnection tells, and what an admin tries once more."""
    await _tell(memory)
    await memory.queue.embedded()
    await _set_up(memory)
    while True:
        try:
            await _erase(memory)
        except StoreBusy:  # a connection whose close failed is open until the error that tells of it is gone
            gc.collect()
        else:
            break


async def _check(memory: MemoryService) -> None:
    assert {m.id: m.content async for m in memory.store.iterate(GUILD)} == TEXTS
    while (await memory.stats(GUILD)).index_ready < 1:  # noqa: ASYNC110  # the protocol has nothing to wait for
        await asyncio.sleep(0.01)
    stats = await memory.stats(GUILD)
    assert (stats.embedded, stats.awaiting, stats.index_ready) == (3, 0, 1.0)
    assert [(c.id, c.name) for c in await memory.store.channels(GUILD)] == [(CHANNEL, "lobby")]
    assert await memory.store.get_setting(GUILD, "instruction") == "Find tea."
    while (answer := await memory.recall("where is the key?", SCOPE)).trace.degraded:  # noqa: ASYNC110  # nothing tells
        await asyncio.sleep(0.01)  # what a slow machine cut short is asked again; what stays broken ends the patience
    assert answer.results[0].message.id == 4
    assert answer.trace.reranked == answer.trace.rerank_of > 0
