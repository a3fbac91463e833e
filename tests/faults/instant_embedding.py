"""An embedder that costs nothing: vectors that follow from the text, for what is about order and not about meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.embedders import EncodedQuery, EncodedText
from cogs.memory.embedding_service import EmbeddingService
from cogs.memory.worker import ModelWorker
from profiles import load_profile
from tests.stores.samples import SPACE, vector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.records import Space
    from cogs.memory.stores import MemoryStore


class InstantEncoder:
    """Gives each text the vector of its checksum.

    Args:
        space: of its vectors; by default that of the store tests.
    """

    def __init__(self, space: Space = SPACE) -> None:
        self.space = space

    def encode(self, texts: Sequence[str]) -> list[EncodedText]:
        """Vectors and sketches of texts."""
        return [EncodedText(vector(sum(text.encode()) % 1000), b"\x01\x02\x03\x04") for text in texts]

    def encode_query(self, text: str) -> EncodedQuery:
        """The vectors of a question."""
        tokens = np.ones((1, SPACE.sketch_dim), dtype=np.float32) / SPACE.sketch_dim**0.5
        return EncodedQuery(vector(sum(text.encode()) % 1000), tokens, ((0, len(text)),))

    def close(self) -> None:
        """Free nothing."""


async def instant_embedding(store: MemoryStore) -> EmbeddingService:
    """Return a service with that encoder, and have the store use its space."""
    service = EmbeddingService(load_profile("embedded"), ModelWorker(), load=lambda _: InstantEncoder())
    await store.use_space(await service.start())
    return service
