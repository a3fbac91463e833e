"""Which messages say the same: copies word by word, and the near-copies that somebody floods a channel with. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    near = _near_copies(texts)
    leader = np.where(near.any(axis=1), near.argmax(axis=1), first)
    for head in np.flatnonzero(np.bincount(leader, minlength=len(texts)) >= FLOOD).tolist():
        for position in np.flatnonzero(leader == head).tolist():
            first[position] = head
    for position, head in enumerate(first):
        first[position] = first[head]  # heads come first, and so are settled
    return first


def _near_copies(texts: Sequence[Sequence[str]]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """(texts, texts) whether two texts are near-copies; a short one is nobody's, not even its own."""
    columns: dict[str, int] = {}
    sets = [{columns.setdefault(word, len(columns)) for word in words} for words in texts]
    has = np.zeros((len(texts), max(1, len(columns))), dtype=np.float32)
    for row, words in enumerate(sets):
        has[row, list(words)] = 1
    common = has @ has.T
    sizes = has.sum(axis=1)
    long = np.array([len(words) >= LEAST_WORDS for words in texts], dtype=bool)
    union = np.maximum(sizes[:, None] + sizes[None, :] - common, 1)
    near: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = (common / union >= NEAR) & long[:, None] & long[None, :]
    return near
