"""Discord gives a bot three seconds to acknowledge a command, whatever else it is doing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .under_load import busy_house

if TYPE_CHECKING:
    from pathlib import Path


async def test_commands_are_acknowledged_in_time_while_it_reranks_reloads_and_reads_history(tmp_path: Path) -> None:
    async with busy_house(tmp_path) as house:
        load = await house.ask_while_all_goes_on(questions=8, pause_s=0.25)
        assert load.pages_after > load.pages_before, "the history was being read"
        assert load.reload is not None
        assert "in service" in load.reload.text or "model" in load.reload.text
        reranked = [re.search(r"(\d+) of (\d+) reranked", reply.text) for reply in load.asked]
        assert any(match and int(match[1]) for match in reranked), "questions were reranked"
        assert len(load.acknowledged_s) == len(load.asked) >= 8
        assert all(reply.embeds or "one at a time" in reply.text for reply in load.asked)
        assert await house.bot.terminate() == 0
        assert "Traceback" not in house.bot.output
