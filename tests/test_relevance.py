"""Relevance: comparable between questions, and unmoved by what is not known."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from cogs.memory.recall_records import RankedCandidate, Ranking
from cogs.memory.records import Neighbours, Scope
from cogs.memory.relevance import HALF, LEAST_CANDIDATES, RELEVANT, USUAL_SPREAD, certainty, relevance_of
from tests.conftest import CHANNEL, GUILD, START, said


def ranking(spread: float, count: int = 40, reranker: str = "structure") -> Ranking:
    """Scores whose standard deviation is ``spread``."""
    return Ranking([RankedCandidate(n, spread * (1 if n % 2 else -1)) for n in range(count)], (), reranker)


def test_a_ranker_that_is_as_sure_as_usual_changes_nothing() -> None:
    assert certainty(ranking(USUAL_SPREAD)) == pytest.approx(0.0)
    assert relevance_of(RankedCandidate(1, 0.0, HALF), None, 0.0) == pytest.approx(0.5)


def test_the_surer_the_ranker_the_more_relevant_and_not_without_bounds() -> None:
    assert certainty(ranking(1.2)) < 0 < certainty(ranking(2.2))
    assert certainty(ranking(9.0)) == certainty(ranking(90.0)) < 0.2
    assert certainty(ranking(0.0)) > -0.1


def test_where_the_spread_says_nothing_it_does_not_count() -> None:
    assert certainty(ranking(3.0, count=LEAST_CANDIDATES - 1)) == 0.0
    assert certainty(ranking(3.0, reranker="late_interaction")) == 0.0
    assert certainty(ranking(3.0, reranker="Qwen/Qwen3-Reranker-0.6B")) == 0.0
    assert certainty(Ranking((), (), "structure")) == 0.0


def test_a_models_probability_is_taken_as_it_is() -> None:
    scored = RankedCandidate(1, 0.0, late_interaction_score=0.1, rerank_score=0.93)
    assert relevance_of(scored, 0.1, -0.05) == 0.93


def test_without_late_interaction_the_vector_decides_and_without_both_nothing_does() -> None:
    unscored = RankedCandidate(1, 0.0)
    assert relevance_of(unscored, 0.9, 0.0) > 0.9 > RELEVANT > relevance_of(unscored, 0.1, 0.0)
    assert relevance_of(unscored, None, 0.0) == 0.5


def test_neighbours_without_messages_keep_the_others() -> None:
    around = Neighbours(previous=1, before_previous=2, next=3, reply_to=1)
    assert around.without({1, 9}) == Neighbours(before_previous=2, next=3)
    assert around.without({9}) is around


def test_a_scope_admits_what_lies_in_it() -> None:
    message = said(5, "tea")
    scope = Scope(GUILD, frozenset([CHANNEL]), after=message.created_at, before=START + timedelta(days=1))
    assert scope.admits(message)
    assert not replace(scope, guild_id=GUILD + 1).admits(message)
    assert not replace(scope, channel_ids=frozenset()).admits(message)
    assert not replace(scope, author_ids=frozenset([1])).admits(message)
    assert not replace(scope, before=message.created_at).admits(message)
    assert not replace(scope, after=message.created_at + timedelta(seconds=1)).admits(message)
