"""Who waits for whom."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import pytest

from cogs.memory.exceptions import ModelUnavailable
from cogs.memory.model_cache import CachedModel, Lease, ModelCache
from tests.model_cache.doubles import (
    TIMEOUT_S,
    Clock,
    Loader,
    Model,
    Weights,
    figures,
    key,
    touch,
    until,
)

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class TestSingleFlight:
    def start(self, cache: ModelCache, pool: ThreadPoolExecutor, load: Loader, callers: int = 8) -> list[Any]:
        futures = [pool.submit(cache.acquire, key(), load) for _ in range(callers)]
        until(lambda: bool(figures(cache, "misses")[0] == callers))
        return futures

    def test_eight_threads_share_one_load(self, cache: ModelCache, pool: ThreadPoolExecutor) -> None:
        load = Loader(Model())
        futures = self.start(cache, pool, load)
        load.may_end.set()
        leases: list[Lease[Model]] = [future.result(TIMEOUT_S) for future in futures]
        assert {lease.model for lease in leases} == {load.outcome}
        assert load.calls == 1
        assert figures(cache, "hits", "misses", "loads", "models") == [0, 8, 1, [CachedModel(key(), 0.0, 8, True)]]
        for lease in leases:
            lease.release()
        assert figures(cache, "models") == [[CachedModel(key(), 0.0, 0, True)]]

    @pytest.mark.parametrize("error", [ModelUnavailable("The file is truncated."), SystemExit(3)])
    def test_eight_threads_get_the_same_error_and_the_next_caller_loads_again(
        self, cache: ModelCache, pool: ThreadPoolExecutor, error: BaseException
    ) -> None:
        load = Loader(error)
        futures = self.start(cache, pool, load)
        load.may_end.set()
        assert [future.exception(TIMEOUT_S) for future in futures] == [error] * 8
        assert load.calls == 1
        assert figures(cache, "cache_size", "load_failures", "models") == [0, 1, []]
        touch(cache, "a")
        assert figures(cache, "cache_size", "loads") == [1, 1]

    def test_waiters_keep_a_model_that_is_evicted_before_they_wake(
        self, clock: Clock, pool: ThreadPoolExecutor
    ) -> None:
        cache = ModelCache(capacity=1, clock=clock)
        model = Model()
        load = Loader(model)
        futures = self.start(cache, pool, load, callers=4)
        load.may_end.set()
        touch(cache, "b", "c")
        for future in futures:
            with future.result(TIMEOUT_S) as lease:
                lease.model.use()
        touch(cache, "d")
        assert model.closes == 1

    def test_a_load_that_acquires_its_own_key_fails_instead_of_waiting_for_itself(self, cache: ModelCache) -> None:
        with pytest.raises(RuntimeError, match="acquired the same model"):
            cache.acquire(key(), lambda: cache.acquire(key(), Model).model)
        touch(cache, "a")

    def test_a_load_may_acquire_another_key(self, cache: ModelCache) -> None:
        def load() -> Model:
            return touch(cache, "base")[0]

        with cache.acquire(key(), load) as lease:
            assert lease.model.name == "base"

    @pytest.mark.usefixtures("without_gc")
    def test_what_a_failed_load_had_in_memory_is_freed_with_its_error(self, cache: ModelCache) -> None:
        half_loaded: list[weakref.ref[Weights]] = []

        def load() -> Model:
            weights = Weights()
            half_loaded.append(weakref.ref(weights))
            raise MemoryError

        with pytest.raises(MemoryError) as caught:
            cache.acquire(key(), load)
        assert half_loaded[0]() is not None
        del caught
        assert half_loaded[0]() is None
