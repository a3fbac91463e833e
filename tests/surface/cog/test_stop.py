"""SIGTERM to the real program, whatever it is doing; ``make soak`` does it at 50 random moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.soak.sigterm import stop_often

if TYPE_CHECKING:
    from pathlib import Path


async def test_sigterm_ends_a_back_fill_and_a_start_with_zero_and_loses_nothing(tmp_path: Path) -> None:
    stops = await stop_often(tmp_path, runs=2, seed=11, catch_up=False)
    assert stops.codes == [0, 0]
    assert stops.lost == 0
    assert stops.tracebacks == 0
