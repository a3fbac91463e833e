"""How much RAM a process takes with the embedded profile, each reading in a fresh process.

    python -m tests.benchmarks.bench_memory [--messages 20000 100000] [--ingest 2000] [--json]

``ingest`` takes messages in the real way through the embedder; ``serve`` opens a memory of so many messages, waits for
its vector index and answers the sample server's questions. RSS in MB, after a pause in which nothing happens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as bot.py does

import psutil

from cogs.memory.memory_service import MemoryService
from profiles import load_profile
from tests.benchmarks.bench_recall import Bench

JOBS = ("fill", "ingest", "serve")


async def job(name: str, folder: Path, count: int) -> dict[str, Any]:
    """Do one job in this process and read its RSS."""
    process = psutil.Process()
    profile = replace(load_profile("embedded"), query_cache_size=1)
    async with MemoryService.on_folder(profile, folder) as memory:
        bench = Bench(memory)
        if name == "fill":
            await bench.grow(count)
        elif name == "ingest":
            await bench.ingest(count)
        else:
            while (await memory.stats()).index_ready < 1:  # noqa: ASYNC110  # nothing tells when it is
                await asyncio.sleep(0.05)
            await bench.recall()
        await asyncio.sleep(0.5)
        return {"job": name, "messages": count, "rss_mb": round(process.memory_info().rss / 1e6)}


def in_child(name: str, folder: Path, count: int) -> dict[str, Any]:
    """Run one job in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_memory", "--job", name, "--folder", str(folder)]
    done = subprocess.run([*command, "--messages", str(count)], check=True, capture_output=True, text=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def measure(sizes: list[int], ingest: int) -> list[dict[str, Any]]:
    """Return a row for each reading."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        rows = [in_child("ingest", Path(folder) / "ingest", ingest)]
        for size in sorted(sizes):
            in_child("fill", Path(folder) / str(size), size)
            rows.append(in_child("serve", Path(folder) / str(size), size))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--ingest", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(asyncio.run(job(arguments.job, arguments.folder, arguments.messages[0]))))
        return
    rows = measure(arguments.messages, arguments.ingest)
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(f"{row['job']:>7} {row['messages']:>9,} messages: RSS {row['rss_mb']} MB")
    if len(rows) > 2:
        first, last = rows[1], rows[-1]
        grown = 1e3 * (last["rss_mb"] - first["rss_mb"]) / (last["messages"] - first["messages"])
        print(f"beyond {first['messages']:,} messages: {grown:.2f} kB a message")


if __name__ == "__main__":
    main()
