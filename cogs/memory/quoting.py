"""What people wrote, as a quote for a language model: one line that closes no fence and plays no role. Pure.

A quote is data. Whatever could be read as structure is turned into a look-alike: brackets of tags and control tokens,
"system:" and its kin, links, pings, and characters that only machines see.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_QUOTE = 400
"""Characters quoted of one message."""
MAX_NAME = 40
"""Characters quoted of a name."""
_READ = 4 * MAX_QUOTE
_LEAD = 60
"""Characters shown before the words that a passage was chosen for."""

_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff\x00-\x08\x0e-\x1f\x7f-\x9f]"
)
_DOMAINS = (
    "com|org|net|io|gg|dev|app|co|uk|eu|de|fr|es|it|nl|pl|ru|cn|jp|me|tv|ly|be|to|info|biz|xyz|site|online|example"
)
_LINK = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,15}://(?:[^\s/@]{0,200}@)?([^\s/:?#]+)\S*"
    r"|\b(?:www\.|(?=discord(?:app)?\.(?:gg|com|gift|new|me|li)/))([^\s/:?#]+)\S*"
    rf"|\b((?:[a-z0-9-]{{1,63}}\.){{1,4}}(?:{_DOMAINS}))(?::\d+)?/\S*",
    re.IGNORECASE,
)
_ROLE = re.compile(
    r"\b(system|assistant|user|human|developer|tool|function|model|bot|ai|instructions?|response|prompt)"
    r"(\s*(?:message|prompt)?\s*)[:\uff1a\ufe55\ua789\u2236\ufe13]",
    re.IGNORECASE,
)
_HEADING = re.compile(r"#{2,}|={3,}|-{3,}|\*{3,}|~{3,}")
_MENTION = re.compile(r"[@\uff20\ufe6b](everyone|here)|[@\uff20\ufe6b](?=[!&]?\d)", re.IGNORECASE)
_NEUTRAL = str.maketrans({
    **dict.fromkeys("<\uff1c\ufe64\u2329\u3008\u27e8", "‹"),
    **dict.fromkeys(">\uff1e\ufe65\u232a\u3009\u27e9", "›"),
    **dict.fromkeys("[\uff3b\ufe47\u3010\u27e6", "("),
    **dict.fromkeys("]\uff3d\ufe48\u3011\u27e7", ")"),
    **dict.fromkeys("|\uff5c\u2223\uffe8", "¦"),
    **dict.fromkeys("`\uff40", "'"),
})  # fmt: skip
_NAME = str.maketrans({":": " ", ",": " ", "#": " ", "(": " ", ")": " ", "\uff1a": " "})
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def quote(text: str, limit: int = MAX_QUOTE, keywords: Collection[str] = ()) -> str:
    """Return a message on one line that closes no fence, plays no role, links nowhere and pings nobody.

    Args:
        text: what was written.
        limit: characters of the result; of a longer text the passage with most of the ``keywords`` is quoted.
        keywords: lower-cased words.
    """
    return passage(_neutral(passage(text, keywords, _READ)), keywords, limit)


def quote_name(name: str) -> str:
    """Return a name or a channel's name as a part of a line that cannot be taken for more than that."""
    text = " ".join(_neutral(name[: 4 * MAX_NAME]).translate(_NAME).split())
    return text[:MAX_NAME].rstrip() or "?"


def passage(text: str, keywords: Collection[str], limit: int) -> str:
    """Return ``text``, or of one that is too long the ``limit`` characters that hold most of the keywords."""
    if len(text) <= limit:
        return text
    found = [(match.start(), word) for match in _WORD.finditer(text.lower()) if (word := match.group()) in keywords]
    start = _densest(found, limit - _LEAD)
    start = 0 if start <= _LEAD else text.rfind(" ", 0, start - _LEAD) + 1
    start = max(0, min(start, len(text) - limit))
    shown = text[start : start + limit]
    head = "…" if start else ""
    tail = "…" if start + limit < len(text) else ""
    return head + shown[len(head) : limit - len(tail)].strip() + tail


def _densest(found: list[tuple[int, str]], width: int) -> int:
    """Where the window of ``width`` characters with most different words begins; the first of the best."""
    best, most, begin = 0, 0, 0
    inside: dict[str, int] = {}
    for position, word in found:
        inside[word] = inside.get(word, 0) + 1
        while position - found[begin][0] > width:
            left = found[begin][1]
            inside[left] -= 1
            if not inside[left]:
                del inside[left]
            begin += 1
        if len(inside) > most:
            best, most = found[begin][0], len(inside)
    return best


def _neutral(text: str) -> str:
    text = " ".join(_UNSEEN.sub("", text).split())
    text = _LINK.sub(_host, text)
    text = _ROLE.sub(r"\1\2 -", text.translate(_NEUTRAL))
    text = _HEADING.sub(lambda match: match.group()[0], text)
    return _MENTION.sub(lambda match: "@\u200b" + (match[1] or ""), text)


def _host(match: re.Match[str]) -> str:
    host = (match[1] or match[2] or match[3]).strip(".")
    return f"(link to {host[:60]})"
