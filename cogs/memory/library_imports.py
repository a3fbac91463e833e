"""Importing big libraries while the bot serves.

The half million objects that transformers and sentence-transformers make when they are imported set off collections of
all objects, each of which holds the interpreter's lock: measured four of 80 to 210 ms, a quarter of the import's time,
and one more of 200 ms whenever enough has gathered afterwards. They find nothing, for what an import makes stays.

And a call of a small model is some hundred operations of torch, each of which lets go of the interpreter's lock and
wants it back. Against a thread that runs Python, as imports do, each time may cost a switch interval, by default 5 ms:
measured on two cores, calls of 4 ms took up to 119 ms, of which they waited 1 ms for a core.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEVER: Final = 1_000_000
"""Collections of middle-aged objects between two of all objects."""

SWITCH_S: Final = 0.0001
"""With it the longest of those calls took 36 ms, and the load no longer; with 0.5 ms 64, with 0.05 ms no less."""

_one_at_a_time = threading.RLock()


class _QuickSwitches:
    """A block in which a thread that wants the interpreter's lock gets it soon; for several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0
        self._usual = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if not self._blocks:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(min(SWITCH_S, self._usual))
            self._blocks += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._blocks -= 1
            if not self._blocks:
                sys.setswitchinterval(self._usual)


quick_switches: Final = _QuickSwitches()


@contextlib.contextmanager
def importing_libraries() -> Iterator[None]:
    """Keep imports in this block from being looked through for garbage, then and ever after.

    Young objects are still collected. What else is in memory when a library has been imported is looked through no more
    either, so garbage with circular references of that moment stays; as imports happen once, that is little.
    """
    with _one_at_a_time, quick_switches:
        known = len(sys.modules)
        young, middle, old = gc.get_threshold()
        gc.set_threshold(young, middle, _NEVER)
        try:
            yield
        finally:
            if len(sys.modules) > known:
                gc.freeze()
            gc.set_threshold(young, middle, old)
