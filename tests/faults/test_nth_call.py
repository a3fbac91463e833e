"""Whatever fails once: reopened, the store is sound; still running, the memory goes on and loses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cogs.memory import ingest_lane
from cogs.memory.stores import sqlite_vectors
from tests.faults.memory_story import fail_once as fail_once_in_memory
from tests.faults.nth_call import KINDS
from tests.faults.store_story import fail_once

if TYPE_CHECKING:
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder

STRIDE = 23
"""Every so many-th call: the long run tries them all."""


@pytest.mark.parametrize(("kind", "first"), [(kind, 1 + 4 * i) for i, kind in enumerate(KINDS)])
async def test_the_store_is_sound_after_any_call_has_failed(tmp_path: Path, kind: str, first: int) -> None:
    n = first
    while (await fail_once(tmp_path / str(n), n, kind))[0]:
        n += STRIDE
    assert n > 150


@pytest.mark.parametrize(("kind", "first"), [(kind, 1 + 2 * i) for i, kind in enumerate(KINDS)])
async def test_a_running_memory_goes_on_by_itself_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load_shared: LoadEncoder, kind: str, first: int
) -> None:
    monkeypatch.setattr(ingest_lane, "RETRY_S", 0.01)
    monkeypatch.setattr(sqlite_vectors, "REBUILD_AGAIN_S", 0.01)
    n = first
    while (await fail_once_in_memory(tmp_path / str(n), n, kind, load_shared))[0]:
        n += STRIDE // 2
    assert n > 30
