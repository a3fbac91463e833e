"""What a keyword search may cost, and what a word counts: the same in both engines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TERMS = 32
MAX_TERM_LENGTH = 200

MATCH_BUDGET = 4_000
"""Messages that one query may rank, over all its terms: about 8 ms. Rare terms come first."""

LOOKED_AT = 2
"""How many times that many may be looked at to see which terms are rare."""

TEXT_WEIGHT, BESIDE_WEIGHT = 1.0, 0.7
"""What a word counts in the message's own text, and in its author's name or in what was said before it.

Measured on labelled chat, like what is left out of BM25: how often a word stands in one message, and how long that is,
say nothing there.
"""
MOST_COUNTED = 10_000
"""Messages of a scope that are counted for the rarity of words; in a bigger one they are about as rare."""


def affordable(frequencies: Sequence[int], budget: int) -> list[int]:
    """Positions of the terms worth asking for: rare ones first while the budget lasts, never none.

    A term in no message has nothing to give. A term in very many costs the most and, by BM25's inverse document
    frequency, tells the least; it stays only where nothing rarer was asked for.
    """
    by_rarity = sorted((count, position) for position, count in enumerate(frequencies) if count)
    kept: list[int] = []
    spent = 0
    for count, position in by_rarity[:MAX_TERMS]:
        spent += count
        if kept and spent > budget:
            break
        kept.append(position)
    return kept


def rarity(frequency: int, total: int) -> float:
    """BM25's inverse document frequency, positive for any frequency."""
    total = max(total, frequency)
    return math.log(1 + (total - frequency + 0.5) / (frequency + 0.5))
