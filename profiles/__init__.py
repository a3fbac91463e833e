"""Hardware-aware settings of the memory."""

from __future__ import annotations

from profiles.memory_profile import MemoryProfile

__all__ = ["MemoryProfile"]
