"""What somebody asks the bot for: the words, without the mention, and whether the memory may be used. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

FLAG: Final = "--no-memory"
"""Written anywhere in a message, it keeps the memory out of the answer."""

_FLAG = re.compile(r"(?<!\S)--(?:no-memory|ohne-ged(?:ä|ae)chtnis)(?!\w)[^\S\n]*", re.IGNORECASE)
_SAID = re.compile(
    r"\b(?:do\s+not|don['’]?t|please\s+don['’]?t|never)\s+use\s+(?:(?:your|the|any)\s+)?memory\b"
    r"|\bwithout\s+(?:using\s+)?(?:(?:your|the|any)\s+)?memory\b"
    r"|\bohne\s+(?:dein\s+|das\s+)?ged(?:ä|ae)chtnis\b"
    r"|\b(?:be)?nutz[e]?\s+(?:bitte\s+)?(?:kein|nicht\s+(?:dein|das))\s+ged(?:ä|ae)chtnis\b"
    r"|\b(?:verwende|nimm)\s+(?:bitte\s+)?(?:kein|nicht\s+(?:dein|das))\s+ged(?:ä|ae)chtnis\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be answered."""

    text: str
    """Without the bot's mention and the flag; empty when nothing else was written."""
    wants_memory: bool = True


def parse_request(text: str) -> Request:
    """Read a message in which the bot's mention is left out already.

    `FLAG`, its German twin ``--ohne-gedächtnis``, and the plain words for it (“don't use memory”, “ohne Gedächtnis”)
    count. Read too eagerly, words cost an answer its memory; read too strictly, they would be ignored.
    """
    wants_memory = not (_FLAG.search(text) or _SAID.search(text))
    return Request(_FLAG.sub("", text).strip(), wants_memory)
