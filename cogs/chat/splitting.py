"""A reply → the messages that it is sent as: each safe, within Discord's limit, cut where a reader would. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from cogs.chat.reply_text import Block, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGE_LIMIT: Final = 2000
"""Characters that Discord takes in one message."""
LEAST_LIMIT: Final = 600
"""What must stay whole, a link, fits into so many characters."""

_PARAGRAPH = re.compile(r"\n{2,}")
_SENTENCE = re.compile(r"[.!?…][\"'”’»)\]*_]*(?=\s)|[。！？]|\n")
_SPACE = re.compile(r"\s")
_WHOLE = re.compile(r"<(?:https?|steam)://[^\s<>]+>|`[^`\n]+`|\\[^\sA-Za-z0-9]|@\u200b\S{0,20}", re.IGNORECASE)
_JOINERS: Final = "\u200d\ufe0e\ufe0f"
_LONGEST_CLUSTER: Final = 16


def split_reply(text: str, limit: int = MESSAGE_LIMIT) -> list[str]:
    """Return a reply as messages that ping nobody and unfurl nothing; none for a blank reply.

    Prose is cut after a paragraph, else a sentence or line, else a word. Code that fits into one message is not cut,
    and a fence that is cut is closed, and opened again in the next message. Of a reply that grows, all messages but
    the last two stay as they are.

    Args:
        text: what a provider wrote, or wrote so far.
        limit: characters of a message, at least `LEAST_LIMIT`; below Discord's where something is to be added.

    Raises:
        ValueError: ``limit`` is less.
    """
    if limit < LEAST_LIMIT:
        raise ValueError(f"limit must be at least {LEAST_LIMIT}, not {limit}")
    parts = _Parts(limit)
    for block in blocks(text):
        if block.language is None:
            parts.add_prose(block.text)
        else:
            parts.add_code(block)
    return parts.finished()


class _Parts:
    """The messages so far, and the one that is being filled."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._full: list[str] = []
        self._current = ""

    def finished(self) -> list[str]:
        self._flush()
        return self._full

    def add_prose(self, text: str) -> None:
        while text:
            room = self._room
            if len(text) <= room:
                self._append(text)
                return
            cut = 0 if self._current and room < self._limit // 4 else _cut(text, room)
            if cut == 0:
                self._flush()
                continue
            self._append(text[:cut].rstrip())
            self._flush()
            text = text[cut:].lstrip()

    def add_code(self, block: Block) -> None:
        whole = block.rendered
        if len(whole) > self._room and self._current and (len(whole) <= self._limit or self._room < self._limit // 4):
            self._flush()
        if len(whole) <= self._room:
            self._append(whole)
            return
        fence = len(block._replace(text="").rendered)
        for chunk in _chunks(block.text, self._room - fence, self._limit - fence):
            if len(chunk) + fence > self._room:
                self._flush()
            self._append(block._replace(text=chunk).rendered)

    @property
    def _room(self) -> int:
        return self._limit - len(self._current) - (1 if self._current else 0)

    def _append(self, text: str) -> None:
        self._current += f"\n{text}" if self._current else text

    def _flush(self) -> None:
        if self._current.strip():
            self._full.append(self._current)
        self._current = ""


def _cut(text: str, room: int) -> int:
    """Return where to cut a text that is longer than ``room``: after as large a unit of it as may be.

    0 where something that must stay whole begins the text and needs more room.
    """
    whole = [match.span() for match in _WHOLE.finditer(text, 0, room + 1000)]
    for unit, least in ((_PARAGRAPH, room // 2), (_SENTENCE, room // 4), (_SPACE, room // 8)):
        ends = [match.end() for match in unit.finditer(text, least, room)]
        for end in reversed(ends):
            if not any(start < end < stop for start, stop in whole):
                return end
    inside = next((start for start, stop in whole if start < room < stop), None)
    return _before_cluster(text, room) if inside is None else inside


def _before_cluster(text: str, cut: int) -> int:
    """Move a cut in front of a letter whose accents, or an emoji whose parts, it would tear off."""
    for place in range(cut, max(0, cut - _LONGEST_CLUSTER), -1):
        if text[place] not in _JOINERS and not unicodedata.combining(text[place]) and text[place - 1] != "\u200d":
            return place
    return cut


def _chunks(code: str, first: int, room: int) -> Iterator[str]:
    """Yield code in pieces of whole lines: the first of ``first`` characters at most, the others of ``room``."""
    held = ""
    left = first
    for line in code.split("\n"):
        rest = line
        while len(held) + bool(held) + len(rest) > left:
            if not held:
                yield rest[:left]
                rest = rest[left:]
            else:
                yield held
                held = ""
            left = room
        held = f"{held}\n{rest}" if held else rest
    if held.strip():
        yield held
