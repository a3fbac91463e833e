"""Memory of models: telling when it is out, so that a smaller batch can be tried, and giving it back."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import traceback
from typing import TYPE_CHECKING

from cogs.memory.exceptions import OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

_PHRASES = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says: CUDA and MPS, its allocator on Linux, on Windows."""


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


def limit_memory(device: str, share: float) -> None:
    """Let this process take at most a share of a GPU's memory, 0–1; what does not fit is then `OutOfMemory`."""
    import torch

    if device.startswith("cuda") and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)


def give_memory_back(device: str) -> None:
    """Return what freed weights took to the system: allocators keep it for the next that come, gigabytes of it."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()
    elif sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # glibc has it, musl does not
        libc.malloc_trim(0)
