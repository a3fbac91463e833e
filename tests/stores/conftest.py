from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cogs.memory.stores.sqlite import SqliteStore
from tests.stores.samples import SPACE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cogs.memory.stores import MemoryStore


@pytest.fixture(params=["sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MemoryStore]:
    """An open, empty store with a space in use; one for each engine."""
    engines = {"sqlite": lambda: SqliteStore(tmp_path / "memory")}
    opened: MemoryStore = engines[request.param]()
    await opened.open()
    await opened.use_space(SPACE)
    yield opened
    await opened.close()
