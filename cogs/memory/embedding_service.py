"""`EmbeddingService`: texts → sentence vectors and token sketches, off the event loop."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from cogs.memory.embedders import EncodedText
from cogs.memory.embedders.loading import load_encoder
from cogs.memory.exceptions import ModelUnavailable, ScoringFailed
from cogs.memory.query_batch import QueryBatch
from cogs.memory.records import Embedding, StoredMessage
from cogs.memory.shared_lock import SharedLock
from cogs.memory.worker import ModelWorker, Priority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from cogs.memory.embedders import EncodedQuery, Encoder
    from cogs.memory.records import Space
    from profiles import MemoryProfile

    LoadEncoder = Callable[[MemoryProfile], Encoder]

log = logging.getLogger(__name__)

NOT_FINITE = "The embedder gave no usable numbers for this question; it is answered by words alone."
SLICE = 16
"""Texts encoded between two looks at the queue: a question never waits longer than one slice of a backlog."""


def document_text(message: StoredMessage) -> str:
    """What the embedder reads of a message: who speaks is part of what is said."""
    return f"{message.author_name}: {message.text}"


class EmbeddingService:
    """The embedder of a profile. Loads on first use; all model work runs on the one worker thread.

    Args:
        profile: names the embedder, its dtype and its batch size.
        worker: the thread that models work on.
        load: makes the encoder; a test or a plug-in may give its own.
    """

    def __init__(self, profile: MemoryProfile, worker: ModelWorker, *, load: LoadEncoder = load_encoder) -> None:
        self._profile = profile
        self._worker = worker
        self._waiting: tuple[ModelWorker, ModelWorker] | None = None
        self._load = load
        self._encoder: Encoder | None = None
        self._loading = asyncio.Lock()
        self.swapping = SharedLock()
        """Shared while a batch is embedded *and* stored, alone while the model is swapped: no batch mixes spaces."""
        self._questions: QueryBatch | None = None
        self.encoded = 0
        """Documents encoded since the start."""
        self.not_finite = 0
        """Documents and questions for which the model gave a NaN or an infinity."""

    async def start(self) -> Space:
        """Load the model if that has not happened, and return its space.

        Raises:
            ModelUnavailable: it cannot be loaded.
        """
        return (await self._ready()).space

    @property
    def space(self) -> Space:
        """The fingerprint of the vectors. Raises ModelUnavailable before `start`."""
        if self._encoder is None:
            raise ModelUnavailable("The embedder is still loading; try again in a moment.")
        return self._encoder.space

    async def encode_query(self, text: str) -> tuple[EncodedQuery, Space]:
        """Encode a question, before all background work and with those that wait; return it with its space.

        If the model's numbers are not finite, the vectors are zero: they are like nothing, and words alone decide.
        """
        encoder = await self._ready()
        batch = self._questions
        number = batch.join(text) if batch is not None and batch.encoder is encoder else None
        if batch is None or number is None:
            batch, number = QueryBatch(encoder, self._worker_of(encoder, 0), text), 0
            self._questions = batch
        return self._finite(await batch.result(number)), encoder.space

    def _finite(self, encoded: EncodedQuery) -> EncodedQuery:
        if np.isfinite(encoded.vector).all() and np.isfinite(encoded.token_vectors).all():
            return encoded
        self.not_finite += 1
        log.error("The embedder gave no finite vector for a question; words alone decide")
        return replace(
            encoded,
            vector=np.zeros_like(encoded.vector),
            token_vectors=np.zeros_like(encoded.token_vectors),
            problem=NOT_FINITE,
        )

    def _worker_of(self, encoder: Encoder, purpose: Literal[0, 1]) -> ModelWorker:
        """The thread for questions (0) or documents (1).

        An encoder that waits for a server has a thread for each: models and the index must not wait with it.
        """
        if not _waits_for_a_server(encoder):
            return self._worker
        if self._waiting is None:
            self._waiting = ModelWorker("served-questions"), ModelWorker("served-documents")
        return self._waiting[purpose]

    async def encode(self, texts: Sequence[str]) -> list[EncodedText]:
        """Encode texts that somebody waits for."""
        encoder = await self._ready()
        return await self._worker_of(encoder, 1).run(encoder.encode, texts)

    def hurry(self) -> AbstractContextManager[None]:
        """Say that somebody waits for documents: until the end of the block they stand back for no question."""
        return self._worker.hurry()

    async def embed(self, messages: Sequence[StoredMessage]) -> list[Embedding]:
        """Encode stored messages in the background, in slices between which questions go first."""
        encoder = await self._ready()
        by_length = sorted(messages, key=lambda message: len(message.text))  # like lengths batch without padding
        embeddings: list[Embedding] = []
        for start in range(0, len(by_length), SLICE):
            part = by_length[start : start + SLICE]
            encoded = await self._encode_part(encoder, [document_text(m) for m in part])
            embeddings += [self._embedding(message, text) for message, text in zip(part, encoded, strict=True)]
        self.encoded += len(messages)
        return embeddings

    async def _encode_part(self, encoder: Encoder, texts: Sequence[str]) -> list[EncodedText]:
        """Encode texts; one that the model makes nothing finite of must not keep its neighbours waiting for ever."""
        worker = self._worker_of(encoder, 1)
        try:
            return await worker.run_background(encoder.encode, list(texts))
        except ScoringFailed:
            if _waits_for_a_server(encoder):  # it is asked again later
                raise
            if len(texts) > 1:
                return [each for text in texts for each in await self._encode_part(encoder, [text])]
            return [EncodedText(np.full(encoder.space.dim, np.nan, dtype=np.float32), b"")]

    def _embedding(self, message: StoredMessage, text: EncodedText) -> Embedding:
        """What is stored of a message; one whose vector is not finite is found by its words alone."""
        vector = _stored(text.vector)
        if np.isfinite(vector).all():
            return Embedding(message.id, message.content_hash, vector, text.sketch, message.guild_id)
        self.not_finite += 1
        log.error("The embedder gave no finite vector for message %d; it is found by its words alone", message.id)
        return Embedding(message.id, message.content_hash, np.zeros_like(vector), b"", message.guild_id)

    @asynccontextmanager
    async def beside(self, profile: MemoryProfile) -> AsyncIterator[Encoder]:
        """Load the embedder of ``profile`` beside the one that serves, for `put_in_service` to swap them in the block.

        Questions that are under way are answered first: a load takes a core from them for seconds. If the block raises,
        or is cancelled, the new one is closed.

        Raises:
            ModelUnavailable: it cannot be loaded.
        """
        await self._worker.stand_back()
        loading = asyncio.ensure_future(asyncio.to_thread(self._load, profile))
        try:
            fresh = await asyncio.shield(loading)
        except asyncio.CancelledError:
            loading.add_done_callback(_close_unwanted)  # a load cannot be stopped, but what it brings can be let go
            raise
        try:
            yield fresh
        except BaseException:  # nobody else knows of it
            await asyncio.to_thread(fresh.close)
            raise

    async def put_in_service(
        self, fresh: Encoder, profile: MemoryProfile, use: Callable[[Space], Awaitable[None]]
    ) -> Space:
        """Let an embedder take the place of the one that serves; return its space.

        Args:
            fresh: what `beside` gave.
            profile: what it was loaded for.
            use: told the new space at the moment of the swap, while nothing is being embedded; if it raises, the old
                embedder stays.
        """
        async with self.swapping:
            await use(fresh.space)
            old, self._encoder, self._profile = self._encoder, fresh, profile
        if old is not None:  # behind the questions that still hold it; nobody waits for that, so nothing can cut it off
            self._worker_of(old, 0).submit_at(Priority.BACKGROUND, old.close)
        return fresh.space

    def get_statistics(self) -> dict[str, int]:
        """Counts since the start: ``encoded``, documents; ``not_finite``, texts of which the model made no numbers."""
        return {"encoded": self.encoded, "not_finite": self.not_finite}

    async def close(self) -> None:
        """Free the model; may be called twice."""
        if self._encoder is not None:
            encoder, self._encoder = self._encoder, None
            await self._worker.run(encoder.close)
        if self._waiting is not None:
            for worker in self._waiting:
                worker.shutdown(wait=False)
            self._waiting = None

    async def _ready(self) -> Encoder:
        async with self._loading:
            if self._encoder is None:
                self._encoder = await self._worker.run(self._load, self._profile)
            return self._encoder


def _close_unwanted(loading: asyncio.Future[Encoder]) -> None:
    if not loading.cancelled() and loading.exception() is None:
        loading.result().close()


def _waits_for_a_server(encoder: Encoder) -> bool:
    return getattr(encoder, "is_remote", False) is True


def _stored(vector: NDArray[np.float32]) -> NDArray[np.float16]:
    return vector.astype("float16")
