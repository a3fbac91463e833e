"""An erasure that fails halfway: what it could not open again is opened by who asks next, what is left is taken up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cogs.memory.exceptions import StoreError, StoreReadOnly
from cogs.memory.stores import sqlite_erasure
from cogs.memory.stores import sqlite_writes as writes
from cogs.memory.stores.sqlite import SqliteStore
from cogs.memory.stores.sqlite_connections import Connections
from tests.stores.samples import BOB, GUILD, SPACE, fill, message

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("asked", ["read", "write"])
async def test_whoever_comes_next_opens_what_could_not_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    await store.use_space(SPACE)
    await fill(store, [message(1), message(2, "gone", **BOB)])
    opened = Connections.open
    failures = [StoreError("no file descriptor is left"), StoreError("nor now")]

    async def fails_twice(self: Connections) -> None:
        if failures:
            raise failures.pop(0)
        await opened(self)

    monkeypatch.setattr(Connections, "open", fails_twice)
    with pytest.raises(StoreError, match="no file descriptor"):
        await store.erase(GUILD, author_id=BOB["author_id"])
    with pytest.raises(StoreError, match="nor now"):
        await store.stats()
    if asked == "write":
        await store.upsert([message(3)])
    assert [m.id async for m in store.iterate(GUILD)] == ([1, 3] if asked == "write" else [1])
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.stats()


async def test_an_erasure_that_finds_no_room_twice_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_erasure, "RETRY_S", 0.01)
    store = SqliteStore(tmp_path)
    await store.open()
    await store.use_space(SPACE)
    await fill(store, [message(1), message(2, "gone", **BOB)])
    erase_some, recycle_log = writes.erase_some, Connections.recycle_log
    is_full = [True, True]

    def erase(*arguments: Any, **options: Any) -> list[int]:
        if any(is_full):
            is_full[0] = False
            raise StoreReadOnly("no room")
        return erase_some(*arguments, **options)

    async def recycle(self: Connections) -> None:
        if is_full[1]:
            is_full[1] = False
            raise StoreReadOnly("nor there")
        await recycle_log(self)

    monkeypatch.setattr(writes, "erase_some", erase)
    monkeypatch.setattr(Connections, "recycle_log", recycle)
    with pytest.raises(StoreError, match=r"not yet; this is tried again .* nor there"):
        await store.erase(GUILD, author_id=BOB["author_id"])
    async with asyncio.timeout(60):
        while [m.id async for m in store.iterate(GUILD)] != [1]:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.01)
    await store.close()
