"""A model that gives NaN: nothing of it is stored, the neighbours are unharmed, and words still find the message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from cogs.memory.embedders.minilm import MiniLMEncoder
from cogs.memory.exceptions import ScoringFailed
from cogs.memory.memory_service import MemoryService
from cogs.memory.records import Scope
from profiles import load_profile
from tests.conftest import CHANNEL, GUILD, said

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cogs.memory.embedders import EncodedText
    from cogs.memory.embedding_service import LoadEncoder

SCOPE = Scope(GUILD, frozenset([CHANNEL]))


@pytest.mark.parametrize("raises", [False, True])
async def test_a_vector_that_is_not_finite_is_refused_and_counted(
    tmp_path: Path, load_shared: LoadEncoder, monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    encode = MiniLMEncoder.encode

    def poisoned(self: MiniLMEncoder, texts: Sequence[str]) -> list[EncodedText]:
        encoded = encode(self, texts)
        for text, each in zip(texts, encoded, strict=True):
            if "poison" in text:
                if raises:
                    raise ScoringFailed("not finite")
                each.vector[:] = np.nan
        return encoded

    monkeypatch.setattr(MiniLMEncoder, "encode", poisoned)
    async with MemoryService.on_folder(load_profile("embedded"), tmp_path, load=load_shared) as memory:
        await memory.remember([said(1, "the key is under the mat"), said(2, "poison in the tea"), said(3, "buy cake")])
        await memory.queue.embedded()
        assert memory.embedding.get_statistics() == {"encoded": 3, "not_finite": 1}
        assert (await memory.stats(GUILD)).awaiting == 0
        rows = await memory.store.load(SCOPE, [1, 2, 3])
        assert all(row.vector is not None and np.isfinite(row.vector).all() for row in rows.values())
        assert (await memory.recall("where is the key?", SCOPE)).results[0].message.id == 1
        assert 2 in {result.message.id for result in (await memory.recall("poison", SCOPE)).results}


async def test_a_question_without_a_finite_vector_is_answered_by_words(
    memory: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_query = MiniLMEncoder.encode_query

    def poisoned(self: MiniLMEncoder, text: str) -> object:
        encoded = encode_query(self, text)
        encoded.token_vectors[:] = np.inf
        return encoded

    await memory.remember([said(1, "the key is under the mat"), said(2, "buy cake")])
    await memory.queue.embedded()
    monkeypatch.setattr(MiniLMEncoder, "encode_query", poisoned)
    recall = await memory.recall("where is the key?", SCOPE)
    assert recall.results[0].message.id == 1
    assert all(np.isfinite(result.score) for result in recall.results)
