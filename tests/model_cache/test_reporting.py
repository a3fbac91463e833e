"""What the cache says of itself: figures and log lines."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cogs.memory.model_cache import CachedModel, ModelCache
from tests.model_cache.doubles import (
    Clock,
    Model,
    figures,
    key,
    must_not_load,
    touch,
)

if TYPE_CHECKING:
    import pytest


class TestReporting:
    def test_other_users_may_name_the_figures_after_themselves(self, cache: ModelCache) -> None:
        assert set(cache.get_statistics("embedder")) == {
            name.replace("rerank_model", "embedder") for name in cache.get_statistics()
        }

    def test_age_and_use_are_shown_by_model_with_the_next_to_go_first(self, cache: ModelCache, clock: Clock) -> None:
        touch(cache, "a")
        clock.now += 10.0
        with cache.acquire(key("b"), Model), cache.acquire(key("b"), must_not_load):
            clock.now += 5.0
            assert figures(cache, "models") == [
                [CachedModel(key("a"), 15.0, 0, True), CachedModel(key("b"), 5.0, 2, True)]
            ]

    def test_each_event_writes_one_line_with_the_key(
        self, cache: ModelCache, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, logger="cogs.memory.model_cache")

        def load() -> Model:
            clock.now += 2.34
            return Model()

        cache.acquire(key("a"), load).release()
        clock.now += 12.5
        touch(cache, "a", "b", "c", "d")
        clock.now += 50.0
        touch(cache, "c")
        clock.now += 10.0
        cache.expire()
        a, b, c, d = (str(key(name)) for name in "abcd")
        miss, loaded = "INFO Model cache MISS: {}, loading", "INFO Model loaded in {:.2f}s: {}"
        assert [f"{record.levelname} {record.getMessage()}" for record in caplog.records] == [
            miss.format(a),
            loaded.format(2.34, a),
            f"DEBUG Model cache HIT: {a}, age=12.5s",
            *(miss.format(b), loaded.format(0, b), miss.format(c), loaded.format(0, c)),
            *(miss.format(d), loaded.format(0, d)),
            f"WARNING Model cache full (3), evicting the least recently used: {a}",
            f"DEBUG Model cache HIT: {c}, age=50.0s",
            *(f"INFO Model cache EXPIRED: {key}" for key in (b, d, c)),
        ]
        assert {record.name for record in caplog.records} == {"cogs.memory.model_cache"}
