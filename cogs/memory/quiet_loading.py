"""Loading a model beside one that serves, so that the calls of the latter stay short."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING

from cogs.memory.library_imports import quick_switches
from profiles import detect_hardware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from profiles import MemoryProfile

_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def quiet_loading(profile: MemoryProfile) -> Iterator[None]:
    """Leave a core to what serves while this thread loads or tests a model; another load waits until this one is over.

    Not for downloads: they may take hours. Where torch is not there yet, no model of this process serves, and its
    threads are left alone.

    Args:
        profile: says how many threads models have.
    """
    cores = profile.threads or detect_hardware(probe_accelerators=False).physical_cores
    with _one_at_a_time, quick_switches, _torch_threads(max(1, cores - 1)):
        yield


@contextlib.contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Let torch have so many threads for what this thread does in the block, and for nothing else."""
    if "torch" not in sys.modules:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    # the setting is each thread's own, but new threads take the last one made, whichever thread made it
    last = threading.Thread(target=torch.set_num_threads, args=(before,))
    last.start()
    last.join()
    try:
        yield
    finally:
        torch.set_num_threads(before)
