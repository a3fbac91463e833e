"""How a model leaves: unloading, hot reload, clearing."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING

import pytest

from cogs.memory.exceptions import ModelUnavailable
from cogs.memory.model_cache import CachedModel, ModelCache
from tests.model_cache.doubles import (
    TIMEOUT_S,
    Clock,
    Loader,
    Model,
    Weights,
    figures,
    key,
    must_not_load,
    names_kept,
    touch,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor


class TestUnloading:
    def test_a_lease_that_has_ended_gives_no_model(self, cache: ModelCache) -> None:
        lease = cache.acquire(key(), Model)
        lease.release()
        with pytest.raises(RuntimeError, match="ended"):
            _ = lease.model

    def test_releasing_again_changes_nothing(self, cache: ModelCache, pool: ThreadPoolExecutor) -> None:
        kept = cache.acquire(key(), Model)
        once_too_often = cache.acquire(key(), must_not_load)
        list(pool.map(lambda _: once_too_often.release(), range(50)))
        cache.clear_cache()
        kept.model.use()
        assert figures(cache, "models") == [[CachedModel(key(), 0.0, 1, False)]]
        kept.release()

    def test_a_lease_ends_when_its_block_raises(self, cache: ModelCache) -> None:
        with pytest.raises(ZeroDivisionError), cache.acquire(key(), Model):
            _ = 1 / 0
        assert figures(cache, "models") == [[CachedModel(key(), 0.0, 0, True)]]

    def test_the_given_hook_runs_in_place_of_close(self, cache: ModelCache) -> None:
        unloaded: list[Model] = []
        with cache.acquire(key("a"), Model, unload=unloaded.append) as lease:
            first = lease.model
        second = Model()
        cache.replace(key("b"), second, unload=unloaded.append)
        cache.clear_cache()
        assert unloaded == [first, second]
        assert first.closes == second.closes == 0

    @pytest.mark.usefixtures("without_gc")
    def test_a_model_without_a_hook_is_freed_before_its_successor_is_loaded(
        self, cache: ModelCache, clock: Clock
    ) -> None:
        with cache.acquire(key(), Weights) as lease:
            old = weakref.ref(lease.model)
        clock.now += 61.0

        def load() -> Weights:
            assert old() is None, "old and new are in memory together"
            return Weights()

        with cache.acquire(key(), load) as lease:
            new = weakref.ref(lease.model)
            cache.clear_cache()
            assert new() is not None
        assert new() is None

    def test_an_error_in_a_hook_is_logged_and_stops_nothing(
        self, cache: ModelCache, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(model: Model) -> None:
            raise OSError("the device is gone")

        cache.acquire(key("broken"), Model, unload=fail).release()
        (whole,) = touch(cache, "whole")
        cache.clear_cache()
        assert whole.closes == 1
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert "broken" in record.getMessage()
        assert record.exc_info is not None

    def test_an_acquire_that_is_interrupted_leaves_no_lease_behind(self, cache: ModelCache) -> None:
        def interrupt(model: Model) -> None:
            raise KeyboardInterrupt

        cache.acquire(key("a"), Model, unload=interrupt).release()
        touch(cache, "b", "c")
        with pytest.raises(KeyboardInterrupt):
            touch(cache, "d")
        assert [(model.key.model, model.in_use) for model in figures(cache, "models")[0]] == [
            ("b", 0),
            ("c", 0),
            ("d", 0),
        ]

    def test_a_hook_may_call_the_cache(self, cache: ModelCache) -> None:
        cache.acquire(key(), Model, unload=lambda _: touch(cache, "b")).release()
        cache.discard(key())
        assert names_kept(cache) == ["b"]


class TestHotReload:
    def test_later_leases_get_the_new_model_and_those_under_way_keep_the_old(
        self, cache: ModelCache, clock: Clock
    ) -> None:
        new = Model("new")
        with cache.acquire(key(), lambda: Model("old")) as under_way:
            old = under_way.model
            clock.now += 50.0
            cache.replace(key(), new)
            with cache.acquire(key(), must_not_load) as later:
                assert later.model is new
            under_way.model.use()
        assert (old.closes, new.closes) == (1, 0)
        clock.now += 50.0
        assert touch(cache, "a") == [new], "a new model has a new life"
        assert figures(cache, "evictions", "expired") == [0, 0]

    def test_an_idle_old_model_is_unloaded_at_once(self, cache: ModelCache) -> None:
        (old,) = touch(cache, "a")
        cache.replace(key(), Model())
        assert old.closes == 1

    def test_the_same_model_given_again_lives_on(self, cache: ModelCache, clock: Clock) -> None:
        (model,) = touch(cache, "a")
        clock.now += 59.0
        cache.replace(key(), model)
        clock.now += 59.0
        assert touch(cache, "a") == [model]
        assert model.closes == 0

    def test_a_key_not_seen_before_is_taken_in_within_the_capacity(self, cache: ModelCache) -> None:
        new = Model()
        leases = [cache.acquire(key(name), Model) for name in "abc"]
        cache.replace(key("d"), new)
        assert touch(cache, "d") == [new], "the newest is never the one that leaves, idle as it is"
        assert figures(cache, "evictions", "cache_size") == [1, 3]
        for lease in leases:
            lease.model.use()
            lease.release()

    def test_a_load_under_way_serves_its_callers_and_does_not_overwrite_the_new_model(
        self, cache: ModelCache, pool: ThreadPoolExecutor
    ) -> None:
        old, new = Model("old"), Model("new")
        load = Loader(old)
        future = pool.submit(cache.acquire, key(), load)
        assert load.begun.wait(TIMEOUT_S)
        cache.replace(key(), new)
        assert touch(cache, "a") == [new]
        load.may_end.set()
        with future.result(TIMEOUT_S) as lease:
            assert lease.model is old
            old.use()
        assert (old.closes, new.closes) == (1, 0)
        assert touch(cache, "a") == [new]

    def test_discard_lets_go_of_one_model_only(self, cache: ModelCache) -> None:
        a, b = touch(cache, "a", "b")
        cache.discard(key("a"))
        cache.discard(key("never seen"))
        assert (a.closes, b.closes) == (1, 0)


class TestClearing:
    def test_models_and_figures_are_cleared_independently(self, cache: ModelCache) -> None:
        models = touch(cache, "a", "a", "b")
        cache.clear_cache_stats()
        assert figures(cache, "hits", "misses", "hit_rate", "cache_size") == [0, 0, 0.0, 2]
        touch(cache, "a")
        cache.clear_cache()
        assert figures(cache, "hits", "evictions", "expired", "cache_size") == [1, 0, 0, 0]
        assert {model.closes for model in models} == {1}

    @pytest.mark.parametrize("forget", [ModelCache.clear_cache, lambda cache: cache.discard(key())])
    def test_a_load_under_way_is_not_kept_and_the_next_one_waits_for_it(
        self, cache: ModelCache, pool: ThreadPoolExecutor, forget: Callable[[ModelCache], None]
    ) -> None:
        early, late = Loader(Model("early")), Loader(Model("late"))
        first = pool.submit(cache.acquire, key(), early)
        assert early.begun.wait(TIMEOUT_S)
        forget(cache)
        second, third = (pool.submit(cache.acquire, key(), late) for _ in range(2))
        until(lambda: bool(figures(cache, "misses") == [3]))
        assert not late.begun.wait(0.05), "one model was loaded twice at a time"
        early.may_end.set()
        late.may_end.set()
        with first.result(TIMEOUT_S) as lease:
            assert lease.model is early.outcome
            lease.model.use()
        with second.result(TIMEOUT_S) as one, third.result(TIMEOUT_S) as two:
            assert one.model is two.model is late.outcome
        assert isinstance(early.outcome, Model)
        assert early.outcome.closes == 1
        assert (early.calls, late.calls, names_kept(cache)) == (1, 1, ["a"])

    @pytest.mark.usefixtures("without_gc")
    def test_a_load_that_was_not_kept_leaves_nothing_behind_in_the_next_one(
        self, cache: ModelCache, pool: ThreadPoolExecutor
    ) -> None:
        early = Loader(Model("early"))
        first = pool.submit(cache.acquire, key(), early)
        assert early.begun.wait(TIMEOUT_S)
        cache.clear_cache()
        second = pool.submit(cache.acquire, key(), Model)
        until(lambda: bool(figures(cache, "misses") == [2]))
        early.may_end.set()
        first.result(TIMEOUT_S).release()
        second.result(TIMEOUT_S).release()
        freed = weakref.ref(early.outcome)
        del first, second, early
        until(lambda: freed() is None)  # the threads of the pool let go of their last task a little later

    def test_a_closed_cache_has_unloaded_what_is_idle_and_refuses_new_leases(self, cache: ModelCache) -> None:
        (idle,) = touch(cache, "idle")
        lease = cache.acquire(key(), Model)
        cache.close()
        cache.close()
        assert idle.closes == 1
        with pytest.raises(ModelUnavailable, match="shutting down"):
            cache.acquire(key(), Model)
        refused = Model()
        with pytest.raises(ModelUnavailable, match="shutting down"):
            cache.replace(key(), refused)
        assert refused.closes == 0
        model = lease.model
        model.use()
        lease.release()
        assert model.closes == 1

    def test_a_load_under_way_at_the_close_is_unloaded_after_use(
        self, cache: ModelCache, pool: ThreadPoolExecutor
    ) -> None:
        model = Model()
        load = Loader(model)
        future = pool.submit(cache.acquire, key(), load)
        assert load.begun.wait(TIMEOUT_S)
        cache.close()
        load.may_end.set()
        with future.result(TIMEOUT_S) as lease:
            lease.model.use()
        assert model.closes == 1
        assert figures(cache, "models") == [[]]
