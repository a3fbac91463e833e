"""The real program at LOG_LEVEL=DEBUG, where discord.py would show every payload."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.soak.logs import talk_at_debug

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_log_at_debug_holds_neither_what_was_said_nor_a_token(tmp_path: Path) -> None:
    spoken = await talk_at_debug(tmp_path, rounds=3, seed=7, log_format="json")
    entries = [json.loads(line) for line in spoken.lines]
    assert spoken.leaks() == []
    assert {"discord.gateway", "discord.http", "aiosqlite"} <= {entry["logger"] for entry in entries}
    assert any("WebSocket Event: <dict" in entry["message"] for entry in entries)
