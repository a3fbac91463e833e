"""How many tokens a text has for a model whose tokenizer is not at hand. Pure."""

from __future__ import annotations

import re

_PIECE = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_|\n")


def estimate_tokens(text: str) -> int:
    """Return rather too many than too few: what common tokenizers make of English chat is 4 to 24 % less.

    Words cost a token for each four letters begun, other scripts one for two bytes; digits, signs and line breaks one
    each, as in the tokenizers that split most. (A count by bytes alone is too low for dates and short words.)
    """
    return sum(_tokens(piece) for piece in _PIECE.findall(text))


def _tokens(piece: str) -> int:
    return -(-len(piece) // 4) if piece.isascii() else -(-len(piece.encode(errors="replace")) // 2)
