"""What people wrote, made harmless for a prompt: no control tokens, no role markers, no forged names or sources. Pure.

A chat model is steered by tokens such as ``<|im_end|>`` or ``[INST]`` and swayed by words such as ``system:``. What a
member writes must be neither, whatever the model's family; it stays readable, for people and for models.
"""

from __future__ import annotations

import re
from typing import Final

MAX_TEXT: Final = 8000
"""Characters of one message that are looked at."""
MAX_NAME: Final = 40
"""Characters of a name that are shown."""
NAMELESS: Final = "somebody"

_ROLES: Final = "system|assistant|user|human|developer|tool|function|model|ai"

_UNSEEN = re.compile(
    r"\r(?=\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"  # control characters
    r"|[\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"  # breaks, directions, nothing
    r"|[\ud800-\udfff\U000e0000-\U000e007f]"  # halves of characters, invisible tags
)
# kept where no token can begin: "a < b", "<3", "<=", "<-"
_TAG = re.compile(r"[<＜﹤](0x|[^\s\d=<＜﹤>＞﹥-])([^<＜﹤>＞﹥\n]{0,80})[>＞﹥]")
_TAG_START = re.compile(r"[＜﹤]|<(?=0x)|<(?![\s\d=-])")
_BRACKETED = re.compile(r"[\[［【]\s*(/?\s*[^\W\d]\w{2,30})\s*[\]］】]")
_NUMBER = re.compile(r"[\[［【]\s*(\d{1,3})\s*[\]］】]")
_ROLE = re.compile(rf"\b({_ROLES})\s*[:：]", re.IGNORECASE)
_HEADING = re.compile(rf"(?m)^[^\S\n]*#+[^\S\n]*(?=(?:{_ROLES}|instruction|response|input)\b)", re.IGNORECASE)


def neutral(text: str) -> str:
    """Return a text that holds no token, marker or source's number that could steer a model, line breaks kept."""
    return _NUMBER.sub(r"(\1)", without_markers(text))


def without_markers(text: str) -> str:
    """Return a text that holds no token and no role marker; numbers of sources stay."""
    text = _UNSEEN.sub("", text[:MAX_TEXT])
    text = _TAG_START.sub("‹", _TAG.sub(r"‹\1\2›", text))
    text = _BRACKETED.sub(r"(\1)", text)
    return _ROLE.sub(r"\1 -", _HEADING.sub("", text)).strip()


def label(name: str) -> str:
    """Return a name on one line, in front of which no role hides and after which no other line begins."""
    shown = " ".join(neutral(name).replace(":", " ").replace("：", " ").split())[:MAX_NAME].strip()
    if not shown:
        return NAMELESS
    return f"({shown})" if _ROLE.search(f"{shown}:") else shown


def said(name: str, text: str) -> str:
    """Return a message with its author in front; its further lines are indented, so that none looks like another's."""
    return f"{label(name)}: {neutral(text)}".replace("\n", "\n  ")
