"""Mentions, custom emoji and timestamps as people read them: ``<@1234>`` is ``@Mia``. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    NameOf = Callable[[int], str | None]

_REFERENCE: Final = re.compile(
    r"<(?:@!?(?P<user>\d{1,20})|@&(?P<role>\d{1,20})|#(?P<channel>\d{1,20})|a?:(?P<emoji>\w+):\d+"
    r"|t:(?P<time>-?\d{1,12})(?::\w)?|/(?P<command>[^:<>\n]{1,120}):\d+)>"
)


def write_references_out(text: str, *, user: NameOf, role: NameOf, channel: NameOf) -> str:
    """Return ``text`` with names in place of references.

    Args:
        text: as Discord's API gives it.
        user: the shown name of a user; None for one that is not known.
        role: the same for roles.
        channel: the same for channels. None as well for one that not every reader of the text may know of.
    """

    def written_out(match: re.Match[str]) -> str:
        kind, value = next((kind, value) for kind, value in match.groupdict().items() if value is not None)
        if kind == "user":
            return f"@{user(int(value)) or 'somebody'}"
        if kind == "role":
            return f"@{role(int(value)) or 'role'}"
        if kind == "channel":
            return f"#{channel(int(value)) or 'channel'}"
        if kind == "time":
            return _time(int(value))
        return f":{value}:" if kind == "emoji" else f"/{value}"

    return _REFERENCE.sub(written_out, text)


def _time(seconds: int) -> str:
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # beyond what the platform's calendar knows
        return "(a date)"
    return f"{moment:%Y-%m-%d %H:%M} UTC"
