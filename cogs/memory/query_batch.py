"""Questions that wait for the model at the same time go through it together."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

from cogs.memory.embedders import BatchesQueries

if TYPE_CHECKING:
    from cogs.memory.embedders import EncodedQuery, Encoder
    from cogs.memory.worker import ModelWorker

log = logging.getLogger(__name__)

MOST = 32
"""Questions in one pass: beyond it a pass takes longer, not less time for each."""


class QueryBatch:
    """Takes questions for one encoder until the worker thread gets to it.

    A question alone costs a pass of its own, ten milliseconds of mostly overhead; fifty at once would wait for fifty
    of them. Nobody waits for a batch to fill: it is whatever came while the thread was busy.

    Args:
        encoder: what encodes them.
        worker: the thread that it works on.
        text: the first question; its number is 0.
    """

    def __init__(self, encoder: Encoder, worker: ModelWorker, text: str) -> None:
        self.encoder = encoder
        self._texts = [text]
        self._closed = False
        self._lock = threading.Lock()
        self._results = asyncio.ensure_future(worker.run(self._encode))
        self._results.add_done_callback(_look_at)

    def join(self, text: str) -> int | None:
        """Add a question and return its number; None if the batch has left or is full."""
        with self._lock:
            if self._closed or len(self._texts) == MOST:
                return None
            self._texts.append(text)
            return len(self._texts) - 1

    async def result(self, number: int) -> EncodedQuery:
        """Wait for a question's vectors. Raises what its encoding raised."""
        result = (await asyncio.shield(self._results))[number]
        if isinstance(result, Exception):
            raise result
        return result

    def _encode(self) -> list[EncodedQuery | Exception]:
        with self._lock:
            self._closed = True
        if len(self._texts) > 1 and isinstance(self.encoder, BatchesQueries):
            try:
                return [*self.encoder.encode_queries(self._texts)]
            except Exception:  # noqa: BLE001 - each is asked alone, and fails with its own error
                log.warning("Questions could not be encoded together; each is encoded alone")
        return [self._alone(text) for text in self._texts]

    def _alone(self, text: str) -> EncodedQuery | Exception:
        try:
            return self.encoder.encode_query(text)
        except Exception as error:  # noqa: BLE001 - it belongs to the one who asked this question
            return error


def _look_at(results: asyncio.Future[list[EncodedQuery | Exception]]) -> None:
    """Take note of a failure of the thread itself, also when all who asked have gone."""
    if not results.cancelled():
        results.exception()
