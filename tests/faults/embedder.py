"""The embedded model, loaded once for a whole run."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from cogs.memory.embedders.minilm import MiniLMEncoder

if TYPE_CHECKING:
    from profiles import MemoryProfile


class KeptEncoder(MiniLMEncoder):
    """Outlives the memories that use it."""

    def close(self) -> None:
        """Free nothing."""


@cache
def _kept() -> KeptEncoder:
    kept = object.__new__(KeptEncoder)
    kept.__dict__ = MiniLMEncoder.load(dtype="float32", threads=1).__dict__
    return kept


def load(_: MemoryProfile) -> KeptEncoder:
    """Give a service the one model."""
    return _kept()
