"""Speed of the embedded store on synthetic messages: ``python -m tests.benchmarks.bench_store``.

Times are wall-clock; the processor time of all threads, beside them, means something on a busy machine too.
Words follow Zipf's law over 20,000 forms, vectors are random directions, sketches 15 tokens of 48 bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import resource
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.records import Embedding, Scope, Space, StoredMessage
from cogs.memory.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

GUILD = 1
CHANNELS = 300
AUTHORS = 1000
DIM = 384
BATCH = 500
START = datetime(2020, 1, 1, tzinfo=UTC)
VOCABULARY = [f"{a}{b}{c}" for a in "bcdfghklmn" for b in ("ar", "el", "is", "on", "ut") for c in map(str, range(400))]


class Words:
    """Draws words: the n-th most frequent with probability proportional to 1 / n."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._weights = list(accumulate(1 / rank for rank in range(1, len(VOCABULARY) + 1)))

    def seed(self, seed: int) -> None:
        """Begin anew."""
        self._random.seed(seed)

    def sentence(self, words: int) -> str:
        return " ".join(self._random.choices(VOCABULARY, cum_weights=self._weights, k=words))

    def content_words(self, count: int) -> list[str]:
        """Words such as questions consist of once the stop-words are gone: ranks 100 to 5,000."""
        return self._random.sample(VOCABULARY[100:5000], count)


def messages(count: int) -> Iterator[StoredMessage]:
    words, rng = Words(0), random.Random(1)
    for i in range(1, count + 1):
        author = rng.randrange(AUTHORS)
        yield StoredMessage(
            id=i << 22,
            guild_id=GUILD,
            channel_id=1 + min(rng.randrange(CHANNELS), rng.randrange(CHANNELS)),
            author_id=1 + author,
            author_name=f"author{author}",
            content=words.sentence(rng.randrange(3, 25)),
            created_at=START + timedelta(minutes=i),
            reply_to=(i - rng.randrange(1, min(i, 50))) << 22 if i > 2 and rng.random() < 0.2 else None,
        )


def batches(source: Iterator[StoredMessage]) -> Iterator[list[StoredMessage]]:
    while batch := list(islice(source, BATCH)):
        yield batch


def scope(share: float, **filters: object) -> Scope:
    return Scope(GUILD, frozenset(range(1, 1 + max(1, round(CHANNELS * share)))), **filters)  # type: ignore[arg-type]


