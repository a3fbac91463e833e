"""What Discord's own menus show of commands, and what a text leaves blank: for tests of translations."""

from __future__ import annotations

from string import Formatter
from typing import TYPE_CHECKING, Any

from discord import app_commands

if TYPE_CHECKING:
    from collections.abc import Iterator


def menu_texts(command: app_commands.Group | app_commands.Command[Any, ..., Any]) -> Iterator[str]:
    """All that the menus show of a command, parameters and their choices among it."""
    yield command._locale_description.message if command._locale_description else command.description
    if isinstance(command, app_commands.Group):
        for child in command.commands:
            yield from menu_texts(child)
        return
    for parameter in command._params.values():
        yield str(parameter.description)
        yield from (str(choice._locale_name or choice.name) for choice in parameter.choices or ())


def blanks(text: str) -> set[str | None]:
    """The names of what is to be filled in."""
    return {name for _, name, _, _ in Formatter().parse(text)}
