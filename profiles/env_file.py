"""Finding the variables that nobody reads: a typing error must not pass for a default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dotenv.parser import parse_stream

from profiles.errors import SettingsError
from profiles.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_OWN_PREFIX: Final = "RERANKER_"


def unknown_variables(env_file: Path | None, known: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that looks like a setting and is none, and each line that is no variable.

    A file that only this program reads must hold nothing else, unless the environment has the variable too (then a
    launcher shares the file, and the variable does reach its reader). In the environment, which belongs to everybody,
    only names that begin like ours are looked at.

    Raises:
        SettingsError: the file cannot be read.
    """
    problems = [
        f"the environment: {_unknown(name, known)}"
        for name in sorted(environment)
        if name.upper().startswith(_OWN_PREFIX) and name.upper() not in known
    ]
    if env_file is not None and env_file.is_file():
        problems += _unknown_in_file(env_file, known, environment)
    return problems


def _unknown_in_file(env_file: Path, known: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    problems = []
    try:
        with env_file.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except OSError as error:
        raise SettingsError(f"{env_file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{env_file} is not UTF-8 text (byte {error.start})") from None  # it would show the text
    for key, value, original, is_broken in bindings:
        if is_broken or (key is not None and value is None):
            problems.append(f"{env_file}: line {original.line} is not of the form NAME=value")
        elif key is not None and key.upper() not in known and key not in environment:
            problems.append(f"{env_file}: {_unknown(key, known)}")
    return problems


def _unknown(name: str, known: Sequence[str]) -> str:
    hint = did_you_mean(name, known)
    return (
        f"{name} is no setting{hint}; the settings are {', '.join(known)} (a variable for another program or "
        f"library belongs in the process environment)"
    )
