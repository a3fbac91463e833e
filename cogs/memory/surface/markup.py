"""Text for Discord: escaped in one pass, with a question's words in bold, never longer than asked. Pure.

Everything here is linear in the length of its input, and callers cut first: `discord.utils.escape_markdown` needs most
of a second for some texts of 4,000 characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

ELLIPSIS: Final = "…"

_ESCAPED: Final = r"[\\*_~`|\[\]<>]"
_SPECIAL = re.compile(rf"(?m)(?P<special>{_ESCAPED})|^(?P<indent>[^\S\n]*)(?P<line>[#+-])")
_BACKSLASHED = re.compile(r"\\(.)", re.DOTALL)
_PIECE = re.compile(
    r"(?m)(?P<code>```(?:[^`]|`(?!``))+```|(?<!`)`[^`\n]+`(?!`))"
    r"|\|\|(?P<spoiler>(?:[^|]|\|(?!\|))+)\|\|"
    r"|(?P<url>https?://[^\s<>|*`\\]+)"
    r"|(?P<word>[^\W_]+(?:['’][^\W_]+)*)"
    rf"|(?P<special>{_ESCAPED})"
    r"|^(?P<indent>[^\S\n]*)(?P<line>[#+-])"
    r"|(?P<other>[^\w\\*_~`|\[\]<>\n]+|\n)",
)
_LEAD: Final = 80
"""Characters shown before the first word that was asked for, when a text is too long."""

IsMarked = Callable[[str], bool]


def escape(text: str) -> str:
    """Return ``text`` so that Discord shows it as it is; `unescape` gives it back."""
    return _SPECIAL.sub(lambda m: f"{m['indent'] or ''}\\{m['special'] or m['line']}", text)


def unescape(text: str) -> str:
    """Return what was given to `escape`."""
    return _BACKSLASHED.sub(r"\1", text)


def cut(text: str, limit: int) -> str:
    """Return at most ``limit`` characters, an ellipsis the last of them if anything is missing."""
    return text if len(text) <= limit else text[: max(0, limit - 1)].rstrip() + ELLIPSIS


def never(_: str) -> bool:
    """Mark no word."""
    return False


def marked(text: str, is_marked: IsMarked = never, *, limit: int) -> str:
    """Return ``text`` escaped, with the words that ``is_marked`` holds for in bold.

    Code and spoilers stay what they are, links stay links. A text that is too long is shown from shortly before the
    first marked word on; the result has at most ``limit`` characters.
    """
    start = _window(text, is_marked, limit)
    shown = text[start : start + limit]
    pieces: list[str] = [ELLIPSIS] if start else []
    room = limit - 1 - len(pieces)  # one for an ellipsis at the end
    for kind, piece in _pieces(shown, is_marked):
        if len(piece) > room:
            pieces.append(_beginning(kind, piece, room))
            return "".join(pieces).rstrip() + ELLIPSIS
        pieces.append(piece)
        room -= len(piece)
    return "".join(pieces) + ("" if start + len(shown) >= len(text) else ELLIPSIS)


def _beginning(kind: str | None, piece: str, room: int) -> str:
    """As much of a piece as has room; nothing of one that would fall apart."""
    if kind == "code" and piece.startswith("```") and room > 20:
        return f"{piece[: room - 4].rstrip('`')}\n```"
    plain = kind == "other" or (kind == "word" and not piece.startswith("**"))
    return piece[: max(0, room)] if plain else ""


def _window(text: str, is_marked: IsMarked, limit: int) -> int:
    """Where to begin, so that the first marked word is shown."""
    if len(text) <= limit:
        return 0
    first = next((m.start() for m in _PIECE.finditer(text) if m["word"] and is_marked(m["word"])), 0)
    if first < limit // 2:
        return 0
    return max(0, min(first - min(_LEAD, limit // 4), len(text) - limit // 2))


def _pieces(text: str, is_marked: IsMarked) -> Iterator[tuple[str | None, str]]:
    """The text in pieces of a kind, as Discord is to be given them."""
    for match in _PIECE.finditer(text):
        kind, piece = match.lastgroup, match.group()
        if kind == "word" and is_marked(piece):
            piece = f"**{piece}**"
        elif kind == "special":
            piece = f"\\{piece}"
        elif kind == "line":
            piece = f"{match['indent']}\\{match['line']}"
        elif kind == "spoiler":
            piece = f"||{escape(match['spoiler'])}||"
        yield kind, piece
