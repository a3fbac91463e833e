"""What many ask at the same time is done once."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cogs.memory.embedding_service import EmbeddingService
from cogs.memory.exceptions import ScoringFailed, StoreError
from cogs.memory.kept_counts import KeptCounts
from cogs.memory.records import StoreStats
from cogs.memory.worker import ModelWorker
from profiles import load_profile
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from cogs.memory.embedders import EncodedQuery
    from cogs.memory.embedders.minilm import MiniLMEncoder

QUESTIONS = ["where is the key", "tea", "who brought the game with the quilts and the cats", "wann kommt der zug?"]


class Counting:
    """The embedded model, with a count of its passes and one question that it refuses."""

    def __init__(self, encoder: MiniLMEncoder, refused: str | None = None) -> None:
        self.space = encoder.space
        self.encode, self.close = encoder.encode, lambda: None
        self._encoder = encoder
        self._refused = refused
        self.passes: list[int] = []

    def encode_query(self, text: str) -> EncodedQuery:
        self._pass([text])
        return self._encoder.encode_query(text)

    def encode_queries(self, texts: Sequence[str]) -> list[EncodedQuery]:
        self._pass(texts)
        return self._encoder.encode_queries(texts)

    def _pass(self, texts: Sequence[str]) -> None:
        self.passes.append(len(texts))
        if self._refused in texts:
            raise ScoringFailed("not finite")


@pytest.fixture
async def worker() -> AsyncIterator[ModelWorker]:
    worker = ModelWorker()
    yield worker
    worker.shutdown()


async def ask_together(encoder: Counting, worker: ModelWorker) -> list[EncodedQuery | BaseException]:
    """Ask all questions while the worker is busy with something else."""
    service = EmbeddingService(load_profile("embedded"), worker, load=lambda _: encoder)
    await service.start()
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go_on.wait(60)

    worker.submit(hold)
    await until(begun.is_set)  # else the questions would go first
    asked = [asyncio.create_task(service.encode_query(question)) for question in QUESTIONS]
    for _ in range(10):  # the model is loaded: none waits for anything but the worker
        await asyncio.sleep(0)
    go_on.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    return [answer if isinstance(answer, BaseException) else answer[0] for answer in answers]


async def test_questions_that_wait_together_are_encoded_in_one_pass_and_as_if_alone(
    encoder: MiniLMEncoder, worker: ModelWorker
) -> None:
    counting = Counting(encoder)
    together = await ask_together(counting, worker)
    assert counting.passes == [4]
    for question, found in zip(QUESTIONS, together, strict=True):
        alone = encoder.encode_query(question)
        assert not isinstance(found, BaseException)
        assert found.offsets == alone.offsets
        np.testing.assert_allclose(found.vector, alone.vector, atol=1e-5)
        np.testing.assert_allclose(found.token_vectors, alone.token_vectors, atol=1e-5)


async def test_a_question_that_fails_harms_none_that_came_with_it(encoder: MiniLMEncoder, worker: ModelWorker) -> None:
    counting = Counting(encoder, refused="tea")
    together = await ask_together(counting, worker)
    assert [isinstance(each, ScoringFailed) for each in together] == [False, True, False, False]
    assert counting.passes == [4, 1, 1, 1, 1]


def sizes(index_ready: float = 1.0) -> StoreStats:
    return StoreStats(1, 1, 0, (1,), 1, 1, 0, 100, index_ready=index_ready)


async def test_a_guild_is_counted_once_for_a_crowd_and_anew_while_its_index_grows_or_after_a_failure() -> None:
    asked: list[int] = []
    outcomes: list[StoreStats | StoreError] = [sizes(0.5), StoreError("locked"), sizes(), sizes()]

    async def count(guild_id: int) -> StoreStats:
        asked.append(guild_id)
        outcome = outcomes[len(asked) - 1]
        await asyncio.sleep(0)
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    counts = KeptCounts(count, 60)
    crowd = await asyncio.gather(*(counts.get(7) for _ in range(50)))
    assert (len(asked), {each.index_ready for each in crowd}) == (1, {0.5})
    with pytest.raises(StoreError):
        await counts.get(7)
    assert [(await counts.get(7)).index_ready for _ in range(3)] == [1.0] * 3
    assert len(asked) == 3
    counts.forget(7)
    await counts.get(7)
    assert len(asked) == 4
