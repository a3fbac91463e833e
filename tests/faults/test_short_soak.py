"""The long runs, made short: the same code with a fixed seed."""

from __future__ import annotations

import importlib

import pytest


@pytest.mark.parametrize(
    ("module", "scale"),
    [("interleavings", 0.01), ("hostile_text", 0.02), ("forgetting", 0.1), ("disk_full", 0.1)],
)
def test_a_long_run_made_short_holds(module: str, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cogs.memory.ingest_lane.RETRY_S", 0.05)  # a run sets its own; this brings it back
    for figure in importlib.import_module(f"tests.soak.{module}").run(seed=0, scale=scale):
        assert figure.passed, figure
