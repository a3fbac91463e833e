"""Words of scripts that are written without spaces (Chinese, Japanese, Thai, …), found by pairs of characters.

SQLite's word tokenizer takes a whole Chinese sentence for one word, and its trigram tokenizer finds no word of two
characters, which most Chinese words are. Here a run of such characters becomes overlapping pairs and a last single
character; a pair is written as digits, which every tokenizer keeps whole and no stemmer changes. Text in other
scripts yields nothing and so costs nothing.
"""

from __future__ import annotations

import re
from itertools import pairwise

# Changing these ranges changes what stored text is cut into: that needs a migration that computes it anew.
_RUN = re.compile(
    "["
    "\u0e00-\u0fff"  # Thai, Lao, Tibetan
    "\u1000-\u109f\u1780-\u17ff"  # Myanmar, Khmer
    "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Hiragana, Katakana (also half width)
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"  # Han
    "\uac00-\ud7a3"  # Hangul has spaces, but particles are glued to its words
    "]+"
)


def segments(text: str) -> str:
    """The pairs of a text for the index, separated by spaces; empty for text in other scripts."""
    if text.isascii():
        return ""
    return " ".join(token for run in _RUN.findall(text) for token in (*_pairs(run), _token(run[-1])))


def split_term(term: str) -> tuple[str, list[str]]:
    """Split a search term into its spaced part and full-text expressions for the pairs of the rest.

    Each expression matches column ``segments``; a single character is looked for at the start of a pair.
    """
    spaced, tokens = split_tokens(term)
    return spaced, [f'"{token}"' if is_whole else f'"{token}" *' for token, is_whole in tokens]


def split_tokens(term: str) -> tuple[str, list[tuple[str, bool]]]:
    """Split a search term into its spaced part and the tokens of the rest; False: it is only how a token begins."""
    tokens: dict[tuple[str, bool], None] = {}
    for run in _RUN.findall(term):
        if len(run) == 1:
            tokens[_token(run), False] = None
        else:
            tokens |= dict.fromkeys((pair, True) for pair in _pairs(run))
    return _RUN.sub(" ", term).strip(), list(tokens)


def _pairs(run: str) -> list[str]:
    return [_token(first) + _token(second) for first, second in pairwise(run)]


def _token(character: str) -> str:
    return f"{ord(character):06d}"
