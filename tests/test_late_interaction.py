"""Windowed late interaction against the definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from cogs.memory.query_terms import parse_question
from cogs.memory.records import Neighbours
from cogs.memory.rerankers.late_interaction import (
    WINDOW,
    _bit_products,
    _integer_products,
    keyword_vectors,
    term_maxima,
    windowed,
)

if TYPE_CHECKING:
    from cogs.memory.embedders.minilm import MiniLMEncoder


def test_term_maxima_equal_the_definition() -> None:
    rng = np.random.default_rng(7)
    terms = rng.normal(size=(5, 64)).astype(np.float32)
    terms /= np.linalg.norm(terms, axis=1, keepdims=True)
    bits = [rng.random((count, 64)) > 0.5 for count in (1, 9, 0, 5000)]
    sketches = [np.packbits(b, axis=1).tobytes() for b in bits]
    expected = [((b * 2.0 - 1) / 8 @ terms.T).max(axis=0) if len(b) else np.zeros(5) for b in bits]
    np.testing.assert_allclose(term_maxima(terms, sketches), expected, atol=1e-4)


def test_both_ways_to_multiply_agree() -> None:
    rng = np.random.default_rng(3)
    terms = rng.normal(size=(7, 384)).astype(np.float32)
    terms /= np.linalg.norm(terms, axis=1, keepdims=True)
    packed = rng.integers(0, 256, size=(999, 48), dtype=np.uint8)
    products, unit, offset = _integer_products(packed, terms)
    np.testing.assert_allclose(products * unit - offset, _bit_products(packed, terms), atol=1e-4)


def test_nothing_to_compare_scores_zero() -> None:
    assert term_maxima(np.zeros((2, 64), np.float32), [b"", b""]).tolist() == [[0, 0], [0, 0]]
    assert term_maxima(np.zeros((0, 64), np.float32), [b"\xff" * 8]).shape == (1, 0)


def test_a_window_takes_the_best_of_message_and_neighbours() -> None:
    own = np.array([[0.9, 0.1], [0.2, 0.3], [0.1, 0.8]], np.float32)
    row_of = {1: 0, 2: 1, 3: 2}
    around = {2: Neighbours(previous=1, next=3), 3: Neighbours(previous=2, before_previous=1)}
    result = windowed(own, [1, 2, 3], around, row_of)
    expected = [
        [0.9, 0.1],
        [WINDOW["previous"] * 0.9, WINDOW["next"] * 0.8],
        [WINDOW["before_previous"] * 0.9, 0.8],
    ]
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_a_neighbour_that_may_not_be_read_takes_no_part() -> None:
    own = np.array([[0.2]], np.float32)
    assert windowed(own, [5], {5: Neighbours(previous=4)}, {5: 0}).item() == pytest.approx(0.2)


def test_only_keywords_of_the_question_take_part(encoder: MiniLMEncoder) -> None:
    query = "when is the game night?"
    encoded = encoder.encode_query(query)
    assert len(keyword_vectors(parse_question(query), encoded)) == 2
    assert len(encoded.token_vectors) == 6
