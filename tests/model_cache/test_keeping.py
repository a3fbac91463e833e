"""What is kept, and for how long."""

from __future__ import annotations

import math
import statistics
import threading
import time
from dataclasses import replace as changed
from typing import TYPE_CHECKING, Any

import pytest

from cogs.memory.model_cache import CachedModel, ModelCache
from tests.model_cache.doubles import (
    TIMEOUT_S,
    Clock,
    Loader,
    Model,
    figures,
    key,
    must_not_load,
    names_kept,
    touch,
)

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class TestKey:
    def test_equal_fields_are_one_key(self) -> None:
        assert key() == key()
        assert hash(key()) == hash(key())
        assert str(key()) == str(key())

    @pytest.mark.parametrize("field", ["tenant", "provider", "model", "revision", "device", "dtype"])
    def test_every_field_counts(self, cache: ModelCache, field: str) -> None:
        other = changed(key(), **{field: "other"})
        with cache.acquire(key(), Model) as one, cache.acquire(other, Model) as two:
            assert one.model is not two.model

    def test_a_model_name_cannot_forge_a_log_line(self) -> None:
        assert "\n" not in str(key("a\nERROR all is lost"))


class TestHitsAndMisses:
    def test_the_defaults_are_fifty_models_for_half_an_hour(self) -> None:
        cache = ModelCache()
        assert (cache.capacity, cache.ttl_s) == (50, 1800.0)

    @pytest.mark.parametrize("options", [{"capacity": 0}, {"ttl_s": 0.0}, {"ttl_s": -1.0}, {"ttl_s": math.nan}])
    def test_a_senseless_size_or_life_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(options))):
            ModelCache(**options)

    def test_the_second_acquire_is_a_hit_on_the_same_model(self, cache: ModelCache) -> None:
        with cache.acquire(key(), Model) as first:
            pass
        held = cache.acquire(key(), must_not_load)
        with held as again:
            assert again is held
        assert first is not again
        assert figures(cache, "hits", "misses", "loads", "hit_rate", "cache_size") == [1, 1, 1, 0.5, 1]

    def test_nothing_asked_is_a_hit_rate_of_zero(self, cache: ModelCache) -> None:
        assert figures(cache, "hit_rate", "cache_size", "models") == [0.0, 0, []]

    def test_a_hit_takes_less_than_a_millisecond_and_does_not_wait_while_another_model_loads(
        self, cache: ModelCache, pool: ThreadPoolExecutor
    ) -> None:
        touch(cache, "ready")
        load = Loader(Model())
        slow = pool.submit(cache.acquire, key("slow"), load)
        assert load.begun.wait(TIMEOUT_S)
        seconds: list[float] = []
        for _ in range(50):
            start = time.thread_time()  # what other programs take does not count
            with cache.acquire(key("ready"), must_not_load) as lease:
                lease.model.use()
            seconds.append(time.thread_time() - start)
        assert not slow.done()
        assert statistics.median(seconds) < 0.001
        load.may_end.set()
        slow.result(TIMEOUT_S).release()

    def test_loads_of_two_models_run_side_by_side(self, cache: ModelCache, pool: ThreadPoolExecutor) -> None:
        both_are_loading = threading.Barrier(2, timeout=TIMEOUT_S)

        def load() -> Model:
            both_are_loading.wait()
            return Model()

        leases = [pool.submit(cache.acquire, key(name), load) for name in "ab"]
        for lease in leases:
            lease.result(TIMEOUT_S).release()


