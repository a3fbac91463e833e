"""What it costs to import the extension, and what it must not bring along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def imported_by(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter has after a statement."""
    code = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_importing_the_extension_imports_neither_models_nor_discord() -> None:
    assert not imported_by("import cogs.memory") & {"torch", "transformers", "faiss", "numpy", "discord", "pydantic"}


def test_the_whole_surface_imports_no_models() -> None:
    heavy = {"torch", "transformers", "sentence_transformers", "dateparser", "matplotlib"}
    assert not imported_by("import cogs.memory.surface.wiring, cogs.memory.surface.client") & heavy
