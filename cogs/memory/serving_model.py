"""A reranker in service: loaded, proven, timed, and kept until the last call that uses it has ended."""

from __future__ import annotations

import logging
import threading
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable
from urllib.parse import urlsplit

from cogs.memory.exceptions import ModelError, ModelUnavailable, OutOfMemory
from cogs.memory.model_cache import ModelKey
from cogs.memory.out_of_memory import raises_out_of_memory
from cogs.memory.proof_of_life import Proof, as_clause, prove, time_tokens
from cogs.memory.quiet_loading import quiet_loading

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogs.memory.model_cache import Lease, ModelCache
    from cogs.memory.rerankers import Reranker
    from profiles import MemoryProfile

    LoadReranker = Callable[[MemoryProfile], Reranker]

log = logging.getLogger(__name__)

MIN_BUDGET = 64
"""Tokens: what does not fit in so small a batch does not fit on the device."""

_MEMORY_OF_SPEED = 0.7
"""How much of the past a chunk leaves in the estimate: what was four chunks ago counts for a quarter."""

_STALE_AFTER_S = 30.0
"""A speed measured longer ago does not keep the model from trying again: the machine may be less busy now."""


@runtime_checkable
class HasTokenBudget(Protocol):
    """A reranker that cuts its batches by a number of tokens that may be changed."""

    token_budget: int


@dataclass(frozen=True, slots=True)
class ProvenModel:
    """A loaded reranker that has scored known texts; what the model cache holds."""

    reranker: Reranker
    proof: Proof
    ms_per_token: float
    """Of a short batch, right after the load."""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    """Held while it scores: rerankers take one call at a time, and the cache may lend a model to several services."""

    def close(self) -> None:
        """Free the weights."""
        self.reranker.close()


class ScoringSpeed:
    """What a token costs, from what chunks really took; large chunks count for more than small ones."""

    def __init__(self, ms_per_token: float, now: float) -> None:
        self._ms = self._last = ms_per_token
        self._tokens = 1.0
        self._measured_at = now

    @property
    def ms_per_token(self) -> float:
        """The running mean, or the last chunk if that was slower: falling behind is believed at once."""
        return max(self._ms / self._tokens, self._last)

    def note(self, tokens: int, milliseconds: float, now: float) -> None:
        """Take in a chunk."""
        self._ms = self._ms * _MEMORY_OF_SPEED + milliseconds
        self._tokens = self._tokens * _MEMORY_OF_SPEED + tokens
        self._last = milliseconds / tokens
        self._measured_at = now

    def is_stale(self, now: float) -> bool:
        """Whether nothing was measured for half a minute."""
        return now - self._measured_at > _STALE_AFTER_S


