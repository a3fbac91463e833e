"""What a model wrote → text that is safe to send: no pings, no unfurled or masked links, no open fences. Pure.

A reply may repeat what somebody planted in a message. Discord's own reading of a text decides what pings and what
unfurls, and code is where neither happens; so nothing is left to that reading: the text is taken apart into prose and
fenced code, and whatever could be read as another border between them is escaped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINK: Final = 500
"""Characters of a link; a longer one is shown as its host."""

_UNSEEN = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-_]?"  # colours and other orders to a terminal, which Discord obeys in code
    r"|\r(?=\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]"
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # directions: they show a text in another order
)
_MENTION = re.compile(r"@(?=everyone|here|[!&]?\d)", re.IGNORECASE)
_PROSE = re.compile(
    r"\\?<?(?P<link>(?:https?|steam)://[^\s<>`]+)>?"
    r"|(?P<escape>\\[^\sA-Za-z0-9@])"
    r"|(?<!`)(?P<code>`[^`\n]{1,300}`)(?!`)"
    r"|(?P<ticks>`+)"
    r"|(?P<mask>\](?=\())"
    r"|(?P<invite>discord)(?=(?:app)?\.(?:com/invite|gg|gift|new|me|li)\b)"
    r"|(?P<mention>@(?=everyone|here|[!&]?\d))",
    re.IGNORECASE,
)
_TICKS = re.compile(r"`{3,}")
_HOST = re.compile(r"\w+://(?:[^/?#]*@)?([^/?#]{1,100})")
_FENCE = re.compile(r"^(?P<before>[^`\n]*)`{3,}[^\S\n]*(?P<rest>[^`\n]*)$")
_ONE_LINE = re.compile(r"^\s*`{3,}(?P<code>[^`\n]+)`{3,}\s*$")
_LANGUAGE = re.compile(r"[\w+#.-]{1,20}", re.ASCII)
_AFTER_LINK: Final = ".,:;!?\"'*~|)]"


class Block(NamedTuple):
    """A stretch of a reply, safe to send as `rendered`."""

    text: str
    language: str | None = None
    """None for prose; of fenced code the language, "" when none is named."""

    @property
    def rendered(self) -> str:
        """The block as Discord is sent it."""
        return self.text if self.language is None else f"```{self.language}\n{self.text}\n```"


def blocks(text: str) -> list[Block]:
    """Take a reply apart, each block made safe. A fence that is never closed ends with the text."""
    safe = []
    for block in _parsed(_UNSEEN.sub("", text).split("\n")):
        if block.language is None:
            shown = safe_prose(block.text).lstrip("\n").rstrip()
        else:
            shown = _TICKS.sub(lambda run: "\u200b".join(run[0]), block.text)
            shown = _MENTION.sub("@\u200b", shown).strip("\n")
        if shown.strip():
            safe.append(Block(shown, block.language))
    return safe


def safe_prose(text: str) -> str:
    """Return a text without fenced code so that it pings nobody, unfurls nothing and closes what it opens."""
    return _PROSE.sub(_safe_piece, text)


def _parsed(lines: list[str]) -> Iterator[Block]:
    held: list[str] = []
    language: str | None = None
    for line in lines:
        if language is not None:
            code, closes, after = _closing(line)
            held += [code] if code or not closes else []
            if closes:
                yield Block("\n".join(held), language)
                held, language = [after] if after else [], None
            continue
        if one := _ONE_LINE.match(line):
            yield Block("\n".join(held))
            yield Block(one["code"], "")
            held = []
        elif fence := _FENCE.match(line):
            yield Block("\n".join([*held, fence["before"]]))
            rest = fence["rest"].strip()
            language = rest if _LANGUAGE.fullmatch(rest) else ""
            held = [] if language or not rest else [rest]
        else:
            held.append(line)
    yield Block("\n".join(held), language)


def _closing(line: str) -> tuple[str, bool, str]:
    """Return a line of code up to the fence that it may end with, whether it does, and what follows the fence."""
    match = _TICKS.search(line)
    if match is None or (not line[: match.start()].strip() and re.match(r"\w", line[match.end() :])):
        return line, False, ""  # a fence with a language opens: code that shows fences
    return line[: match.start()].rstrip(), True, line[match.end() :].strip("` ")


def _safe_piece(match: re.Match[str]) -> str:
    piece = match.group()
    match match.lastgroup:
        case "link":
            return _safe_link(match["link"])
        case "code":
            return _MENTION.sub("@\u200b", piece)
        case "ticks":
            return "\\`" * len(piece)
        case "mask":
            return "] "
        case "invite" | "mention":
            return f"{piece}\u200b"
    return piece


def _safe_link(link: str) -> str:
    """Return a link between the signs that keep Discord from unfurling it, with what follows the link behind them."""
    body = link.rstrip(_AFTER_LINK)
    closing = len(link[len(body) :]) - len(link[len(body) :].lstrip(")"))
    body += ")" * max(0, min(closing, body.count("(") - body.count(")")))
    tail = _MENTION.sub("@\u200b", link[len(body) :])
    if len(body) <= MAX_LINK:
        return f"<{_MENTION.sub('%40', body)}>{tail}"
    host = _HOST.match(body)
    return f"(link to {_MENTION.sub('', host[1])}){tail}" if host else tail
