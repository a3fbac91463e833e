"""Discord's limits on the definition of application commands."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from .errors import ApiError, Json, invalid_form

if TYPE_CHECKING:
    from collections.abc import Sequence

CHAT_INPUT, USER_MENU, MESSAGE_MENU = 1, 2, 3
SUB_COMMAND, SUB_COMMAND_GROUP = 1, 2

_MAXIMUM = {CHAT_INPUT: 100, USER_MENU: 15, MESSAGE_MENU: 15}
_NAME = re.compile(r"[-_'\w]{1,32}")
_TOTAL = 8000


def check_commands(commands: Sequence[Json]) -> None:
    """Check all commands of one scope (global, or one guild).

    Raises:
        ApiError: too many of a kind, two of the same name, or a definition that breaks a limit.
    """
    for kind, count in Counter(command.get("type", CHAT_INPUT) for command in commands).items():
        if count > _MAXIMUM[kind]:
            raise ApiError(400, 30032, f"Maximum number of application commands reached ({_MAXIMUM[kind]})")
    names = [(command.get("type", CHAT_INPUT), command["name"]) for command in commands]
    if len(set(names)) < len(names):
        raise invalid_form("0.name", "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique")
    for index, command in enumerate(commands):
        _check_command(str(index), command)


def _check_command(path: str, command: Json) -> None:
    if command.get("type", CHAT_INPUT) == CHAT_INPUT:
        _check_texts(path, command)
        _check_options(f"{path}.options", command.get("options") or [])
        if _size(command) > _TOTAL:
            raise invalid_form(path, "APPLICATION_COMMAND_TOO_LARGE", f"Command exceeds maximum size ({_TOTAL})")
    elif not 1 <= len(command["name"]) <= 32 or command.get("description") or command.get("options"):
        raise invalid_form(f"{path}.name", "BASE_TYPE_BAD_LENGTH", "A context menu has a name of 1 to 32 and no more.")


def _check_texts(path: str, thing: Json) -> None:
    name = thing["name"]
    if not _NAME.fullmatch(name) or name != name.lower():
        raise invalid_form(f"{path}.name", "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
    for key in ("description", *(thing.get("description_localizations") or {})):
        text = thing.get(key) if key == "description" else thing["description_localizations"][key]
        if not text or len(text) > 100:
            raise invalid_form(f"{path}.{key}", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")


def _check_options(path: str, options: list[Json]) -> None:
    if len(options) > 25:
        raise invalid_form(path, "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    if len({option["name"] for option in options}) < len(options):
        raise invalid_form(path, "APPLICATION_COMMAND_OPTIONS_NAME_DUPLICATE", "Option names must be unique")
    required = [bool(option.get("required")) for option in options]
    if required != sorted(required, reverse=True):
        raise invalid_form(path, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", "Required options come first")
    for index, option in enumerate(options):
        _check_texts(f"{path}.{index}", option)
        if option["type"] in (SUB_COMMAND, SUB_COMMAND_GROUP):
            _check_options(f"{path}.{index}.options", option.get("options") or [])
        else:
            _check_choices(f"{path}.{index}.choices", option)


def _check_choices(path: str, option: Json) -> None:
    choices = option.get("choices") or []
    if len(choices) > 25 or (choices and option.get("autocomplete")):
        raise invalid_form(path, "BASE_TYPE_MAX_LENGTH", "25 choices at most, and none beside autocomplete.")
    if any(not 1 <= len(str(choice[key])) <= 100 for choice in choices for key in ("name", "value")):
        raise invalid_form(path, "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")


def _size(thing: Json) -> int:
    """The characters of names, descriptions and string values, which together may be 8000 a command."""
    own = len(thing["name"]) + len(thing.get("description") or "")
    choices = sum(len(choice["name"]) + len(str(choice["value"])) for choice in thing.get("choices") or [])
    return own + choices + sum(map(_size, thing.get("options") or []))
