"""Profiles from TOML: the tiers beside this file, or a file of the operator's own."""

from __future__ import annotations

import os
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

from profiles.errors import ProfileError
from profiles.memory_profile import LIMITS, OPTIONAL_FIELDS, PROFILE_FIELDS, MemoryProfile
from profiles.nearest import did_you_mean

Tier = Literal["embedded", "cpu", "cpu-basic", "gpu", "gpu-large", "remote"]
TIERS: Final[tuple[str, ...]] = get_args(Tier)

Preset = Literal["production", "quality", "speed"]
PRESETS: Final[tuple[str, ...]] = get_args(Preset)

_FOLDER: Final = Path(__file__).parent
_KEYS: Final = ("extends", *PROFILE_FIELDS)
_NONE: Final = "none"
"""How a TOML file, which has no null, writes that an optional field is None."""


def load_profile(name_or_path: str | Path) -> MemoryProfile:
    """Return a tier by name, or the profile that a TOML file describes.

    A text is a path when it ends in ``.toml`` or has a folder in it. Keys that a file leaves out come from the
    tier that it names by ``extends``, else from `MemoryProfile`'s defaults; its ``name`` defaults to the file's.

    Raises:
        ProfileError: no such tier; the file cannot be read or is not TOML; a key is unknown or its value not allowed.
    """
    if isinstance(name_or_path, str) and not is_profile_path(name_or_path):
        return _load_tier(name_or_path)
    path = Path(os.path.expanduser(name_or_path))  # noqa: PTH111 — Path.expanduser fails on an unknown user
    return _build(path, default_name=path.stem)


def is_profile_path(text: str) -> bool:
    """Whether ``text`` means a file rather than a tier."""
    return text.endswith(".toml") or "/" in text or "\\" in text


def apply_preset(profile: MemoryProfile, preset: str) -> MemoryProfile:
    """Return the profile with a preset's trade between quality and time.

    ``production`` is the profile as it is. ``quality`` lets the reranker model read twice as many candidates and
    gives it two and a half times as long; ``speed`` halves both. A deadline of None stays None. A profile without a
    reranker model (late interaction alone reads every candidate in milliseconds) has only its deadlines to change.

    Raises:
        ProfileError: there is no such preset.
    """
    match preset:
        case "production":
            return profile
        case "quality":
            return _scale(profile, candidates=2.0, deadlines=2.5)
        case "speed":
            return _scale(profile, candidates=0.5, deadlines=0.5)
        case _:
            hint = did_you_mean(preset, PRESETS)
            raise ProfileError(f"there is no preset {preset!r}{hint}; the presets are {', '.join(PRESETS)}")


def _scale(profile: MemoryProfile, *, candidates: float, deadlines: float) -> MemoryProfile:
    def scaled(field: str, value: int, factor: float) -> int:
        low, high, _ = LIMITS[field]
        return int(min(max(value * factor, low), high))

    recall, injection = profile.rerank_deadline_ms, profile.injection_deadline_ms
    return replace(
        profile,
        rerank_candidates=scaled("rerank_candidates", profile.rerank_candidates, candidates),
        rerank_deadline_ms=None if recall is None else scaled("rerank_deadline_ms", recall, deadlines),
        injection_deadline_ms=None if injection is None else scaled("injection_deadline_ms", injection, deadlines),
    )


def _load_tier(name: str) -> MemoryProfile:
    if name not in TIERS:
        raise ProfileError(
            f"there is no profile {name!r}{did_you_mean(name, TIERS)}; the profiles are {', '.join(TIERS)}, "
            f"or give the path of a .toml file"
        )
    return _build(_FOLDER / f"{name}.toml", default_name=name)


def _build(path: Path, *, default_name: str) -> MemoryProfile:
    values = _read_toml(path)
    _refuse_unknown_keys(path, values)
    for field in OPTIONAL_FIELDS & values.keys():
        if values[field] == _NONE:
            values[field] = None
    values.setdefault("name", default_name)
    try:
        if "extends" not in values:
            return MemoryProfile(**values)
        return replace(_load_base(values.pop("extends")), **values)
    except ValueError as error:
        raise ProfileError(f"the profile {path}: {error}") from error


def _load_base(name: object) -> MemoryProfile:
    if not isinstance(name, str) or name not in TIERS:
        raise ProfileError(f"extends must be one of {', '.join(TIERS)}, not {name!r}")
    return _load_tier(name)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise ProfileError(f"the profile {path} {what}; give the path of a .toml file or one of {', '.join(TIERS)}")
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows editors put a byte order mark
    except OSError as error:
        raise ProfileError(f"the profile {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ProfileError(f"the profile {path} is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"the profile {path} is not valid TOML: {error}") from error


def _refuse_unknown_keys(path: Path, values: dict[str, Any]) -> None:
    for key in values:
        if key not in _KEYS:
            hint = did_you_mean(key, _KEYS)
            raise ProfileError(f"the profile {path}: unknown key {key!r}{hint}; the keys are {', '.join(_KEYS)}")
