"""The tea house with the bot in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.house import new_world
from tests.loopback import LoopbackDiscord

from .tea_house import TeaHouse, bot_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder


@pytest.fixture
async def house(tmp_path: Path, load_shared: LoadEncoder) -> AsyncIterator[TeaHouse]:
    """A server with two people, a public and a hidden channel, and the bot on it."""
    async with LoopbackDiscord(new_world()) as server, bot_on(server, tmp_path, load_shared) as house:
        yield house
