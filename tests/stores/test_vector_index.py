"""The vector index does what a brute-force search over a dict would do."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.memory.records import MAX_ID
from cogs.memory.stores.vector_index import VectorIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIM = 48


def unit(count: int, seed: int = 0, dim: int = DIM) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def filled(count: int, channels: int, guild: int = 1) -> tuple[VectorIndex, NDArray[np.float32], list[int]]:
    """An index of ``count`` vectors with ids from 1, spread over channels from 1; its vectors and their channels."""
    vectors = unit(count)
    channel_of = [1 + i % channels for i in range(count)]
    index = VectorIndex(DIM)
    for start in range(0, count, 500):
        part = slice(start, min(start + 500, count))
        index.add(guild, channel_of[part], range(part.start + 1, part.stop + 1), vectors[part])
    return index, vectors, channel_of


def found(index: VectorIndex, channels: set[int], vector: NDArray[np.float32], limit: int = 10**6) -> list[int]:
    return [hit.message_id for hit in index.search(1, channels, vector, limit)]


@pytest.mark.parametrize("allowed", [1, 7, 70, 140])
def test_it_agrees_with_brute_force_over_the_allowed_channels(allowed: int) -> None:
    index, vectors, channel_of = filled(4000, 140)
    channels = set(random.Random(allowed).sample(range(1, 141), allowed))
    inside = [i for i, channel in enumerate(channel_of) if channel in channels]
    agreeing = 0
    for query in unit(20, seed=1):
        exact = {i + 1: float(vectors[i] @ query) for i in inside}
        best = sorted(exact, key=lambda i: -exact[i])[:20]
        hits = index.search(1, channels, query, 20)
        assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
        assert all(abs(hit.score - exact[hit.message_id]) < 0.02 for hit in hits)
        agreeing += len(set(best) & {hit.message_id for hit in hits})
    assert agreeing >= 0.97 * 20 * 20


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_a_selection_of_ids_agrees_with_brute_force(share: float) -> None:
    index, vectors, channel_of = filled(4000, 10)
    rng = np.random.default_rng(2)
    chosen = {i + 1 for i in np.flatnonzero(rng.random(4000) < share).tolist()}
    only_ids = np.array(sorted(chosen), dtype=np.int64)
    inside = [i for i in range(4000) if i + 1 in chosen and channel_of[i] in (2, 3, 4)]
    for query in unit(10, seed=3):
        best = sorted(inside, key=lambda i: -float(vectors[i] @ query))[:10]
        hits = index.search(1, {2, 3, 4}, query, 10, only_ids=only_ids)
        assert len(hits) == len(best)
        assert {h.message_id for h in hits} <= {i + 1 for i in inside}
        assert len({h.message_id for h in hits} & {i + 1 for i in best}) >= 0.8 * len(best)
    assert index.search(1, {2}, unit(1)[0], 10, only_ids=np.array([], dtype=np.int64)) == []


def test_channels_beyond_the_first_lists_keep_what_was_there() -> None:
    index, vectors, channel_of = filled(600, 300)
    for i in (0, 17, 299, 599):
        assert found(index, {channel_of[i]}, vectors[i], 1) == [i + 1]
    assert index.remove(1, range(1, 301)) == 300
    assert set(found(index, set(range(1, 301)), vectors[0])) == set(range(301, 601))


def test_a_known_id_is_replaced_wherever_it_stood() -> None:
    index, vectors, _ = filled(10, 2)
    index.add(1, [9], [1], vectors[5:6])
    assert index.size() == 10
    assert 1 not in found(index, {1, 2}, vectors[0])
    assert found(index, {9}, vectors[5]) == [1]


def test_of_an_id_given_twice_the_last_stays() -> None:
    index = VectorIndex(DIM)
    vectors = unit(3)
    index.add(1, [1, 1, 2], [5, 6, 5], vectors)
    assert index.size(1) == 2
    assert found(index, {1}, vectors[0]) == [6]
    assert found(index, {2}, vectors[2]) == [5]
    index.remove(1, [5, 5])
    assert index.size(1) == 1


def test_a_bad_vector_is_refused_and_nothing_changes() -> None:
    index, vectors, _ = filled(3, 1)
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = unit(2, seed=9)
        spoilt[1, 5] = bad
        with pytest.raises(ValueError, match="not finite"):
            index.add(1, [1, 1], [1, 77], spoilt)
    for shape in ((2, DIM + 1), (1, DIM), (DIM,)):
        with pytest.raises(ValueError, match="shape"):
            index.add(1, [1, 1], [1, 77], np.zeros(shape, np.float32))
    assert found(index, {1}, vectors[0], 1) == [1]
    assert index.size() == 3


def test_a_bad_query_is_refused() -> None:
    index, _, _ = filled(3, 1)
    with pytest.raises(ValueError, match="shape"):
        index.search(1, {1}, np.zeros(DIM + 1, np.float32), 5)
    with pytest.raises(ValueError, match="not finite"):
        index.search(1, {1}, np.full(DIM, np.nan, np.float32), 5)


def test_what_is_not_there_is_not_found() -> None:
    index, vectors, _ = filled(3, 1)
    query = vectors[0]
    assert index.search(2, {1}, query, 5) == []
    assert index.search(1, {99}, query, 5) == []
    assert index.search(1, set(), query, 5) == []
    assert index.search(1, {1}, query, 0) == []
    assert index.remove(2, [1]) == 0
    assert index.remove(1, [4, 5]) == 0
    assert index.remove(1, []) == 0


def test_guilds_are_apart_and_can_be_cleared_apart() -> None:
    index, vectors, channel_of = filled(5, 1)
    index.add(2, channel_of, range(101, 106), vectors)
    assert {h.message_id for h in index.search(2, {1}, vectors[0], 99)} == set(range(101, 106))
    assert (index.size(), index.size(1), index.size(2), index.size(3)) == (10, 5, 5, 0)
    index.clear(1)
    assert (index.size(), found(index, {1}, vectors[0])) == (5, [])
    index.clear()
    assert index.size() == 0


def test_the_greatest_id_and_half_precision() -> None:
    index = VectorIndex(DIM)
    vector = unit(1).astype(np.float16)
    index.add(1, [MAX_ID], [MAX_ID], vector)
    assert [h.message_id for h in index.search(1, {MAX_ID}, vector[0], 3)] == [MAX_ID]


def test_few_dimensions_are_not_clipped() -> None:
    index = VectorIndex(4)
    index.add(1, [1, 1], [1, 2], np.array([[1, 0, 0, 0], [0.8, 0.6, 0, 0]], np.float32))
    hits = index.search(1, {1}, np.array([1, 0, 0, 0], np.float32), 2)
    assert [(h.message_id, round(h.score, 1)) for h in hits] == [(1, 1.0), (2, 0.8)]
    with pytest.raises(ValueError, match="dim"):
        VectorIndex(0)


def test_searches_beside_adds_and_removals_neither_crash_nor_miss() -> None:
    index, vectors, _ = filled(3000, 3)
    fresh = unit(3000, seed=4)

    def change(start: int) -> None:
        for i in range(start, 3000, 200):
            part = range(i, i + 100)
            index.add(1, [1 + j % 40 for j in part], [10_000 + j for j in part], fresh[i : i + 100])
            index.remove(1, [10_000 + j for j in part if j % 2])

    def search(start: int) -> bool:
        return all(found(index, {1, 2, 3}, vectors[i], 1) == [i + 1] for i in range(start, start + 300))

    with ThreadPoolExecutor(6) as pool:
        changes = [pool.submit(change, start) for start in (0, 100)]
        assert all(pool.map(search, (0, 300, 600, 900)))
        for done in changes:
            done.result()
    assert index.size() == 3000 + 1500


_CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove"]), st.lists(st.tuples(st.integers(1, 12), st.integers(1, 40)), max_size=5)
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(_CHANGES, st.sets(st.integers(1, 40)))
def test_after_any_changes_it_holds_what_a_dict_would(
    changes: list[tuple[str, list[tuple[int, int]]]], allowed: set[int]
) -> None:
    index, model = VectorIndex(8), dict[int, int]()
    vectors = unit(13, dim=8)
    for kind, places in changes:
        numbers = [i for i, _ in places]
        if kind == "add":
            index.add(1, [channel for _, channel in places], numbers, vectors[numbers])
            model |= dict(places)
        else:
            index.remove(1, numbers)
            for i in numbers:
                model.pop(i, None)
    assert index.size() == len(model)
    assert sorted(found(index, allowed, vectors[0])) == sorted(i for i, channel in model.items() if channel in allowed)
