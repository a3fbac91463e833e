"""What can be wrong with a profile or a setting, as sentences for the operator."""

from __future__ import annotations


class ProfileError(ValueError):
    """A profile cannot be found, read or built; the message says what is allowed."""


class SettingsError(ValueError):
    """One or more variables hold values that are not allowed; one line for each, never with a secret in it."""
