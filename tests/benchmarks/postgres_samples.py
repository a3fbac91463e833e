"""What the benchmarks of the PostgreSQL store share: vectors that lie as those of texts do, and one whole question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.candidate_retrieval import WIDE
from cogs.memory.records import Embedding, Space, StoredMessage
from tests.benchmarks.bench_store import DIM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cogs.memory.records import Scope
    from cogs.memory.stores.postgres import PostgresStore

SCHEMA = "discord_memory_bench"
SPACE = Space("bench", "1", DIM, "float16", sketch_dim=DIM)
CENTRES = 2000


class Vectors:
    """Unit vectors around some centres; that of a message follows from its id."""

    def __init__(self) -> None:
        self._centres = np.random.default_rng(0).standard_normal((CENTRES, DIM), dtype=np.float32)

    def of(self, number: int) -> NDArray[np.float32]:
        rng = np.random.default_rng(number)
        vector = self._centres[rng.integers(CENTRES)] + 0.7 * rng.standard_normal(DIM, dtype=np.float32)
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def embedding(message: StoredMessage, vectors: Vectors, sketch: bytes) -> Embedding:
    vector = vectors.of(message.id).astype(np.float16)
    return Embedding(message.id, message.content_hash, vector, sketch, message.guild_id)


async def ask(store: PostgresStore, where: Scope, terms: Sequence[str], vector: NDArray[np.float32]) -> None:
    """What one question asks of the store: both legs, what stands around them, sketches, the best rows."""
    hits = [await store.lexical(where, terms, 100), await store.dense(where, vector, 100)]
    around = [await store.surroundings(where, [hit.message_id for hit in leg], WIDE.widened) for leg in hits if leg]
    await store.load(where, [i for each in around for i in each.sketches][:60])
