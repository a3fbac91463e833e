"""What an import makes is never looked through for garbage: that holds up every thread."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

_HEAD = """
import gc
from cogs.memory.library_imports import importing_libraries
before = gc.get_threshold()
full = []
gc.callbacks.append(lambda phase, info: full.append(phase) if info["generation"] == 2 else None)
def make_lasting_objects():
    return [[n] for n in range(400_000)]
"""


def prints(code: str) -> list[str]:
    """What a fresh interpreter prints: freezing this one would hide leaks from other tests."""
    result = subprocess.run([sys.executable, "-c", _HEAD + code], cwd=ROOT, capture_output=True, text=True, check=True)
    return result.stdout.split("\n")[:-1]


def test_an_import_is_not_looked_through_while_it_runs_nor_afterwards() -> None:
    assert prints("""
with importing_libraries():
    import wave
    kept = make_lasting_objects()
print(bool(full), gc.get_freeze_count() > 400_000, gc.get_threshold() == before)
gc.collect()
print(len(gc.get_objects()) < 100_000)
""") == ["False True True", "True"]


def test_nothing_is_frozen_where_nothing_was_imported() -> None:
    assert prints("""
with importing_libraries():
    import sys
print(gc.get_freeze_count(), gc.get_threshold() == before)
try:
    with importing_libraries():
        import nonexistent_library
except ImportError:
    print(gc.get_freeze_count(), gc.get_threshold() == before)
""") == ["0 True", "0 True"]
