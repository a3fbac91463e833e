from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cogs.memory.stores.postgres import PostgresStore
from cogs.memory.stores.sqlite import SqliteStore
from tests.postgres_server import TEST_SCHEMA
from tests.stores.samples import SPACE, emptied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cogs.memory.stores import MemoryStore


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MemoryStore]:
    """An open, empty store with a space in use; one for each engine."""
    opened: MemoryStore
    if request.param == "sqlite":
        opened = SqliteStore(tmp_path / "memory")
        await opened.open()
    else:
        opened = await emptied(PostgresStore(request.getfixturevalue("postgres_dsn"), schema=TEST_SCHEMA))
    await opened.use_space(SPACE)
    yield opened
    await opened.close()
