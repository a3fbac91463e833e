"""A JSON object from a file, piece by piece: a year of a busy channel needs no more memory than a day of it. Pure."""

from __future__ import annotations

import codecs
import json
import re
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE: Final = 1 << 20
"""Bytes read at first; where one value is longer, twice as many each time."""
_BLANK: Final = " \t\r\n"
_DELIMITERS: Final = frozenset(",:]}" + _BLANK)
_HALF: Final = "\ufffd"
"""In place of a character that the end of the file cuts through."""
_BEGUN: Final = re.compile(rf"\\?[\w.+-]*\s*{_HALF}?")
"""What a number, a word such as ``true`` or an escape leaves that the end of the file cuts through."""


class EndsTooEarly(ValueError):
    """The file is JSON as far as it goes, but ends before that does."""


def members(file: IO[bytes], streamed: str) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of the object in ``file``; nothing, if it holds another JSON value.

    Args:
        file: UTF-8, -16 or -32, with or without a byte order mark.
        streamed: the key whose value, if it is an array, comes as an iterator over its elements. What the caller leaves
            of them is skipped.

    Raises:
        UnicodeDecodeError: it is no text in one of these encodings.
        EndsTooEarly: it ends in the middle; raised after all that is whole before.
        ValueError: it is not JSON; raised where that is met, so after what stands before it.
        RecursionError: it is nested too deep.
    """
    text = _Text(file)
    if text.next_character() != "{":
        text.value()
        return
    text.take("{")
    separator = "," if text.next_character() != "}" else text.take("}")
    while separator == ",":
        key = text.value()
        if not isinstance(key, str):
            raise ValueError("a key is no string")
        text.take(":")
        if key == streamed and text.next_character() == "[":
            elements = _elements(text)
            yield key, elements
            for _ in elements:
                pass
        else:
            yield key, text.value()
        separator = text.take(",}")
    if text.next_character():
        raise ValueError("something stands behind its end")


def _elements(text: _Text) -> Iterator[Any]:
    text.take("[")
    separator = "," if text.next_character() != "]" else text.take("]")
    while separator == ",":
        yield text.value()
        separator = text.take(",]")


class _Text:
    """The text of a file, of which only the part that is being read is kept."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        start = file.read(PIECE)
        self._decoder = codecs.getincrementaldecoder(json.detect_encoding(start))()
        self._is_whole = not start
        self._text = self._decoder.decode(start, final=not start)
        self._at = 0
        self._json = json.JSONDecoder()

    def next_character(self) -> str:
        """Skip blanks; return the character behind them, or nothing at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANK:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if self._is_whole:
                return ""
            self._read_on()

    def take(self, expected: str) -> str:
        """Take one of the expected characters. Raises ValueError for another, EndsTooEarly for none."""
        found = self.next_character()
        if not found:
            raise EndsTooEarly(f"it ends where {' or '.join(expected)} was expected")
        if found not in expected:
            fault = EndsTooEarly if self._ends_begun(self._at) else ValueError  # "1." is taken as 1 and a point
            raise fault(f"{found!r} stands where {' or '.join(expected)} was expected")
        self._at += 1
        return found

    def value(self) -> Any:
        """Take a whole value. Raises ValueError; EndsTooEarly, if the file ends within it."""
        self.next_character()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except ValueError as error:
                if self._is_whole:
                    raise self._fault(error) from error
            else:
                if self._is_whole or self._text[end : end + 1] in _DELIMITERS:  # else a number may go on
                    self._at = end
                    return value
            self._read_on()

    def _fault(self, error: ValueError) -> ValueError:
        """What is wrong with the last value; without a position, which would be one in this part of the text."""
        if not isinstance(error, json.JSONDecodeError):
            return ValueError(str(error))
        is_begun = error.msg.startswith("Unterminated string") or self._ends_begun(error.pos)
        return EndsTooEarly(error.msg) if is_begun else ValueError(error.msg)

    def _ends_begun(self, position: int) -> bool:
        """Whether nothing stands from there to the end of the file but what may be the begin of something."""
        return self._is_whole and _BEGUN.fullmatch(self._text, position) is not None

    def _read_on(self) -> None:
        """Drop what was taken and read at least as much as is left: a long value is tried again a few times only."""
        self._text = self._text[self._at :]
        self._at = 0
        piece = self._file.read(max(PIECE, len(self._text)))
        self._is_whole = not piece
        try:
            self._text += self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError:
            if piece:
                raise
            self._text += _HALF
