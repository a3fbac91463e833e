"""How fast recall is, and how it grows: ingest, recall, one more message, memory, a cold start.

    python -m tests.benchmarks.bench_recall [--messages 10000 100000] [--ingest 2000]
        [--embedder-dtype float32] [--json]

Texts are the sample server's with a number behind them, spread over 40 channels. ``--ingest`` of them take the real way
through the embedder; the others get the vector and the sketch of their text with noise, for embedding 100,000 messages
would take longer than everything else. Questions are the sample server's, each asked once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as bot.py does

import numpy as np
import psutil

from cogs.memory.evaluation import percentile, read_evaluation
from cogs.memory.memory_service import MemoryService
from cogs.memory.records import ChannelInfo, Embedding, Scope, StoredMessage
from profiles import load_profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cogs.memory.embedders import EncodedText
    from profiles.memory_profile import EmbedderDType

ROOT = Path(__file__).parents[2]
QUESTIONS = ROOT / "data" / "sample" / "questions.json"
GUILD = 1
CHANNELS = 40
BLOCK = 1000
START = datetime(2024, 1, 1, tzinfo=UTC)


def texts() -> tuple[list[tuple[str, str]], list[str]]:
    """The sample server's (author, content) pairs and its questions."""
    channels = read_evaluation(QUESTIONS)
    said = [(m.author_name, m.content) for channel in channels for m in channel.messages if m.content]
    return said, [query.text for channel in channels for query in channel.queries]


def messages(said: Sequence[tuple[str, str]], first: int, count: int) -> Iterator[StoredMessage]:
    """``count`` messages with ids from ``first`` on."""
    for number in range(first, first + count):
        author, content = said[number % len(said)]
        yield StoredMessage(
            id=number,
            guild_id=GUILD,
            channel_id=1 + number // 25 % CHANNELS,
            author_id=1 + sum(map(ord, author)),
            author_name=author,
            content=f"{content} {number}",
            created_at=START + timedelta(seconds=40 * number),
        )


class Bench:
    """One growing memory."""

    def __init__(self, memory: MemoryService) -> None:
        self.memory = memory
        self.said, self.questions = texts()
        self.scope = Scope(GUILD, frozenset(range(1, CHANNELS + 1)))
        self.size = 0
        self._random = np.random.default_rng(5)
        self._known: list[EncodedText] = []

    async def ingest(self, count: int) -> float:
        """Take ``count`` messages the real way; return messages per second."""
        start = time.perf_counter()
        await self.memory.remember(list(messages(self.said, self.size + 1, count)))
        await self.memory.queue.embedded()
        self.size += count
        return count / (time.perf_counter() - start)

    async def grow(self, size: int) -> None:
        """Fill up to ``size`` messages with vectors that cost nothing."""
        if not self._known:
            self._known = await self.memory.embedding.encode([f"{a}: {c}" for a, c in self.said])
        while self.size < size:
            block = list(messages(self.said, self.size + 1, min(BLOCK, size - self.size)))
            await self.memory.store.upsert(block)
            await self.memory.store.put_embeddings([self._embedding(message) for message in block])
            self.size += len(block)

    def _embedding(self, message: StoredMessage) -> Embedding:
        known = self._known[message.id % len(self.said)]
        vector = known.vector + self._random.normal(scale=0.01, size=known.vector.shape)
        vector /= np.linalg.norm(vector)
        return Embedding(message.id, message.content_hash, vector.astype(np.float16), known.sketch)

    async def recall(self) -> dict[str, float]:
        """Ask every question once; return milliseconds."""
        for question in self.questions[:5]:
            await self.memory.recall(f"{question} please", self.scope)
        times = []
        stages: dict[str, float] = {}
        processor = time.process_time()
        for question in self.questions:
            start = time.perf_counter()
            trace = (await self.memory.recall(question, self.scope)).trace
            times.append((time.perf_counter() - start) * 1000)
            for stage in trace.stages:
                stages[stage.name] = stages.get(stage.name, 0) + stage.milliseconds / len(self.questions)
        times.sort()
        return {
            "p50": percentile(times, 50),
            "p95": percentile(times, 95),
            "cpu_ms": round((time.process_time() - processor) * 1000 / len(times), 2),
            **{k: round(v, 2) for k, v in stages.items()},
        }

    async def one_more(self) -> float:
        """Milliseconds until one more message can be found by its vector; the median of 20."""
        times = []
        for message in messages(self.said, self.size + 1, 20):
            start = time.perf_counter()
            await self.memory.remember([message])
            await self.memory.queue.embedded()
            times.append((time.perf_counter() - start) * 1000)
        self.size += 20
        return percentile(sorted(times), 50)


async def measure(sizes: Sequence[int], ingest: int, dtype: EmbedderDType = "auto") -> list[dict[str, Any]]:
    """Return one row per size."""
    rows = []
    process = psutil.Process()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        profile = replace(load_profile("embedded"), query_cache_size=1, embedder_dtype=dtype)
        async with MemoryService.on_folder(profile, Path(folder) / "memory") as memory:
            bench = Bench(memory)
            await memory.name_channels([ChannelInfo(c, GUILD, f"channel-{c}") for c in range(1, CHANNELS + 1)])
            rate = await bench.ingest(ingest)
            for size in sizes:
                await bench.grow(size)
                row = {"messages": size, "ingest_messages_per_s": round(rate, 1), "recall_ms": await bench.recall()}
                row["one_more_message_ms"] = await bench.one_more()
                row["rss_mb"] = round(process.memory_info().rss / 1e6)
                stats = await memory.stats()
                row["disk_bytes_per_message"] = round(stats.bytes_on_disk / stats.messages)
                rows.append(row)
    return rows


def cold_start() -> dict[str, float]:
    """Seconds of ``bot.py recall`` in a new process on the sample server, and of importing the cog."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "MEMORY_PROFILE": "embedded"}

    def seconds(*command: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True, capture_output=True)
        return round(time.perf_counter() - start, 2)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        data = str(Path(folder) / "memory")
        exports = [str(path) for path in sorted((ROOT / "data" / "sample").glob("kettle-*.json"))]
        seconds("bot.py", "import", *exports, "--data", data)
        recalls = sorted(seconds("bot.py", "recall", "when is game night", "--data", data) for _ in range(3))
    return {"recall_s": recalls[1], "import_cog_s": seconds("-c", "import cogs.memory")}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--ingest", type=int, default=2000)
    parser.add_argument("--embedder-dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    cold = cold_start()
    rows = asyncio.run(measure(sorted(arguments.messages), arguments.ingest, arguments.embedder_dtype))
    if arguments.json:
        print(json.dumps({"cold": cold, "rows": rows}, indent=1))
        return
    print(f"cold start: bot.py recall {cold['recall_s']} s, import cogs.memory {cold['import_cog_s']} s")
    for row in rows:
        recall = row["recall_ms"]
        print(
            f"{row['messages']:>9,} messages: ingest {row['ingest_messages_per_s']:.0f}/s, recall p50 {recall['p50']} "
            f"p95 {recall['p95']} ms, one more message {row['one_more_message_ms']} ms, RSS {row['rss_mb']} MB, "
            f"{row['disk_bytes_per_message']:,} bytes on disk a message"
        )
        print("          " + ", ".join(f"{k} {v} ms" for k, v in recall.items() if k not in ("p50", "p95")))


if __name__ == "__main__":
    main()
