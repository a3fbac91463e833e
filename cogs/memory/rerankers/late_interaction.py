"""Windowed late interaction: the built-in reranker, over the embedder's own token sketches. Pure.

MaxSim (Khattab & Zaharia 2020, ColBERT) takes, for each token of the question, its best match among the tokens of a
document. In chat one message is rarely the whole document: what it answers stands in the message before. So each
question token may also match a neighbouring message, at a discount; the score is the mean over the question's tokens.

Sketch tokens are sign vectors s/√d with s ∈ {−1, 1}^d, packed to bits.
"""

from __future__ import annotations

import math
import platform
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.query_terms import Question, parse_question
from cogs.memory.records import Neighbours

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from cogs.memory.embedders import EncodedQuery

WINDOW: Mapping[str, float] = {
    "previous": 0.8,
    "before_previous": 0.7,
    "next": 0.7,
    "reply_to": 0.8,
    "answer": 0.7,
}
"""How much a match in a neighbouring message counts against one in the message itself."""

_NOBODY = Neighbours()
_BLOCK = 2048
"""Tokens looked up at a time."""


def keyword_vectors(question: Question, encoded: EncodedQuery) -> NDArray[np.float32]:
    """Return the token vectors of the question's keywords, (terms, d); of all its tokens if it has no keyword."""
    kept = [row for row, (start, end) in enumerate(encoded.offsets) if question.keeps(start, end)]
    return encoded.token_vectors[kept] if kept else encoded.token_vectors


def term_maxima(terms: NDArray[np.float32], sketches: Sequence[bytes]) -> NDArray[np.float32]:
    """Return the best similarity of each term to any token of each document, (documents, terms).

    Args:
        terms: (terms, d) L2-normalised token vectors of the question.
        sketches: one packed sketch per document; an empty one scores 0 for every term.
    """
    count, dim = terms.shape
    maxima = np.zeros((len(sketches), count), dtype=np.float32)
    width = dim // 8
    present = [row for row, sketch in enumerate(sketches) if sketch]
    if not present or not count:
        return maxima
    packed = np.frombuffer(b"".join(sketches[row] for row in present), dtype=np.uint8).reshape(-1, width)
    lengths = np.fromiter((len(sketches[row]) // width for row in present), dtype=np.intp, count=len(present))
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    if _has_integer_products():
        products, unit, offset = _integer_products(packed, terms)  # scaled after the maximum: far fewer numbers
        maxima[present] = np.maximum.reduceat(products, starts, axis=0) * unit - offset
    else:
        maxima[present] = np.maximum.reduceat(_bit_products(packed, terms), starts, axis=0)
    return maxima


def _bit_products(packed: NDArray[np.uint8], terms: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (tokens, terms) products of sign vectors with the terms.

    A byte of a sketch has only 256 values: the products of each with its eight dimensions are looked up, not computed.
    No BLAS takes part, so no second pool of threads wakes up, and the blocks stay in the cache.
    """
    count, dim = terms.shape
    signs = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float32) * 2 - 1  # (256, 8)
    by_byte = (terms / math.sqrt(dim)).reshape(count, dim // 8, 8).transpose(1, 2, 0)  # (bytes, 8, terms)
    tables = np.einsum("vb,wbt->wvt", signs, by_byte).astype(np.float32)  # (bytes, 256, terms)
    products = np.zeros((len(packed), count), dtype=np.float32)
    looked_up = np.empty((_BLOCK, count), dtype=np.float32)
    for start in range(0, len(packed), _BLOCK):
        block = products[start : start + _BLOCK]
        columns = np.ascontiguousarray(packed[start : start + _BLOCK].T)
        part = looked_up[: len(block)]
        for table, column in zip(tables, columns, strict=True):
            np.take(table, column, axis=0, out=part, mode="clip")  # "clip" skips the bounds check
            block += part
    return products


@cache
def _has_integer_products() -> bool:
    """Whether 8-bit matrix products are fast here: elsewhere torch falls back to a slow loop."""
    import torch

    return platform.machine().lower() in ("x86_64", "amd64") and hasattr(torch, "_int_mm")


def _integer_products(
    packed: NDArray[np.uint8], terms: NDArray[np.float32]
) -> tuple[NDArray[np.int32], np.float32, NDArray[np.float32]]:
    """Return p, unit and offset: p · unit − offset is what `_bit_products` returns, to 1e-4, in a third of the time.

    With b the bits of a sign vector s, q·s = 2 q·b − Σq. Each q is written as two 8-bit digits, high + low / 127, so
    that 8-bit integer products do.
    """
    import torch

    count, dim = terms.shape
    scale = 127 / max(float(np.abs(terms).max()), 1e-9)
    high = np.round(terms * scale)
    low = np.round((terms * scale - high) * 127)
    digits = np.zeros((dim, -(-2 * count // 8) * 8), dtype=np.int8)  # the product wants a multiple of eight columns
    digits[:, :count], digits[:, count : 2 * count] = high.T, low.T
    columns = torch.from_numpy(digits)
    products = np.empty((len(packed), count), dtype=np.int32)
    for start in range(0, len(packed), _BLOCK):  # a block of bits stays in the cache
        bits = np.unpackbits(packed[start : start + _BLOCK], axis=1).view(np.int8)
        sums = torch._int_mm(torch.from_numpy(bits), columns).numpy()
        products[start : start + _BLOCK] = sums[:, :count] * 127 + sums[:, count : 2 * count]
    offset = (terms.sum(axis=1) / math.sqrt(dim)).astype(np.float32)
    return products, np.float32(2 / 127 / scale / math.sqrt(dim)), offset


def windowed(
    own: NDArray[np.float32], candidates: Sequence[int], neighbours: Mapping[int, Neighbours], row_of: Mapping[int, int]
) -> NDArray[np.float32]:
    """Return term maxima over each candidate and its neighbours, (candidates, terms).

    Args:
        own: (rows, terms) term maxima of every loaded message alone.
        candidates: message ids, each in ``row_of``.
        neighbours: what stands around each candidate.
        row_of: message id → row of ``own``.
    """
    padded = np.vstack([own, np.zeros((1, own.shape[1]), dtype=own.dtype)])
    result = padded[[row_of[i] for i in candidates]]
    around = surrounding_rows(candidates, neighbours, row_of, missing=len(own))
    for relation, weight in WINDOW.items():
        np.maximum(result, weight * padded[around[relation]], out=result)
    return result


def surrounding_rows(
    candidates: Sequence[int], neighbours: Mapping[int, Neighbours], row_of: Mapping[int, int], *, missing: int
) -> dict[str, NDArray[np.intp]]:
    """Return (candidates,) rows of each kind of neighbour, by name; ``missing`` if there is none."""
    ids = chain.from_iterable(neighbours.get(i, _NOBODY) for i in candidates)
    rows = np.array([row_of.get(i or 0, missing) for i in ids], dtype=np.intp)  # no id is 0
    return dict(zip(Neighbours._fields, rows.reshape(-1, len(Neighbours._fields)).T, strict=True))


def late_interaction_scores(query: str, encoded: EncodedQuery, sketches: Sequence[bytes]) -> NDArray[np.float32]:
    """Return the plain (window-less) late interaction score of documents that stand alone, (documents,)."""
    terms = keyword_vectors(parse_question(query), encoded)
    if not len(terms):
        return np.zeros(len(sketches), dtype=np.float32)
    means: NDArray[np.float32] = term_maxima(terms, sketches).mean(axis=1)
    return means
