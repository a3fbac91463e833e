"""Loaded models, shared: least recently used out first, a limited life, and one load however many ask.

    acquire ─┬─ there and fresh ─────────────────────────────→ hit
             ├─ being loaded ────── wait for that load ──────→ miss, the same model (or the same exception)
             └─ not there, or too old ── load it ────────────→ miss, a load

One lock guards the tables and is held for a few dictionary operations, never while a model is loaded, unloaded or
waited for; so a hit never waits for a load, and loads of different models never wait for each other.

Built on `OrderedDict` and not on cachetools: its `TTLCache` drops expired values unseen when another is inserted and
chooses its victim without asking who uses it, while here every model that leaves must be unloaded, and none in use.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from cogs.memory.exceptions import ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

M = TypeVar("M")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelKey:
    """What makes two loaded models the same one; equal fields are equal keys, and nothing else counts."""

    tenant: str
    """Whose model it is; models are never shared between tenants."""
    provider: str
    """The family that loads it. One key always stands for one type of model."""
    model: str
    revision: str = ""
    device: str = "cpu"
    dtype: str = "float32"

    def __str__(self) -> str:
        # repr() of each value: a line break in a model's name must not forge a log line.
        return ", ".join(f"{name}={value!r}" for name, value in asdict(self).items())


class CachedModel(NamedTuple):
    """A model in memory, for display."""

    key: ModelKey
    age_s: float
    """Seconds since it was loaded."""
    in_use: int
    """Leases that have not ended."""
    is_current: bool
    """False for one that nobody gets any more: it is unloaded when its last lease ends."""


@dataclass(eq=False, slots=True)
class _Entry:
    """One loaded or loading model."""

    key: ModelKey
    loader: int
    """Identity of the thread that loads it."""
    in_use: int = 0
    predecessor: Future[Any] | None = None
    """A load of the same key that must end before this one begins."""
    is_wanted: bool = True
    """Whether it goes into the table once loaded."""
    loaded: Future[Any] = field(default_factory=Future)
    loaded_at: float = 0.0
    unload: Callable[[], object] | None = None


class _Departed(NamedTuple):
    """Models just taken out of the table; the idle ones are to be unloaded once the lock is released."""

    keys: list[ModelKey]
    idle: list[_Entry]


class _Claim(NamedTuple):
    """What a caller of `acquire` found: a hit has an age, and who must load gets what expired meanwhile."""

    entry: _Entry
    hit_age_s: float | None = None
    expired: _Departed | None = None


@dataclass(slots=True)
class _Counts:
    hits: int = 0
    misses: int = 0
    evictions: int = 0
    expired: int = 0
    loads: int = 0
    load_failures: int = 0


def _unload_hook(model: M, unload: Callable[[M], object] | None) -> Callable[[], object] | None:
    return getattr(model, "close", None) if unload is None else partial(unload, model)


def _let_go(departed: _Departed, why: str, level: int = logging.INFO) -> None:
    for key in departed.keys:
        logger.log(level, "Model cache %s: %s", why, key)
    _unload(departed.idle)


def _unload(idle: list[_Entry]) -> None:
    """Run the unload hooks; never with the lock held: they may take long, or call the cache.

    Empties the list, so that a model without a hook is freed as well, whoever still holds the list.
    """
    while idle:
        entry = idle.pop(0)
        try:
            if entry.unload is not None:
                entry.unload()
        except Exception:
            logger.exception("Unloading a model failed: %s", entry.key)


class Lease(Generic[M]):
    """The right to use a model until `release` (by any thread, and once is enough) or the end of the ``with`` block."""

    def __init__(self, cache: ModelCache, entry: _Entry, model: M) -> None:
        self._cache = cache
        self._held: tuple[_Entry, M] | None = (entry, model)

    @property
    def model(self) -> M:
        """The leased model. Raises RuntimeError once the lease has ended: the model may be unloaded by then."""
        held = self._held
        if held is None:
            raise RuntimeError("this lease has ended; acquire the model again")
        return held[1]

    def release(self) -> None:
        """End the lease; the last one of a model that has left the cache unloads it, in this thread."""
        with self._cache._lock:
            held, self._held = self._held, None
        if held is not None:
            self._cache._release(held[0])

    def __enter__(self) -> Lease[M]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


class ModelCache:
    """At most ``capacity`` loaded models, each for ``ttl_s`` seconds *from its load*; safe to use from any thread.

    Being used does not prolong a model's life: a model whose files have changed is picked up within ``ttl_s`` however
    busy it is. Pass ``math.inf`` for no limit. Expired models leave when they are asked for, when any model is loaded,
    and on `expire`.

    When the cache is full, the least recently used model leaves: first among those that are not in use, since a model
    in use is being used now. A model that leaves while in use, for whatever reason, stays whole until its last lease
    ends, and only then is unloaded. Unloading means calling ``unload(model)`` if that was given, else ``model.close()``
    if there is one: exactly once, outside the lock, and an error in it is logged and goes no further.

    Raises:
        ValueError: ``capacity`` is below 1 or ``ttl_s`` is not above 0.
    """

    def __init__(
        self, capacity: int = 50, ttl_s: float = 1800.0, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        if not ttl_s > 0:
            raise ValueError(f"ttl_s must be above 0, not {ttl_s}")
        self.capacity = capacity
        self.ttl_s = ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        self._models: OrderedDict[ModelKey, _Entry] = OrderedDict()  # least recently used first
        self._loading: dict[ModelKey, _Entry] = {}
        self._leaving: set[_Entry] = set()  # no longer in _models, but still in use
        self._counts = _Counts()
        self._closed = False

    def acquire(self, key: ModelKey, load: Callable[[], M], *, unload: Callable[[M], object] | None = None) -> Lease[M]:
        """Lease the model of ``key``, loading it with ``load()`` in this thread if it is neither here nor on its way.

        Call it in the worker thread that uses the model: a lease returned to a task cancelled meanwhile is lost, and
        never ends. ``load`` may acquire other keys, but not its own.

        Raises:
            ModelUnavailable: the cache is closed.
            RuntimeError: ``load`` acquired its own key.
            BaseException: whatever ``load`` raised, to everyone who waited for it. The next caller loads again.
        """
        with self._lock:
            claim = self._claim(key)
        entry = claim.entry
        if claim.hit_age_s is not None:
            logger.debug("Model cache HIT: %s, age=%.1fs", key, claim.hit_age_s)
        try:
            if claim.expired is not None:
                self._load(entry, load, unload, claim.expired)
            return Lease(self, entry, entry.loaded.result())
        except BaseException:
            self._release(entry)
            raise
        finally:
            # The exception of a failed load refers to this frame, and the entry to the exception: a circle
            # that would keep half-loaded weights in memory until the garbage collector runs.
            del claim, entry

    def replace(self, key: ModelKey, model: M, *, unload: Callable[[M], object] | None = None) -> None:
        """Make ``model`` the one that later `acquire` calls get; leases under way keep theirs until they end.

        A load of ``key`` that is under way still serves those who wait for it, and nobody else. The same model given
        again starts a new life. Raises ModelUnavailable when the cache is closed; the model then stays the caller's.
        """
        hook = _unload_hook(model, unload)
        with self._lock:
            self._require_open()
            now = self._clock()
            old = self._models.get(key)
            if old is not None and old.loaded.result() is model:
                old.loaded_at = now
                return
            departed = self._forget(key)
            entry = _Entry(key, threading.get_ident(), loaded_at=now, unload=hook)
            entry.loaded.set_result(model)
            evicted = self._insert(entry)
        _let_go(departed, "REPLACED")
        self._let_go_evicted(evicted)

    def discard(self, key: ModelKey) -> None:
        """Let go of one model, if it is here or on its way: the old one after a reload under another key."""
        with self._lock:
            departed = self._forget(key)
        _let_go(departed, "DISCARDED")

    def expire(self) -> int:
        """Let go of every model that is too old; for a periodic task. Returns how many there were."""
        with self._lock:
            expired = self._take_expired(self._clock())
        _let_go(expired, "EXPIRED")
        return len(expired.keys)

    def clear_cache(self) -> None:
        """Let go of every model, also of those being loaded now; counts neither as eviction nor as expiry."""
        with self._lock:
            departed = self._forget(*{**self._models, **self._loading})
        _let_go(departed, "CLEARED")

    def clear_cache_stats(self) -> None:
        """Count from zero again; the models stay."""
        with self._lock:
            self._counts = _Counts()

    def close(self) -> None:
        """Let go of every model and refuse new leases; those under way may end in peace. May be called twice."""
        with self._lock:
            self._closed = True
        self.clear_cache()

    def get_statistics(self, prefix: str = "rerank_model") -> dict[str, Any]:
        """What happened since the last `clear_cache_stats`, and what is in memory now, for display.

        ``{prefix}_hits``, ``_misses`` (who had to wait, for his own or another's load), ``_evictions``, ``_expired``,
        ``_loads``, ``_load_failures``: int. ``_hit_rate``: hits / (hits + misses), 0.0 before the first.
        ``_cache_size``: int, models that `acquire` would find. ``_models``: list of `CachedModel`, those first that
        would leave first, then those which have left but are in use.
        """
        with self._lock:
            counts, now = self._counts, self._clock()
            models = [CachedModel(e.key, now - e.loaded_at, e.in_use, True) for e in self._models.values()]
            leaving = [CachedModel(e.key, now - e.loaded_at, e.in_use, False) for e in self._leaving]
            figures: dict[str, Any] = asdict(counts)
        figures["hit_rate"] = counts.hits / max(1, counts.hits + counts.misses)
        figures |= {"cache_size": len(models), "models": models + leaving}
        return {f"{prefix}_{name}": figure for name, figure in figures.items()}

    def _require_open(self) -> None:
        if self._closed:
            raise ModelUnavailable("The models have been unloaded because the bot is shutting down.")

    def _claim(self, key: ModelKey) -> _Claim:
        """Find, join or begin a load, and count the caller in; with the lock held."""
        self._require_open()
        now = self._clock()
        entry = self._models.get(key)
        if entry is not None and now - entry.loaded_at < self.ttl_s:
            self._counts.hits += 1
            entry.in_use += 1
            self._models.move_to_end(key)
            return _Claim(entry, hit_age_s=now - entry.loaded_at)
        loading = self._loading.get(key)
        if loading is not None and loading.loader == threading.get_ident():
            raise RuntimeError(f"the load of a model acquired the same model: {key}")
        self._counts.misses += 1
        if loading is not None and loading.is_wanted:
            loading.in_use += 1
            return _Claim(loading)
        # An unwanted load under way is waited for, so that one model is never loaded twice at a time.
        predecessor = None if loading is None else loading.loaded
        entry = _Entry(key, threading.get_ident(), in_use=1, predecessor=predecessor)
        self._loading[key] = entry
        return _Claim(entry, expired=self._take_expired(now))

    def _load(
        self, entry: _Entry, load: Callable[[], M], unload: Callable[[M], object] | None, expired: _Departed
    ) -> None:
        """Load and settle ``entry.loaded``, whatever happens: others wait for it."""
        try:
            _let_go(expired, "EXPIRED")  # before the load: old and new may not fit into memory together
            if entry.predecessor is not None:
                wait((entry.predecessor,))
                entry.predecessor = None  # it holds a model
            logger.info("Model cache MISS: %s, loading", entry.key)
            started = self._clock()
            model = load()
            entry.unload = _unload_hook(model, unload)
        except BaseException as error:  # noqa: BLE001 - acquire raises it, for the loader and all who wait
            with self._lock:
                self._counts.load_failures += 1
                self._end_load(entry)
            entry.loaded.set_exception(error)
            del entry  # see acquire
            return
        with self._lock:
            entry.loaded_at = self._clock()
            entry.loaded.set_result(model)
            self._counts.loads += 1
            self._end_load(entry)
            evicted = self._insert(entry)
        logger.info("Model loaded in %.2fs: %s", entry.loaded_at - started, entry.key)
        self._let_go_evicted(evicted)

    def _end_load(self, entry: _Entry) -> None:
        """Take a load off the table, unless its successor stands there already; with the lock held."""
        if self._loading.get(entry.key) is entry:
            del self._loading[entry.key]

    def _insert(self, entry: _Entry) -> _Departed:
        """Put in the newest model, if it is still wanted, and take out what is too much; with the lock held."""
        if not entry.is_wanted:
            self._leaving.add(entry)
            return _Departed([], [])
        self._models[entry.key] = entry
        others = [other for other in self._models if other != entry.key]
        others.sort(key=lambda other: self._models[other].in_use > 0)  # stable: idle first, then by last use
        evicted = self._take(others[: max(0, len(self._models) - self.capacity)])
        self._counts.evictions += len(evicted.keys)
        return evicted

    def _forget(self, *keys: ModelKey) -> _Departed:
        """Take models out and keep loads under way from coming in; with the lock held."""
        for key in keys:
            if (loading := self._loading.get(key)) is not None:
                loading.is_wanted = False
        return self._take([key for key in keys if key in self._models])

    def _take(self, keys: list[ModelKey]) -> _Departed:
        """Take models out of the table; with the lock held."""
        departed = _Departed(keys, [])
        for key in keys:
            entry = self._models.pop(key)
            if entry.in_use:
                self._leaving.add(entry)
            else:
                departed.idle.append(entry)
        return departed

    def _take_expired(self, now: float) -> _Departed:
        """Take out and count every model that is too old; with the lock held."""
        expired = self._take([key for key, entry in self._models.items() if now - entry.loaded_at >= self.ttl_s])
        self._counts.expired += len(expired.keys)
        return expired

    def _let_go_evicted(self, evicted: _Departed) -> None:
        _let_go(evicted, f"full ({self.capacity}), evicting the least recently used", logging.WARNING)

    def _release(self, entry: _Entry) -> None:
        """Count one user out; the last one of a model that has left unloads it."""
        with self._lock:
            entry.in_use -= 1
            if self._models.get(entry.key) is entry:
                self._models.move_to_end(entry.key)  # it was in use until now
                return
            if entry.in_use:
                return
            self._leaving.discard(entry)
        _unload([entry])
