"""The PostgreSQL store on synthetic messages: ``python -m tests.benchmarks.bench_postgres``.

``speed`` with 100,000 messages in one guild; ``processes``: two and four write and ask at once, ``--minutes 10`` that
long each, and a row says what came of it; ``kills``: kill -9 of a process and of the server, and how long until it
answers. Needs the packages of ``tests/requirements.txt``, which bring a server (given 1 GB of shared_buffers), or one
named in MEMORY_TEST_DATABASE; that one is not killed. Vectors lie around 2,000 centres, as texts on some thousand
subjects do.
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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from cogs.memory.stores.postgres import PostgresStore
from cogs.memory.stores.postgres_connections import drop_schema
from tests.benchmarks.bench_store import BATCH, DIM, GUILD, Words, batches, messages, scope
from tests.benchmarks.postgres_processes import killed_process, killed_server, together
from tests.benchmarks.postgres_samples import SCHEMA, SPACE, Vectors, ask, embedding
from tests.postgres_server import start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

PARTS = ("speed", "processes", "kills")
INDEXED = 3000
"""Vectors that are put into an index that is there."""
QUESTIONS = 100


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
        await self.store._connections.execute("VACUUM (ANALYZE) vectors")  # as autovacuum would, in minutes
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
        number = random.randrange(1 << 40, 1 << 41)
        await ask(self.store, scope(1.0), self._words.content_words(4), self._vectors.of(number))

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


async def run(parts: Collection[str], count: int, minutes: float) -> dict[str, Any]:
    report: dict[str, Any] = {}
    given = os.environ.get("MEMORY_TEST_DATABASE")
    with tempfile.TemporaryDirectory(prefix="memory-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        server = None if given else tuned(folder)
        dsn = str(server.get_uri()) if server else str(given)
        await drop_schema(dsn, SCHEMA)
        if "speed" in parts:
            bench = Bench(dsn, count, server.get_pid() if server else None)
            await bench.run()
            report["speed"] = bench.figures
        if "processes" in parts:
            report["processes"] = [await together(dsn, processes, 60 * minutes) for processes in (2, 4)]
        if "kills" in parts:
            report["kills"] = [await killed_process(dsn)]
            if server is not None:
                report["kills"].append(await killed_server(folder, dsn, server.get_pid()))
        await drop_schema(dsn, SCHEMA)
        if server is not None:
            start(folder).cleanup()
    return report


def tuned(folder: Path) -> Any:
    """A server with the memory that `postgres.md` asks for; what it starts with is meant for the smallest machines."""
    server = start(folder)
    server.psql("ALTER SYSTEM SET shared_buffers = '1GB'")
    server.cleanup()
    return start(folder)


def show(report: dict[str, Any]) -> None:
    for name, value in report.get("speed", {}).items():
        print(f"{name:34} {value:12.2f}")
    for part in ("processes", "kills"):
        rows = report.get(part, [])
        if rows:
            print(" | ".join(rows[0]))
        for row in rows:
            print(" | ".join(f"{value:,.1f}" if isinstance(value, float) else f"{value}" for value in row.values()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=0.5, help="of two processes at once, then of four")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report = asyncio.run(run(arguments.only, arguments.messages, arguments.minutes))
    if arguments.json:
        print(json.dumps(report))
    else:
        show(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
