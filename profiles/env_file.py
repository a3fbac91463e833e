"""Finding the variables that nobody reads: a typing error must not pass for a default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dotenv.parser import Binding, parse_stream

from profiles.errors import SettingsError
from profiles.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_OWN_PREFIX: Final = "RERANKER_"


def unknown_variables(
    env_file: Path | None, known: Sequence[str], environment: Mapping[str, str], *, is_shared: bool
) -> list[str]:
    """Return a line for each variable that looks like a setting and is none, and each line that is no variable.

    A file that only this program reads must hold nothing else, unless the environment has the variable too (then a
    launcher shares the file, and the variable does reach its reader). In the environment, which belongs to everybody,
    and in a file that is shared with another program only names that begin like ours are looked at.

    Raises:
        SettingsError: the file cannot be read.
    """
    own = [name for name in sorted(environment) if _begins_like_ours(name) and name.upper() not in known]
    unknown = [f"the environment: {_unknown(name, known)}" for name in own]
    broken: list[str] = []
    for key, value, original, is_broken in _bindings(env_file):
        if is_broken or (key is not None and value is None):
            broken += [] if is_shared else [f"{env_file}: line {original.line} is not of the form NAME=value"]
        elif key is None or key.upper() in known or key in environment:
            continue
        elif not is_shared or _begins_like_ours(key):
            unknown.append(f"{env_file}: {_unknown(key, known)}")
    if unknown:
        unknown.append(
            f"The settings are {', '.join(known)}; a variable for another program or library belongs in the process "
            "environment."
        )
    return broken + unknown


def _bindings(env_file: Path | None) -> list[Binding]:
    if env_file is None or not env_file.is_file():
        return []
    try:
        with env_file.open(encoding="utf-8-sig") as stream:
            return list(parse_stream(stream))
    except OSError as error:
        raise SettingsError(f"{env_file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{env_file} is not UTF-8 text (byte {error.start})") from None  # it would show the text


def _begins_like_ours(name: str) -> bool:
    return name.upper().startswith(_OWN_PREFIX)


def _unknown(name: str, known: Sequence[str]) -> str:
    return f"{name} is no setting{did_you_mean(name, known)}"
