"""Importing big libraries while the bot serves.

The half million objects that transformers and sentence-transformers make when they are imported set off collections of
all objects, each of which holds the interpreter's lock: measured four of 80 to 210 ms, a quarter of the import's time,
and one more of 200 ms whenever enough has gathered afterwards. They find nothing, for what an import makes stays.
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

_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def importing_libraries() -> Iterator[None]:
    """Keep imports in this block from being looked through for garbage, then and ever after.

    Young objects are still collected. What else is in memory when a library has been imported is looked through no more
    either, so garbage with circular references of that moment stays; as imports happen once, that is little.
    """
    with _one_at_a_time:
        known = len(sys.modules)
        young, middle, old = gc.get_threshold()
        gc.set_threshold(young, middle, _NEVER)
        try:
            yield
        finally:
            if len(sys.modules) > known:
                gc.freeze()
            gc.set_threshold(young, middle, old)
