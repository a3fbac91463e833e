"""How the fields of `Settings` are made: each with what it allows and what it is for, in the operator's words."""

from __future__ import annotations

from typing import Any

from pydantic import BeforeValidator, Field

from profiles.memory_profile import LIMITS


def in_any_case(words: tuple[str, ...]) -> BeforeValidator:
    """Return what puts one of the words, however written, into its own spelling, and leaves all else as it is."""
    by_folded = {word.casefold(): word for word in words}

    def spell(value: object) -> object:
        return by_folded.get(value.strip().casefold(), value) if isinstance(value, str) else value

    return BeforeValidator(spell)


def split_commas(value: object) -> object:
    """Return the parts of a text between its commas; anything else as it is."""
    return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value


def setting(default: Any, allowed: str, description: str, words: tuple[str, ...] = (), **limits: Any) -> Any:
    """Return a field with what it allows and what it is for, in the operator's words, and the words it knows."""
    extra: dict[str, Any] = {"allowed": allowed, "words": words}
    return Field(default, description=description, json_schema_extra=extra, **limits)


def choice(default: Any, words: tuple[str, ...], description: str) -> Any:
    """Return a field that allows some words."""
    return setting(default, f"one of {', '.join(words)}", description, words)


def number(profile_field: str, description: str) -> Any:
    """Return an optional field that allows the numbers which a field of the profile allows."""
    limits = LIMITS[profile_field]
    return setting(None, str(limits), description, ge=int(limits.low), le=int(limits.high))
