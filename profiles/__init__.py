"""Hardware-aware settings of the memory: what the machine has, what the operator wants, the profile of both.

profile, reason = choose_profile(load_settings())
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from profiles.choice import ChosenProfile, choose_profile
from profiles.errors import ProfileError, SettingsError
from profiles.hardware import Hardware, detect_hardware
from profiles.loading import apply_preset, load_profile
from profiles.memory_profile import MemoryProfile
from profiles.overlay import apply_settings
from profiles.selection import explain_selection, select_profile

if TYPE_CHECKING:
    from profiles.settings import Settings, load_settings
else:

    def __getattr__(name: str) -> object:
        """Import the settings when they are asked for: pydantic-settings costs 100 ms that a profile alone need not."""
        if name not in ("Settings", "load_settings"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from profiles import settings

        return getattr(settings, name)


__all__ = [
    "ChosenProfile",
    "Hardware",
    "MemoryProfile",
    "ProfileError",
    "Settings",
    "SettingsError",
    "apply_preset",
    "apply_settings",
    "choose_profile",
    "detect_hardware",
    "explain_selection",
    "load_profile",
    "load_settings",
    "select_profile",
]
