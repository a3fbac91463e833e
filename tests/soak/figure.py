"""What a long run reports: one line of the figures table each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured fact."""

    name: str
    """What was done and counted, such as ``kill -9 × 200 during ingest``."""
    value: str
    """What came out, such as ``0 lost, 0 orphans, ready in 0.4 s at most``."""
    passed: bool
    """Whether it is what must hold."""
    seed: int
    """What to give to the run to see the same again."""
    asked: str = ""
    """What must hold, such as ``0 lost, 0 orphans, ready within 2 s``."""