class TestExpiry:
    def test_life_counts_from_the_load_and_use_does_not_prolong_it(self, cache: ModelCache, clock: Clock) -> None:
        (old,) = touch(cache, "a")
        for _ in range(3):
            clock.now += 19.9
            assert touch(cache, "a") == [old]
        clock.now += 0.3
        (new,) = touch(cache, "a")
        assert new is not old
        assert old.closes == 1
        assert figures(cache, "hits", "misses", "expired", "evictions", "cache_size") == [3, 2, 1, 0, 1]

    def test_the_time_spent_loading_is_not_part_of_the_life(self, cache: ModelCache, clock: Clock) -> None:
        def load() -> Model:
            clock.now += 50.0
            return Model()

        cache.acquire(key(), load).release()
        clock.now += 50.0
        cache.acquire(key(), must_not_load).release()

    def test_it_ends_exactly_at_the_ttl(self, cache: ModelCache, clock: Clock) -> None:
        touch(cache, "a")
        clock.now += 60.0
        assert cache.expire() == 1

    def test_an_infinite_life_never_ends(self, clock: Clock) -> None:
        cache = ModelCache(ttl_s=math.inf, clock=clock)
        touch(cache, "a")
        clock.now += 1e12
        assert cache.expire() == 0

    def test_expire_removes_all_the_old_ones_and_only_those(self, cache: ModelCache, clock: Clock) -> None:
        old = touch(cache, "a", "b")
        clock.now += 30.0
        (young,) = touch(cache, "c")
        clock.now += 30.0
        assert cache.expire() == 2
        assert [model.closes for model in [*old, young]] == [1, 1, 0]
        assert names_kept(cache) == ["c"]
        assert cache.expire() == 0
        assert figures(cache, "expired") == [2]

    def test_any_load_first_removes_all_that_is_expired(self, cache: ModelCache, clock: Clock) -> None:
        old = touch(cache, "a", "b")
        clock.now += 60.0

        def load() -> Model:
            assert [model.closes for model in old] == [1, 1], "old and new would be in memory together"
            return Model()

        cache.acquire(key("c"), load).release()
        assert figures(cache, "expired", "evictions") == [2, 0]

    def test_an_expired_model_in_use_is_unloaded_by_its_last_lease(self, cache: ModelCache, clock: Clock) -> None:
        first, second = cache.acquire(key(), Model), cache.acquire(key(), must_not_load)
        clock.now += 61.0
        with cache.acquire(key(), Model) as fresh:
            assert fresh.model is not first.model
        model = first.model
        first.release()
        assert figures(cache, "models") == [[CachedModel(key(), 0.0, 0, True), CachedModel(key(), 61.0, 1, False)]]
        second.model.use()
        second.release()
        assert model.closes == 1
        assert figures(cache, "models") == [[CachedModel(key(), 0.0, 0, True)]]


class TestEviction:
    def test_the_least_recently_used_one_goes(self, cache: ModelCache) -> None:
        models = touch(cache, "a", "b", "c", "a", "d")
        assert [model.closes for model in models] == [0, 1, 0, 0, 0]
        assert names_kept(cache) == ["c", "a", "d"]
        assert figures(cache, "evictions", "cache_size") == [1, 3]

    def test_the_end_of_a_lease_is_a_use_too(self, cache: ModelCache) -> None:
        with cache.acquire(key("a"), Model):
            touch(cache, "b", "c")
        assert names_kept(cache) == ["b", "c", "a"]

    def test_a_model_in_use_goes_last(self, cache: ModelCache) -> None:
        with cache.acquire(key("a"), Model) as lease:
            touch(cache, "b", "c", "d", "e")
            lease.model.use()
            assert names_kept(cache) == ["a", "d", "e"]

    def test_with_all_in_use_the_oldest_leaves_but_stays_whole_until_its_last_lease_ends(
        self, cache: ModelCache
    ) -> None:
        leases = [cache.acquire(key(name), Model) for name in "abcd"]
        again = cache.acquire(key("b"), must_not_load)
        assert names_kept(cache) == ["c", "d", "b"]
        assert figures(cache, "evictions", "cache_size") == [1, 3]
        evicted = leases[0].model
        evicted.use()
        leases[0].release()
        assert evicted.closes == 1
        again.release()
        for lease in leases[1:]:
            lease.model.use()
            lease.release()

    def test_a_failed_load_evicts_nothing(self, cache: ModelCache) -> None:
        touch(cache, "a", "b", "c")
        with pytest.raises(AssertionError, match="loaded"):
            cache.acquire(key("d"), must_not_load)
        assert names_kept(cache) == ["a", "b", "c"]
