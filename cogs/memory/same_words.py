"""Which messages say the same: copies word by word, and the near-copies that somebody floods a channel with. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LEAST_WORDS: Final = 3
"""Shorter messages are never copies: "yes" is an answer each time."""
NEAR: Final = 0.7
"""Share of common words (Jaccard) from which two messages are near-copies."""
FLOOD: Final = 10
"""Near-copies from which they are a flood. Fewer may be an appointment and its changes, or a list: all are shown."""


def originals(texts: Sequence[Sequence[str]]) -> list[int]:
    """For each text, as words and in order of rank, the position of the first that says the same: its own if none."""
    if not texts:
        return []
    first = list(range(len(texts)))
    by_words: dict[tuple[str, ...], int] = {}
    for position, words in enumerate(texts):
        if len(words) >= LEAST_WORDS:
            first[position] = by_words.setdefault(tuple(words), position)
    leaders = [first[position] if near is None else near for position, near in enumerate(_first_near_copies(texts))]
    followers = Counter(leaders)
    for position, leader in enumerate(leaders):
        if followers[leader] >= FLOOD:
            first[position] = leader
    for position, head in enumerate(first):
        first[position] = first[head]  # heads come first, and so are settled
    return first


def _first_near_copies(texts: Sequence[Sequence[str]]) -> Iterator[int | None]:
    """For each text the position of the first near-copy of it, its own at the latest; None for a short one.

    Words are bits of whole numbers: this runs for each answer, and a product of matrices would wake threads for it.
    """
    bits: dict[str, int] = {}
    masks = [sum(bits.setdefault(word, 1 << len(bits)) for word in set(words)) for words in texts]
    sizes = [mask.bit_count() for mask in masks]
    long = [position for position, words in enumerate(texts) if len(words) >= LEAST_WORDS]
    for position, words in enumerate(texts):
        if len(words) < LEAST_WORDS:
            yield None
            continue
        for other in long:
            common = (masks[position] & masks[other]).bit_count()
            if common >= NEAR * (sizes[position] + sizes[other] - common):
                yield other  # itself at the latest
                break
