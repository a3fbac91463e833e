"""Porter's stemmer for English words: "deploying" and "deployed" become "deploi".

M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980. SQLite's full-text index stems by it, so what is
stemmed here is found by the same words there.
"""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST = 64
"""Longer words are left alone; they are no English."""

_CONSONANT = "(?:[^aeiouy]|(?<=[aeiou])y|^y)"
_VOWEL = "(?:[aeiou]|(?<![aeiou])(?<!^)y)"
_MEASURE = re.compile(f"{_VOWEL}+{_CONSONANT}+")
_HAS_VOWEL = re.compile(_VOWEL)
_DOUBLE = re.compile(r"([^aeiouylsz])\1$")
_SHORT = re.compile(f"{_CONSONANT}{_VOWEL}[^aeiouwxy]$")

_STEP_2 = (
    *(("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("logi", "log")),
    *(("bli", "ble"), ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize")),
    *(("ation", "ate"), ("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful")),
    *(("ousness", "ous"), ("aliti", "al"), ("iviti", "ive"), ("biliti", "ble")),
)
_STEP_3 = (
    *(("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")),
)
_STEP_4 = (
    *("al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "sion", "tion", "ou", "ism"),
    *("ate", "iti", "ous", "ive", "ize"),
)
_KEEPS = {"sion": 1, "tion": 1}
"""Letters of a suffix that belong to the stem: it is -ion after an s or a t."""


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """The stem of a lower-case word; words of one or two letters are their own."""
    if not 2 < len(word) < LONGEST:
        return word
    word = _step_1b(_step_1a(word))
    if word.endswith("y") and _HAS_VOWEL.search(word[:-1]):
        word = f"{word[:-1]}i"
    word = _replaced(_replaced(word, _STEP_2), _STEP_3)
    return _step_5(_step_4(word))


def _measure(part: str) -> int:
    """How many times vowels are followed by consonants."""
    return len(_MEASURE.findall(part))


def _step_1a(word: str) -> str:
    if word.endswith(("sses", "ies")):
        return word[:-2] if len(word) > 3 else word[:-1]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _step_1b(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) else word
    for suffix in ("ed", "ing"):
        if word.endswith(suffix):
            part = word[: -len(suffix)]
            return _mended(part) if _HAS_VOWEL.search(part) else word
    return word


def _mended(part: str) -> str:
    """What -ed or -ing was taken from, as a word: an e given back, a doubled consonant made single."""
    if part.endswith(("at", "bl", "iz")):
        return f"{part}e"
    if _DOUBLE.search(part):
        return part[:-1]
    return f"{part}e" if _measure(part) == 1 and _SHORT.search(part) else part


def _replaced(word: str, endings: tuple[tuple[str, str], ...]) -> str:
    found = max((e for e in endings if word.endswith(e[0])), key=lambda e: len(e[0]), default=None)
    if found is None:
        return word
    part = word.removesuffix(found[0])
    return part + found[1] if _measure(part) else word


def _step_4(word: str) -> str:
    suffix = max((s for s in _STEP_4 if word.endswith(s)), key=len, default=None)
    if suffix is None:
        return word
    part = word[: len(word) - len(suffix) + _KEEPS.get(suffix, 0)]
    return part if _measure(part) > 1 else word


def _step_5(word: str) -> str:
    if word.endswith("e"):
        part = word[:-1]
        measure = _measure(part)
        if measure > 1 or (measure == 1 and not _SHORT.search(part)):
            word = part
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word
