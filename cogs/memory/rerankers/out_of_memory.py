"""Telling "out of memory" from other failures of a model, so that a smaller batch can be tried."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING

from cogs.memory.exceptions import ScoringFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

_PHRASES = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says: CUDA and MPS, its allocator on Linux, on Windows."""


class OutOfMemory(ScoringFailed):
    """The batch was too large for the device; a smaller one may fit."""


@contextlib.contextmanager
def raises_out_of_memory() -> Iterator[None]:
    """Turn torch's ways of running out of memory into `OutOfMemory`; other errors pass."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(phrase in str(error).lower() for phrase in _PHRASES):
            raise
        traceback.clear_frames(error.__traceback__)  # its frames would keep the tensors that filled the device
        raise OutOfMemory("The reranker ran out of memory.") from error
