"""Why a provider made no reply, in a word for programs and a sentence for people."""

from __future__ import annotations

from typing import Literal

from cogs.chat.exceptions import ReplyFailed
from cogs.chat.providers.reply_texts import ENGLISH, ReplyTexts

Reason = Literal[
    "unreachable",
    "slow",
    "loading",
    "busy",
    "access",
    "no_model",
    "refused",
    "too_long",
    "failing",
    "unreadable",
    "broke_off",
    "empty",
]
"""Each has a sentence of its name in `ReplyTexts`."""


class ProviderFailed(ReplyFailed):
    """A provider could not make the reply. The text is the English sentence; `sentence` gives other languages."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(_sentence(reason, ENGLISH))
        self.reason: Reason = reason

    def sentence(self, texts: ReplyTexts) -> str:
        """Return why there is no reply, in the language of the texts."""
        return _sentence(self.reason, texts)


def _sentence(reason: Reason, texts: ReplyTexts) -> str:
    sentence: str = getattr(texts, reason)
    return sentence
