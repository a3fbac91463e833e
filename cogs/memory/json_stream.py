"""A JSON object from a file, piece by piece: a year of a busy channel needs no more memory than a day of it. Pure."""

from __future__ import annotations

import codecs
import json
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE: Final = 1 << 20
"""Bytes read at first; where one value is longer, twice as many each time."""
_BLANK: Final = " \t\r\n"
_DELIMITERS: Final = frozenset(",:]}" + _BLANK)


def members(file: IO[bytes], streamed: str) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of the object in ``file``; nothing, if it holds another JSON value.

    Args:
        file: UTF-8, -16 or -32, with or without a byte order mark.
        streamed: the key whose value, if it is an array, comes as an iterator over its elements. What the caller leaves
            of them is skipped.

    Raises:
        UnicodeDecodeError: it is no text in one of these encodings.
        ValueError: it is not JSON, or ends too early; raised where that is met, so after what stands before it.
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
        """Take one of the expected characters. Raises ValueError for another."""
        found = self.next_character()
        if not found or found not in expected:
            what = f"{found!r} stands" if found else "it ends"
            raise ValueError(f"{what} where {' or '.join(expected)} was expected")
        self._at += 1
        return found

    def value(self) -> Any:
        """Take a whole value. Raises ValueError."""
        self.next_character()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except ValueError as error:
                if self._is_whole:  # its position would be one in this part of the text
                    raise ValueError(error.msg if isinstance(error, json.JSONDecodeError) else str(error)) from error
            else:
                if self._is_whole or self._text[end : end + 1] in _DELIMITERS:  # else a number may go on
                    self._at = end
                    return value
            self._read_on()

    def _read_on(self) -> None:
        """Drop what was taken and read at least as much as is left: a long value is tried again a few times only."""
        self._text = self._text[self._at :]
        self._at = 0
        piece = self._file.read(max(PIECE, len(self._text)))
        self._is_whole = not piece
        self._text += self._decoder.decode(piece, final=not piece)
