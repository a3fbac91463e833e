"""Joining ranked lists."""

from __future__ import annotations

import pytest

from cogs.memory.rank_fusion import reciprocal_rank_fusion


def test_rrf_equals_its_formula() -> None:
    fused = dict(reciprocal_rank_fusion({1: 9.0, 2: 5.0}, {2: 0.9, 3: 0.8}))
    assert fused[2] == pytest.approx(1 / 62 + 1 / 61)
    assert fused[1] == pytest.approx(1 / 61)
    assert list(fused) == [2, 1, 3]


def test_ties_go_to_the_newer_message() -> None:
    assert [i for i, _ in reciprocal_rank_fusion({1: 1.0}, {2: 1.0})] == [2, 1]
