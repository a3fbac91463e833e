"""Text is cleaned once, where it comes in; behind this edge every string is safe for databases and tokenizers."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_CONTENT = 8000
"""Characters kept of one message; twice what Discord lets anybody write."""
MAX_NAME = 100
MAX_EXTRA = 2000
"""Characters kept of what stands beside the content: names of files and stickers, embeds, polls, what was forwarded."""
MAX_EMBED_TEXT = 300
"""Characters kept of one embed's description, or of one of its fields: a linked page is not the conversation."""
MAX_MARKS = 4
"""Combining marks kept on one character: more is decoration that only costs time."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_MARKS = re.compile(r"[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{5,}")
_DIRECTION = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_SPACES = re.compile(r"[^\S\n]+")


def clean_text(text: str, limit: int = MAX_CONTENT) -> str:
    """Return ``text`` in NFC without control characters, lone surrogates, direction overrides and piled-up marks."""
    text = text[: limit * 2].replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROL.sub("", text)
    text = _DIRECTION.sub("", text)
    text = _MARKS.sub(lambda match: match.group()[:MAX_MARKS], text)
    return unicodedata.normalize("NFC", text).strip()[:limit]


def clean_extra(parts: Iterable[str]) -> str:
    """Return what stands beside the content of a message as one text, a line for each part."""
    return clean_text("\n".join(part for part in parts if part), MAX_EXTRA)


def embed_texts(title: str, description: str, fields: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the searchable texts of an embed, cut to what is kept of them."""
    yield title
    yield description[:MAX_EMBED_TEXT]
    for name, value in fields:
        yield f"{name} {value}"[:MAX_EMBED_TEXT]


def clean_name(name: str) -> str:
    """Return a display name on one line, never empty."""
    return _SPACES.sub(" ", clean_text(name, MAX_NAME).replace("\n", " ")).strip() or "?"
