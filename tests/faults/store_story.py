"""A short life of a store, cut into steps: whatever fails in one, the store holds what it held before or after it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cogs.memory.exceptions import StoreError
from cogs.memory.stores.sqlite import SqliteStore
from tests.faults.nth_call import failing
from tests.stores.samples import (
    BOB,
    GARDEN,
    GUILD,
    OTHER_SPACE,
    SPACE,
    START,
    embed_all,
    embedding,
    message,
    scope,
    vector,
)
from tests.stores.sqlite_folder import check_integrity, dense_ids

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Texts = dict[int, str]
    Step = tuple[Callable[[SqliteStore], Awaitable[object]], Callable[[Texts], Texts]]

FIRST = [message(i, f"text {i}", **(BOB if i in (2, 6) else {})) for i in range(1, 9)]
ENOUGH = 10_000


def _without(*ids: int) -> Callable[[Texts], Texts]:
    return lambda texts: {i: text for i, text in texts.items() if i not in ids}


def _same(texts: Texts) -> Texts:
    return texts


STEPS: tuple[Step, ...] = (
    (lambda store: store.use_space(SPACE), _same),
    (lambda store: store.upsert(FIRST), lambda texts: texts | {m.id: m.content for m in FIRST}),
    (lambda store: store.put_embeddings([embedding(m) for m in FIRST[:6]]), _same),
    (
        lambda store: store.upsert([message(1, "edited", edited_at=START), message(20, "new", channel_id=GARDEN)]),
        lambda texts: texts | {1: "edited", 20: "new"},
    ),
    (lambda store: store.delete(GUILD, [3, 99]), _without(3)),
    (embed_all, _same),
    (lambda store: store.lexical(scope(), ["text"], 9), _same),
    (lambda store: store.dense(scope(), vector(1), 9), _same),
    (lambda store: store.erase(GUILD, author_id=BOB["author_id"]), _without(2, 6)),
    (lambda store: store.use_space(OTHER_SPACE), _same),
    (embed_all, _same),
    (lambda store: store.erase(GUILD, channel_id=GARDEN), _without(20)),
)


async def fail_once(folder: Path, n: int, kind: str) -> tuple[bool, str]:
    """Live through the steps with the n-th call failing; return whether one did, and where.

    Raises:
        AssertionError: what is found after reopening is not what may be there.
    """
    before: Texts = {}
    after: Texts = {}
    at = ""

    async def live() -> None:
        nonlocal before, after
        with failing(n, kind) as countdown:
            store = SqliteStore(folder)
            try:
                await store.open()
                for act, change in STEPS:
                    after = change(before)
                    await act(store)
                    before = after
            finally:
                nonlocal at
                at = countdown.failed_at or ""
                countdown.calls = ENOUGH  # the clean-up is not to fail as well
                await store.close()

    task = asyncio.create_task(live())
    await asyncio.wait([task])
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, (StoreError, MemoryError)):
        raise AssertionError(f"call {n} ({at}) lets {type(error).__name__} out") from error
    await _check(folder, before, after)
    return bool(at), at


async def _check(folder: Path, before: Texts, after: Texts) -> None:
    store = SqliteStore(folder)
    await store.open()
    try:
        stored = {m.id: m.content async for m in store.iterate(GUILD)}
        # An erasure that was noted is carried out; one that was not, not at all.
        assert stored in (before, after), (stored, before, after)
        await store.use_space(OTHER_SPACE)
        waiting = {m.id for m in await store.claim_unembedded(99)}
        assert await dense_ids(store) == stored.keys() - waiting
        await embed_all(store)
        assert await dense_ids(store) == stored.keys()
        assert {hit.message_id for hit in await store.lexical(scope(), ["text"], 99)} <= stored.keys()
    finally:
        await store.close()
    check_integrity(folder)
