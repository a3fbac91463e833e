"""Replies by a language model in this process, such as Qwen3-0.6B.

It is loaded at the first reply, on a thread of its own, and kept. It works on the memory's model thread in short steps,
so that a recall waits for one step and not for an answer; whoever does not wait for the answer any more stops it there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

from cogs.chat.prompt import CONVERSATION_TOKENS, build_messages
from cogs.chat.providers.causal_lm import CausalLM, Generation, Sampling
from cogs.chat.providers.failures import ProviderFailed
from cogs.chat.providers.pieces import FIRST_SHARE, ThoughtFilter, closing, within_deadline
from cogs.memory.context_builder import estimate_tokens
from cogs.memory.exceptions import ModelError, ModelUnavailable
from cogs.memory.model_cache import ModelKey
from cogs.memory.worker import ModelWorker, Priority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import Future

    from cogs.chat.conversation import Conversation
    from cogs.memory.memory_service import MemoryService
    from cogs.memory.model_cache import Lease, ModelCache
    from cogs.memory.model_loading import ModelSources
    from profiles.memory_profile import DType

T = TypeVar("T")

log = logging.getLogger(__name__)

CHAT_MODELS: Final = frozenset(
    {
        "Qwen/Qwen3-0.6B@c1899de289a04d12100db370d81485cdf75e47ca",
        "Qwen/Qwen3-1.7B@70d244cc86ccca08cf5af4e1e306ecf908b1ad5e",
    }
)
"""What may be fetched without being named in MODELS_ALLOWED, at these revisions."""

LOAD_AGAIN_AFTER_S: Final = 60.0
"""Seconds after a failed load until a reply tries again."""

_PATIENCE: Final = 0.8  # share of the time before the first words that a reply waits for the model to load
_SHARES: Final = (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16)  # of the conversation, for models that can read little


@dataclass(frozen=True, slots=True)
class LocalModels:
    """Where a local model comes from, is kept and runs: what the memory has for its own models."""

    sources: ModelSources
    cache: ModelCache
    worker: ModelWorker
    device: str = "cpu"
    dtype: DType = "float32"

    @classmethod
    def of(cls, memory: MemoryService) -> Self:
        """Return those of a memory: its thread, its cache, its device."""
        profile = memory.profile
        return cls(memory.sources, memory.models, memory.worker, device=profile.device, dtype=profile.dtype)


class LocalProvider:
    """Answers with a language model in this process.

    Args:
        model: a local folder, or a name that is allowed.
        models: where it comes from, is kept and runs.
        timeout_s: seconds for a whole reply; half of them may pass before its first words.
        max_tokens: of a reply.
        sampling: how words are chosen.
    """

    remote = False

    def __init__(
        self,
        model: str,
        models: LocalModels,
        *,
        timeout_s: float = 60.0,
        max_tokens: int = 512,
        sampling: Sampling = Sampling(),  # noqa: B008 - it is frozen
    ) -> None:
        self.name = f"local: {Path(model).name}"
        self._model = model
        self._models = replace(models, sources=replace(models.sources, allowed=models.sources.allowed | CHAT_MODELS))
        self._timeout_s = timeout_s
        self._max_tokens = max_tokens
        self._sampling = sampling
        self._lease: Lease[CausalLM] | None = None
        self._loading: asyncio.Task[CausalLM] | None = None
        self._loader: ModelWorker | None = None
        self._failed_at: float | None = None
        self._turn = asyncio.Lock()
        self._is_closed = False

    async def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        """Yield the answer as it is written; answers to others come first. Raises `ProviderFailed`."""
        async with closing(within_deadline(self._pieces(conversation), self._timeout_s)) as pieces:
            try:
                async for piece in pieces:
                    yield piece
            except ProviderFailed as failed:
                if failed.reason == "slow" and self._loading is not None:  # on a machine that stood still
                    raise ProviderFailed("loading") from None
                raise

    def count_tokens(self, text: str) -> int:
        """Return the tokens of a text, a safe estimate while the model is not loaded."""
        return estimate_tokens(text) if self._lease is None else self._lease.model.template.count_tokens(text)

    async def close(self) -> None:
        """Give the model back to the cache."""
        self._is_closed = True
        if self._loading is not None:
            self._loading.cancel()
        lease, self._lease = self._lease, None
        loader, self._loader = self._loader, None
        if loader is not None:
            if lease is not None:
                loader.submit(lease.release)
            loader.shutdown(wait=False)

    async def _pieces(self, conversation: Conversation) -> AsyncIterator[str]:
        model = await self._loaded()
        thoughts = ThoughtFilter(thinking=model.template.starts_thinking)
        length = 0
        async with self._turn:  # each answer has keys and values of its own: one at a time is enough for the memory
            generation = await self._work(partial(self._begin, model, conversation))
            while (text := await self._work(generation.advance)) is not None:
                if piece := thoughts.feed(text):
                    length += len(piece)
                    yield piece
        if piece := thoughts.finish():
            yield piece
        elif not length:
            raise ProviderFailed("empty")
        if generation.was_cut:
            yield "…"

    def _begin(self, model: CausalLM, conversation: Conversation) -> Generation:
        """Make the prompt, with as much of the conversation as the model can read."""
        for share in _SHARES:
            budget = int(CONVERSATION_TOKENS * share)
            messages = build_messages(conversation, token_budget=budget, count_tokens=model.template.count_tokens)
            ids = model.template.ids(messages)
            if len(ids) + self._max_tokens <= model.window:
                return model.begin(ids, self._max_tokens, self._sampling)
        raise ProviderFailed("too_long")

    async def _work(self, step: Callable[[], T]) -> T:
        """Run a step on the model thread: behind every question, before all that nobody waits for."""
        try:
            return await asyncio.wrap_future(self._models.worker.submit_at(Priority.NORMAL, step))
        except ModelError as error:
            log.warning("The language model %s failed: %s", self._model, error)
            raise ProviderFailed("failing") from error
        except RuntimeError as error:  # torch's own, or the memory shuts down
            log.warning("The language model %s failed (%s)", self._model, type(error).__name__)
            raise ProviderFailed("failing") from error

    # --- loading

    async def _loaded(self) -> CausalLM:
        """Return the model; a load goes on when this reply does not wait for it any more."""
        if self._lease is not None:
            return self._lease.model
        if self._loading is None:
            failed = self._failed_at is not None and time.monotonic() - self._failed_at < LOAD_AGAIN_AFTER_S
            if failed or self._is_closed:
                raise ProviderFailed("no_model")
            self._loading = asyncio.create_task(self._load(), name="chat-model-load")
            self._loading.add_done_callback(_look_at)
        loading = self._loading
        await asyncio.wait([loading], timeout=_PATIENCE * FIRST_SHARE * self._timeout_s)
        if not loading.done():
            raise ProviderFailed("loading")
        if loading.cancelled():
            raise ProviderFailed("no_model")
        return loading.result()

    async def _load(self) -> CausalLM:
        """Lease the model on the loader's thread. Raises `ProviderFailed`."""
        self._loader = self._loader or ModelWorker("chat-loader")
        future = self._loader.submit(self._acquire)
        try:
            self._lease = await asyncio.wrap_future(future)
            self._failed_at = None
            return self._lease.model
        except asyncio.CancelledError:
            future.add_done_callback(_release)  # a load cannot be stopped, but what it brings can be let go
            raise
        except ModelError as error:
            log.warning("The language model %s cannot be used: %s", self._model, error)
            self._failed_at = time.monotonic()
            raise ProviderFailed("no_model") from error
        finally:
            self._loading = None

    def _acquire(self) -> Lease[CausalLM]:
        folder = self._models.sources.bring(self._model)
        key = ModelKey("chat", "causal_lm", str(folder), device=self._models.device, dtype=self._models.dtype)
        return self._models.cache.acquire(key, partial(self._load_from, folder))

    def _load_from(self, folder: Path) -> CausalLM:
        try:
            return CausalLM.load(folder, device=self._models.device, dtype=self._models.dtype)
        except ModelError:
            raise
        except Exception as error:  # models bring their own configuration and template: anything may be wrong
            raise ModelUnavailable(f"The language model could not be loaded ({type(error).__name__}).") from error


def _release(future: Future[Lease[CausalLM]]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().release()


def _look_at(loading: asyncio.Task[CausalLM]) -> None:
    """Take note of how a load ended, which nobody may be waiting for any more."""
    if not loading.cancelled():
        loading.exception()
