"""Text as the words that a full-text search compares, cut as SQLite's ``porter unicode61`` tokenizer cuts it.

Only the PostgreSQL engine needs it: its own parser takes addresses, numbers and hyphens for words of their own kind,
and its dictionaries differ from release to release.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogs.memory.stores.porter import stem
from cogs.memory.stores.term_budget import MAX_TERM_LENGTH, MAX_TERMS
from cogs.memory.stores.unspaced_scripts import split_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORD = re.compile(r"[^\W_]+")
_DIACRITIC = re.compile("[\u0300-\u036f]")
_LONGEST_WORD = 200
"""Characters; what is longer (an encoded file, say) is nothing that anybody looks for."""
_MOST_WORDS = 10_000
"""Words of one text: PostgreSQL knows no positions beyond 16,383."""

PAIR = "#"
"""Before the pairs of `unspaced_scripts`, so that no number in a text is taken for one."""


def words_of(text: str) -> list[str]:
    """The stemmed words of a text in their order, without case and diacritics."""
    return [stem(word) for word in _WORD.findall(_folded(text)) if len(word) <= _LONGEST_WORD][:_MOST_WORDS]


def _folded(text: str) -> str:
    if not text.isascii():
        # Composed again: what was taken apart beside its diacritics (Hangul, say) is a word only as a whole.
        text = unicodedata.normalize("NFC", _DIACRITIC.sub("", unicodedata.normalize("NFD", text)))
    return text.lower()


@dataclass(frozen=True, slots=True)
class SearchTerm:
    """Words that must follow each other."""

    words: tuple[str, ...]
    is_prefix: bool = False
    """Whether the beginning of the single word suffices."""


def search_terms(terms: Iterable[str]) -> list[SearchTerm]:
    """What to look for, each thing once: phrases of words, and pairs of the scripts without spaces.

    At most `MAX_TERMS` of each kind, each at most `MAX_TERM_LENGTH` characters.
    """
    words: dict[SearchTerm, None] = {}
    pairs: dict[SearchTerm, None] = {}
    for term in terms:
        clean = term[:MAX_TERM_LENGTH].encode("utf-8", "ignore").decode().replace("\x00", " ")
        spaced, tokens = split_tokens(clean)
        phrase = words_of(spaced)
        if phrase:
            words[SearchTerm(tuple(phrase))] = None
        for token, is_whole in tokens:
            pairs[SearchTerm((PAIR + token,), is_prefix=not is_whole)] = None
    return [*list(words)[:MAX_TERMS], *list(pairs)[:MAX_TERMS]]
