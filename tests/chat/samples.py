"""What the memory may bring to a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogs.memory.cleaning import clean_name, clean_text
from cogs.memory.context_builder import build_context
from cogs.memory.recall_records import RecalledMessage, RecallTrace
from tests.conftest import CHANNEL, said

if TYPE_CHECKING:
    from cogs.memory.context_builder import MemoryContext

TRACE = RecallTrace((), 0, 0, 0, "structure", 1.0)


def remembered(*texts: str, author: str = "Mia") -> MemoryContext:
    """The context of messages, the best first, each a minute older than the one before."""
    results = [
        RecalledMessage(
            said(len(texts) - place, clean_text(text), author=clean_name(author)),
            rank=place + 1,
            score=1.0,
            relevance=0.9 - place / 100,
        )
        for place, text in enumerate(texts)
    ]
    return build_context(results, TRACE, {CHANNEL: "general"}, token_budget=2000, least_relevance=0.0)
