"""A database that cannot be opened again after an erasure changed its files: the next one who asks opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cogs.memory.exceptions import StoreError
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
