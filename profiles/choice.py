"""From settings to the profile of a process: one way, at the start and when another profile is asked for later."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from profiles.hardware import detect_hardware
from profiles.loading import is_profile_path, load_profile
from profiles.overlay import apply_settings
from profiles.selection import explain_selection, fit_to_device, select_profile

if TYPE_CHECKING:
    from profiles.hardware import Hardware
    from profiles.memory_profile import MemoryProfile
    from profiles.settings import Settings


class ChosenProfile(NamedTuple):
    """A profile with the settings applied, and why it was chosen."""

    profile: MemoryProfile
    reason: str


def choose_profile(settings: Settings, name: str | None = None, hardware: Hardware | None = None) -> ChosenProfile:
    """Return the profile that a process with these settings uses.

    A tier that is named runs on the GPU that is there, as one that is selected does; a file of the operator's own says
    itself what it runs on. Slow where GPUs are looked for: not for the event loop.

    Args:
        settings: of the operator.
        name: in place of the MEMORY_PROFILE in them.
        hardware: of the machine; None for this one.

    Raises:
        ProfileError: there is no such profile, or it cannot be used.
        SettingsError: settings contradict each other, or one has no effect on this profile.
    """
    named = name or settings.memory_profile
    if named == "auto":
        hardware = hardware or detect_hardware()
        chosen, reason = select_profile(hardware), explain_selection(hardware).reason
    else:
        chosen, reason = load_profile(named), "named in the settings"
        if chosen.device != "cpu" and not is_profile_path(named):
            chosen = fit_to_device(chosen, hardware or detect_hardware())
    return ChosenProfile(apply_settings(chosen, settings), reason)
