"""All of it at once: threads against the clock, and random histories against a plain model of the rules."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from cogs.memory.model_cache import Lease, ModelCache
from tests.model_cache.doubles import TIMEOUT_S, Clock, Model, figures, key, names_kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

THREADS = 8
STEPS = 500
CAPACITY = 4
NAMES = [f"m{n}" for n in range(8)]


class PlannedError(Exception):
    """A load that was meant to fail."""


class Traffic:
    """What eight threads do to one cache, and what was seen."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cache = ModelCache(CAPACITY, 30.0, clock=self.clock)
        self.models: list[Model] = []
        self.loading: dict[str, threading.Lock] = {name: threading.Lock() for name in NAMES}

    def run(self, seed: int) -> Counter[str]:
        """One thread's work; its counts."""
        chance = random.Random(seed)
        did: Counter[str] = Counter()
        for _ in range(STEPS):
            did[self.step(chance)] += 1
            time.sleep(chance.choice((0, 0, 0.0005)))
        return did

    def step(self, chance: random.Random) -> str:
        name = chance.choice(NAMES)
        match chance.randrange(100):
            case 0:
                self.cache.clear_cache()
            case 1 | 2:
                self.cache.discard(key(name))
            case 3 | 4:
                self.cache.replace(key(name), self.new_model(name))
                return "replace"
            case 5 | 6:
                self.cache.expire()
            case 7 | 8 | 9:
                self.clock.now += chance.uniform(0.0, 40.0)
            case 10:
                assert len(names_kept(self.cache)) <= CAPACITY
            case _:
                return self.use(name, chance)
        return "other"

    def use(self, name: str, chance: random.Random) -> str:
        fails, pause = chance.random() < 0.2, chance.choice((0, 0.0002, 0.001))

        def load() -> Model:
            with self.alone(name):
                time.sleep(pause)
                if fails:
                    raise PlannedError(name)
                return self.new_model(name)

        try:
            lease = self.cache.acquire(key(name), load)
        except PlannedError:
            return "failure"
        with lease:
            assert lease.model.name == name
            lease.model.use()
            time.sleep(pause)
            lease.model.use()
        return "use"

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        assert self.loading[name].acquire(blocking=False), f"{name} is loaded twice at a time"
        try:
            yield
        finally:
            self.loading[name].release()

    def new_model(self, name: str) -> Model:
        model = Model(name)
        self.models.append(model)
        return model


def test_eight_threads_see_no_error_but_the_planned_ones(caplog: pytest.LogCaptureFixture) -> None:
    """Every model is loaded alone, used only while whole, and unloaded exactly once; every request is counted."""
    caplog.set_level(logging.ERROR)  # thousands of evictions are not worth a report each
    traffic = Traffic()
    with ThreadPoolExecutor(THREADS) as pool:
        runs = [pool.submit(traffic.run, seed) for seed in range(THREADS)]
        did = sum((run.result(TIMEOUT_S) for run in runs), Counter())
    cache = traffic.cache
    hits, misses, loads, load_failures = figures(cache, "hits", "misses", "loads", "load_failures")
    assert hits + misses == did["use"] + did["failure"]
    assert loads + did["replace"] == len(traffic.models)
    assert misses >= loads + load_failures
    assert did["failure"] >= load_failures
    for event in ("hits", "evictions", "expired", "loads", "load_failures"):
        assert figures(cache, event)[0] > 0, f"{event} did not happen: the test proves nothing"
    cache.close()
    assert figures(cache, "models") == [[]]
    assert Counter(model.closes for model in traffic.models) == {1: len(traffic.models)}


class History(RuleBasedStateMachine):
    """One thread's random history; `kept` is the table as the rules say it must be, least recently used first."""

    leases: Bundle[Lease[Model]] = Bundle("leases")
    names = st.sampled_from(NAMES[: CAPACITY + 2])

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cache = ModelCache(CAPACITY, 10.0, clock=self.clock)
        self.kept: dict[str, tuple[Model, float]] = {}
        self.in_use: Counter[Model] = Counter()
        self.models: list[Model] = []

    def loaded(self, name: str, model: Model) -> None:
        self.models.append(model)
        self.kept.pop(name, None)
        if len(self.kept) == CAPACITY:
            idle = (other for other, (kept, _) in self.kept.items() if not self.in_use[kept])
            del self.kept[next(idle, next(iter(self.kept)))]
        self.kept[name] = model, self.clock.now

    def drop_expired(self) -> None:
        self.kept = {name: kept for name, kept in self.kept.items() if self.clock.now - kept[1] < 10.0}

    @rule(target=leases, name=names)
    def acquire(self, name: str) -> Lease[Model]:
        lease = self.cache.acquire(key(name), lambda: Model(name))
        if name not in self.kept or self.clock.now - self.kept[name][1] >= 10.0:
            self.drop_expired()
            self.loaded(name, lease.model)
        self.kept[name] = self.kept.pop(name)
        assert lease.model is self.kept[name][0]
        self.in_use[lease.model] += 1
        return lease

    @rule(lease=consumes(leases))
    def release(self, lease: Lease[Model]) -> None:
        model = lease.model
        lease.release()
        self.in_use[model] -= 1
        if model.name in self.kept and self.kept[model.name][0] is model:
            self.kept[model.name] = self.kept.pop(model.name)

    @rule(name=names)
    def replace(self, name: str) -> None:
        model = Model(name)
        self.cache.replace(key(name), model)
        self.loaded(name, model)

    @rule(name=names)
    def discard(self, name: str) -> None:
        self.cache.discard(key(name))
        self.kept.pop(name, None)

    @rule(seconds=st.sampled_from([1.0, 4.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def expire(self) -> None:
        self.cache.expire()
        self.drop_expired()

    @rule()
    def clear(self) -> None:
        self.cache.clear_cache()
        self.kept.clear()

    @invariant()
    def the_table_is_as_the_rules_say(self) -> None:
        assert names_kept(self.cache) == list(self.kept)

    @invariant()
    def a_model_is_unloaded_once_it_is_neither_kept_nor_in_use(self) -> None:
        kept = {model for model, _ in self.kept.values()}
        for model in self.models:
            assert model.closes == (model not in kept and not self.in_use[model])


TestHistory = History.TestCase
TestHistory.settings = settings(derandomize=True, max_examples=60, stateful_step_count=40, deadline=None, database=None)