class ServingModel:
    """A proven model shared by calls. Its lease ends when `release` was called as often as `retain`, plus once.

    Attributes:
        budget: tokens in one chunk; halved when memory runs out.
        in_service: whether new calls get this model.
    """

    def __init__(self, leased: LeasedModel, *, end_lease: Callable[[Lease[ProvenModel]], object], now: float) -> None:
        self.profile = leased.profile
        self.cache_key = leased.key
        self.reranker = leased.lease.model.reranker
        self.key = self.reranker.key
        self.name = leased.profile.reranker_model or self.key
        self.lock = leased.lease.model.lock
        self.proof = leased.lease.model.proof
        self.speed = ScoringSpeed(leased.lease.model.ms_per_token, now)
        self.budget = max(MIN_BUDGET, leased.profile.token_budget)
        self.in_service = True
        self._lease = leased.lease
        self._end_lease = end_lease
        self._users = 1

    @property
    def path(self) -> str | None:
        """How scores are computed, if the reranker has several ways ("packed", "plain")."""
        path = getattr(self.reranker, "path", None)
        return None if path is None else str(path)

    @property
    def is_remote(self) -> bool:
        """Whether it waits for another machine, and so needs no turn on the thread that models work on."""
        return getattr(self.reranker, "is_remote", False) is True

    @property
    def distrust(self) -> str | None:
        """Why its order is not to be trusted, to follow a colon; None when it is."""
        if self.proof.ok:
            return None
        return f"the reranker does not order the test questions: {as_clause(self.proof.detail)}"

    def retain(self) -> None:
        """Keep the model loaded until the matching `release`."""
        self._users += 1

    def release(self) -> None:
        """Give up one use; after the last one the weights may go."""
        self._users -= 1
        if self._users == 0:
            self._end_lease(self._lease)

    def shrink(self, failed_tokens: int) -> bool:
        """Halve the budget after ``failed_tokens`` did not fit. Returns False if it cannot be less."""
        if self.budget <= MIN_BUDGET:
            return False
        self.budget = max(MIN_BUDGET, min(self.budget, failed_tokens) // 2)
        if isinstance(self.reranker, HasTokenBudget):
            self.reranker.token_budget = min(self.reranker.token_budget, self.budget)
        return True


class LeasedModel(NamedTuple):
    """What a load gives: the right to use a model, and the profile that it was loaded for in the end."""

    lease: Lease[ProvenModel]
    key: ModelKey
    profile: MemoryProfile


class ModelLoader:
    """Loads rerankers through the model cache, proven. Its methods take seconds: never on the event loop.

    Args:
        models: where loaded models live.
        load: makes a reranker for a profile.
    """

    def __init__(self, models: ModelCache, load: LoadReranker) -> None:
        self._models = models
        self._load = load

    def lease(self, profile: MemoryProfile) -> LeasedModel:
        """Lease the profile's model, loading it if it is not in memory; on the CPU if the device is full.

        Raises:
            ModelError: it cannot be loaded or gives no usable scores; the message says why.
        """
        try:
            key = model_key(profile)
            return LeasedModel(self._models.acquire(key, partial(self._prove, profile)), key, profile)
        except OutOfMemory:
            if profile.device == "cpu":
                raise
            log.warning("The reranker does not fit on %s; it is loaded on the CPU", profile.device)
            return self.lease(on_cpu(profile))

    def lease_fresh(self, profile: MemoryProfile, *, must_pass: bool) -> LeasedModel:
        """Load the profile's model anew beside the one in memory, and put it in its place.

        Args:
            profile: which model, and where.
            must_pass: refuse a model that does not order the test questions.

        Raises:
            ModelError: as `lease`, or it did not pass; what was in memory before stays.
        """
        proven = self._prove(profile)
        key = model_key(profile)
        try:
            if must_pass and not proven.proof.ok:
                raise ModelUnavailable(f"The new model failed its test and was not taken: {proven.proof.detail}")
            self._models.replace(key, proven)
        except ModelError:
            proven.close()
            raise
        return self.lease(profile)

    def discard(self, key: ModelKey) -> None:
        """Let go of a model that another one has replaced."""
        self._models.discard(key)

    def _prove(self, profile: MemoryProfile) -> ProvenModel:
        """Load and test. A class from outside may raise anything; it reaches the caller as `ModelError`."""
        try:
            with raises_out_of_memory():
                reranker = self._load(profile)
        except ModelError:
            raise
        except Exception as error:
            raise ModelUnavailable(f"The reranker could not be loaded ({type(error).__name__}).") from error
        try:
            is_local = getattr(reranker, "is_remote", False) is not True
            with raises_out_of_memory(), quiet_loading(profile) if is_local else nullcontext():
                return ProvenModel(reranker, prove(reranker), time_tokens(reranker))
        except ModelError:
            reranker.close()
            raise
        except Exception as error:
            reranker.close()
            raise ModelUnavailable(f"The reranker failed its first test ({type(error).__name__}).") from error


def model_key(profile: MemoryProfile) -> ModelKey:
    """Return what decides the scores of a profile's reranker."""
    server = urlsplit(profile.reranker_url or "")
    return ModelKey(
        tenant="reranking",
        # without the user and password that an address may hold: keys are logged
        provider=f"{profile.reranker} {server.hostname}:{server.port}{server.path}"
        if server.hostname
        else profile.reranker,
        model=profile.reranker_model or "",
        revision=f"max_length {profile.max_length}",  # the revision of the files is pinned by the model's name
        device=profile.device,
        dtype=profile.dtype,
    )


def on_cpu(profile: MemoryProfile) -> MemoryProfile:
    """Return the profile for a device that ran out of memory: the same model where there is more of it."""
    return replace(profile, device="cpu", dtype="float32", token_budget=min(512, profile.token_budget))
