"""The rules of the score cache's keys, of turns, and of cutting a chunk."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.memory.proof_of_life import RerankStatistics
from cogs.memory.rerank_chunk import CHUNK_MS, cut
from cogs.memory.rerank_queue import RerankCall, RerankQueue
from cogs.memory.rerankers import Pair
from cogs.memory.score_cache import ScoreCache, digests
from cogs.memory.serving_model import ScoringSpeed, model_key
from profiles import MemoryProfile
from tests.plugin_rerankers import pairs_for

if TYPE_CHECKING:
    from cogs.memory.serving_model import ServingModel

texts = st.text(max_size=6)
pairs = st.builds(Pair, texts, texts, texts)


@settings(derandomize=True, max_examples=300)
@given(st.lists(st.tuples(texts, pairs), min_size=2, max_size=8))
def test_keys_are_equal_exactly_for_equal_pairs_of_one_model(items: list[tuple[str, Pair]]) -> None:
    keys = [digests(model, [pair])[0] for model, pair in items]
    for i, first in enumerate(items):
        for j, second in enumerate(items):
            assert (keys[i] == keys[j]) == (first == second)


@settings(derandomize=True)
@given(st.lists(pairs, max_size=20))
def test_keys_do_not_depend_on_what_else_is_asked(items: list[Pair]) -> None:
    assert digests("m", items) == [digests("m", [pair])[0] for pair in items]


def test_text_cannot_wander_from_one_field_of_a_key_into_the_next() -> None:
    assert digests("ab", [Pair("d", "e", "c")]) != digests("a", [Pair("d", "e", "bc")])
    assert digests("m", [Pair("cd", "e", "ab")]) != digests("m", [Pair("d", "e", "abc")])
    assert digests("m", [Pair("c", "de", "ab")]) != digests("m", [Pair("cd", "e", "ab")])


def test_the_least_recently_used_score_leaves_first() -> None:
    cache = ScoreCache(2)
    cache.put(b"a", 1.0)
    cache.put(b"b", 2.0)
    assert cache.get(b"a") == 1.0
    cache.put(b"c", 3.0)
    assert [cache.get(key) for key in (b"a", b"b", b"c")] == [1.0, None, 3.0]
    assert cache.get_statistics() == {"hits": 3, "misses": 1, "evictions": 1, "hit_rate": 0.75, "size": 2}
    cache.clear()
    assert cache.get_statistics()["size"] == 0
    assert cache.get_statistics()["evictions"] == 1


def test_a_score_of_zero_is_a_hit() -> None:
    cache = ScoreCache(2)
    cache.put(b"a", 0.0)
    assert cache.get(b"a") == 0.0


def test_what_changes_scores_changes_the_models_key_and_no_password_stands_in_it() -> None:
    profile = MemoryProfile(name="t", reranker="remote", reranker_model="m", reranker_url="http://ann:secret@one:80/v1")
    changed: list[dict[str, Any]] = [
        {"reranker_url": "http://two:80/v1"},
        {"reranker_url": "http://one:81/v1"},
        {"reranker": "qwen3"},
        {"reranker_model": "n"},
        {"max_length": 100},
        {"device": "cuda"},
        {"dtype": "bfloat16"},
    ]
    keys = {model_key(profile), *(model_key(dataclasses.replace(profile, **change)) for change in changed)}
    assert len(keys) == len(changed) + 1
    assert model_key(profile) == model_key(dataclasses.replace(profile, token_budget=64, rerank_batch=1))
    assert not any("secret" in str(key) for key in keys)


# --- turns and chunks


@dataclass(eq=False)
class Model:
    """What queue and chunk read of a model in service."""

    key: str = "m"
    budget: int = 512
    is_remote: bool = False
    speed: ScoringSpeed = field(default_factory=lambda: ScoringSpeed(1.0, 0.0))


def a_call(model: Model, tokens: list[int], *, guild: int = 0, deadline: float | None = None) -> RerankCall:
    items = pairs_for(f"q{guild}", [str(number) for number in range(len(tokens))])
    call = RerankCall(cast("ServingModel", model), items, ScoreCache(0), guild_id=guild, deadline=deadline)
    for waiting, count in zip(call.waiting, tokens, strict=True):
        waiting.tokens = count
    return call


async def test_the_turn_goes_round_and_documents_are_dealt_one_by_one() -> None:
    queue, model = RerankQueue(), Model()
    calls = [a_call(model, [1] * count, guild=guild) for guild, count in ((1, 3), (2, 1), (3, 2))]
    for call in calls:
        queue.add(call)
    first, second = queue.take_turn(), queue.take_turn()
    assert [offer.call.guild_id for offer in first] == [1, 2, 3, 1, 3, 1]
    assert [offer.call.guild_id for offer in second] == [2, 3, 1, 3, 1, 1]


async def test_within_a_guild_the_older_call_goes_first() -> None:
    queue, model = RerankQueue(), Model()
    older, newer = a_call(model, [1, 1], guild=1), a_call(model, [1], guild=1)
    queue.add(older)
    queue.add(newer)
    assert [offer.call for offer in queue.take_turn()] == [older, older, newer]


async def test_a_chunk_never_mixes_models() -> None:
    queue, old, new = RerankQueue(), Model(), Model()
    queue.add(a_call(old, [1, 1], guild=1))
    queue.add(a_call(new, [1, 1], guild=1))
    queue.add(a_call(new, [1, 1], guild=2))
    turns = [queue.take_turn() for _ in range(2)]
    assert [{id(offer.call.model) for offer in turn} for turn in turns] == [{id(old)}, {id(new)}]


async def test_a_call_that_must_be_alone_is() -> None:
    queue, model = RerankQueue(), Model()
    alone, other = a_call(model, [1, 1], guild=1), a_call(model, [1], guild=2)
    alone.alone = True
    queue.add(alone)
    queue.add(other)
    assert {offer.call for offer in queue.take_turn()} == {alone}
    assert {offer.call for offer in queue.take_turn()} == {other}


calls_of = st.lists(
    st.tuples(
        st.lists(st.integers(1, 300), min_size=1, max_size=30),
        st.integers(1, 4),
        st.none() | st.floats(-0.5, 5.0),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=8,
)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(calls_of, st.floats(0.001, 50.0))
def test_a_chunk_keeps_every_bound_and_always_gets_on(
    specs: list[tuple[list[int], int, float | None, int]], ms_per_token: float
) -> None:
    async def check() -> None:
        model, queue = Model(speed=ScoringSpeed(ms_per_token, 0.0)), RerankQueue()
        for tokens, guild, deadline, chunks in specs:
            call = a_call(model, tokens, guild=guild, deadline=deadline)
            call.chunks = chunks
            queue.add(call)
        offers = queue.take_turn()
        taken, hopeless = cut(offers, cast("ServingModel", model), 0.0)
        used = sum(offer.waiting.tokens for offer in taken)
        assert taken or len(hopeless) == len(specs)
        assert len(taken) == 1 or used <= min(model.budget, CHUNK_MS / ms_per_token)
        for call in queue:
            own = [offer.waiting for offer in taken if offer.call is call]
            assert own == list(call.waiting)[: len(own)]  # best first, no gaps
            assert not (own and call in hopeless)
            if call.deadline is not None:
                assert len(own) <= 1 or sum(waiting.tokens for waiting in own) <= call.step
                assert call in hopeless or len(taken) == 1 or used * ms_per_token <= call.deadline * 1000

    asyncio.run(check())


async def test_a_calls_first_chunk_risks_a_quarter_of_its_time() -> None:
    model, queue = Model(), RerankQueue()
    call = a_call(model, [10] * 40, deadline=0.2)
    queue.add(call)
    assert len(cut(queue.take_turn(), cast("ServingModel", model), 0.0)[0]) == 5
    call.chunks = 1
    call.step = 1000
    assert len(cut(queue.take_turn(), cast("ServingModel", model), 0.0)[0]) == 17


def test_speed_believes_a_slow_chunk_at_once_and_a_fast_one_in_time() -> None:
    speed = ScoringSpeed(0.1, 0.0)
    for _ in range(5):
        speed.note(100, 10.0, 1.0)
    speed.note(100, 100.0, 1.0)
    assert speed.ms_per_token == pytest.approx(1.0)
    for _ in range(12):
        speed.note(100, 10.0, 2.0)
    assert speed.ms_per_token == pytest.approx(0.1, rel=0.1)
    assert not speed.is_stale(20.0)
    assert speed.is_stale(40.0)


@settings(derandomize=True)
@given(st.permutations(range(8)))
def test_rank_moves_are_those_counted_by_hand(after: list[int]) -> None:
    statistics = RerankStatistics()
    statistics.note_ranking(range(8), after)
    figures = statistics.as_dict()
    assert figures["mean_rank_move"] == pytest.approx(np.mean([abs(rank - item) for rank, item in enumerate(after)]))
    assert figures["top1_changed_share"] == float(after[0] != 0)
