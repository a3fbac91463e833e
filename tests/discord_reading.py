"""How Discord reads a text: what pings, what unfurls, what is code. An oracle for texts that must do neither.

The client goes through a text from left to right and takes the first rule that fits at each place: escape, fenced code,
inline code, link in angle brackets, masked link, bare link. Pings are the server's: it looks at the raw text, code
included, as the strictest reading has it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_ESCAPE = re.compile(r"\\([^0-9A-Za-z\s])")
_FENCED = re.compile(r"```(?:([a-z0-9_+\-.#]+?)\n)?\n*([^\n][\s\S]*?)\n*```", re.IGNORECASE)
_INLINE = re.compile(r"(`+)([\s\S]*?[^`])\1(?!`)")
_ANGLED = re.compile(r"<((?:https?|steam)://[^\s>]+)>", re.IGNORECASE)
_MASKED = re.compile(
    r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(\s*<?((?:[^\s()\\]|\([^()]*\)|\\.)*?)>?(?:\s+['\"][\s\S]*?['\"])?\s*\)"
)
_BARE = re.compile(r"(?:https?|steam)://[^\s<]+[^<.,:;\"'\]\s]", re.IGNORECASE)
_INVITE = re.compile(r"discord(?:app)?\.(?:gg|com/invite|gift|new|me|li)/?\w+", re.IGNORECASE)
_PING = re.compile(r"@everyone|@here|<@[!&]?\d+>", re.IGNORECASE)


@dataclass
class Reading:
    """What a message does when it is sent."""

    unfurled: list[str] = field(default_factory=list)
    masked: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    pings: list[str] = field(default_factory=list)


def read(text: str) -> Reading:
    """Return what Discord makes of a message."""
    reading = Reading(pings=_PING.findall(text))
    place = 0
    while place < len(text):
        if match := _ESCAPE.match(text, place):
            pass
        elif (match := _FENCED.match(text, place)) or (match := _INLINE.match(text, place)):
            reading.code.append(match[2])
        elif match := _ANGLED.match(text, place):
            pass
        elif (match := _MASKED.match(text, place)) and "://" in match[2]:
            reading.masked.append(match[2])
        elif (match := _BARE.match(text, place)) or (match := _INVITE.match(text, place)):
            reading.unfurled.append(match[0])
        place = match.end() if match else place + 1
    return reading