class Bench:
    """Runs the steps against one store and keeps the figures."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count
        self.store = SqliteStore(folder, query_deadline_s=10.0)
        self.figures: dict[str, float] = {}
        self._rng = np.random.default_rng(0)
        self._words = Words(2)

    async def run(self) -> None:
        await self.store.open()
        await self.store.use_space(Space("bench", "1", DIM, "float16", sketch_dim=DIM))
        await self._load()
        await self._embed()
        await self._reads()
        await self._changes()
        await self._reopen()
        self.figures["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        await self.store.close()

    async def _load(self) -> None:
        spent = processor = 0.0
        for batch in batches(messages(self.count)):
            start, used = time.perf_counter(), time.process_time()
            await self.store.upsert(batch)
            spent += time.perf_counter() - start
            processor += time.process_time() - used
        self.figures["upsert_messages_per_s"] = self.count / spent
        self.figures["upsert_messages_per_cpu_s"] = self.count / processor

    async def _embed(self) -> None:
        spent = claimed = 0.0
        while True:
            start = time.perf_counter()
            waiting = await self.store.claim_unembedded(BATCH)
            claimed += time.perf_counter() - start
            if not waiting:
                break
            vectors = self._unit(len(waiting)).astype(np.float16)
            sketch = self._rng.bytes(15 * DIM // 8)
            made = [Embedding(m.id, m.content_hash, v, sketch) for m, v in zip(waiting, vectors, strict=True)]
            start = time.perf_counter()
            await self.store.put_embeddings(made)
            spent += time.perf_counter() - start
        self.figures["put_embeddings_per_s"] = self.count / spent
        self.figures["claim_500_ms"] = 1000 * claimed / (self.count / BATCH)
        self.figures["bytes_a_message"] = (await self.store.stats()).bytes_on_disk / self.count

    async def _reads(self) -> None:
        ids = [i << 22 for i in random.Random(3).sample(range(1, self.count + 1), min(300, self.count))]
        for share in (1.0, 0.1, 0.01):
            percent = f"{share:.0%}"
            await self._time(f"dense_100_of_{percent}", 40, partial(self._dense, scope(share)))
            await self._time(f"lexical_4_words_{percent}", 100, partial(self._lexical, scope(share)))
        await self._time("lexical_frequent_word", 20, lambda: self.store.lexical(scope(1), VOCABULARY[:1], 100))
        await self._time("dense_one_author", 40, lambda: self._dense(scope(1, author_ids=frozenset({5}))))
        half = START + timedelta(minutes=self.count // 2)
        await self._time("dense_after_half", 40, lambda: self._dense(scope(1, after=half)))
        await self._time("load_300", 40, lambda: self.store.load(scope(1), ids))
        await self._time("neighbours_200", 40, lambda: self.store.neighbours(scope(1), ids[:200]))
        await self._time("filter_200", 40, lambda: self.store.filter(scope(1), ids[:200]))
        await self._time("authors", 5, lambda: self.store.authors(GUILD))
        await self._time("stats", 5, lambda: self.store.stats(GUILD))

    async def _changes(self) -> None:
        words = Words(4)
        fresh = iter(list(islice(messages(self.count + 300), self.count, None)))
        known = iter(list(islice(messages(self.count), 0, None, max(1, self.count // 300))))
        await self._time("upsert_one", 200, lambda: self.store.upsert([next(fresh)]))

        async def edit() -> None:
            message = next(known)
            fields = {name: getattr(message, name) for name in StoredMessage.__dataclass_fields__}
            await self.store.upsert([StoredMessage(**{**fields, "content": words.sentence(10)})])

        await self._time("edit_one", 200, edit)
        doomed = iter(random.Random(5).sample(range(1, self.count), 200))
        await self._time("delete_one", 200, lambda: self.store.delete(GUILD, [next(doomed) << 22]))
        await self._time("erase_author", 1, lambda: self.store.erase(GUILD, author_id=7))

    async def _reopen(self) -> None:
        await self.store.close()
        self.store = SqliteStore(self.folder)
        start = time.perf_counter()
        await self.store.open()
        self.figures["open_ms"] = 1000 * (time.perf_counter() - start)
        while (await self.store.stats()).index_ready < 1:  # noqa: ASYNC110  # the protocol has nothing to wait for
            await asyncio.sleep(0.05)
        self.figures["index_rebuilt_s"] = time.perf_counter() - start

    async def _lexical(self, where: Scope) -> object:
        return await self.store.lexical(where, self._words.content_words(4), 100)

    async def _dense(self, where: Scope) -> object:
        return await self.store.dense(where, self._unit(1)[0], 100)

    def _unit(self, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        vectors = self._rng.standard_normal((count, DIM), dtype=np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)

    async def _time(self, name: str, repeats: int, call: Callable[[], Awaitable[object]]) -> None:
        spent = []
        gc.collect()
        processor = time.process_time()
        for _ in range(repeats):
            start = time.perf_counter()
            await call()
            spent.append(1000 * (time.perf_counter() - start))
        self.figures[f"{name}_cpu_ms"] = 1000 * (time.process_time() - processor) / repeats
        self.figures[f"{name}_ms_p50"] = statistics.median(spent)
        if repeats > 1:
            self.figures[f"{name}_ms_p95"] = sorted(spent)[int(0.95 * repeats)]


def main() -> int:
    parser = argparse.ArgumentParser(description="Time the embedded store.")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), arguments.messages)
        asyncio.run(bench.run())
    if arguments.json:
        print(json.dumps(bench.figures))
    else:
        for name, value in bench.figures.items():
            print(f"{name:34} {value:12.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
