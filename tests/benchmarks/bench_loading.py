"""Does loading a first model hold up the one that serves?

    python -m tests.benchmarks.bench_loading [--layers 28] [--dtype bfloat16] [--json]

The embedded embedder answers questions without a pause while a reranker of Qwen3-Reranker-0.6B's shape, with random
weights and 151,000 words, is loaded in a fresh process as the bot does it: libraries, tokenizer, weights, self-tests.
`slow` counts the calls over 50 ms; `wait` is the longest that a call waited for a core, and `others` is how many cores
other programs had (both on Linux; 0 elsewhere): where they had any, long waits say nothing of the load. A third thread
wants to run every millisecond. What it waits for is the interpreter's lock and the processor together (`gap`); where
others work too, only the processor time that the loading thread spent meanwhile bounds how long it held the lock
(`hold`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cogs.memory.embedders.minilm import MiniLMEncoder
from cogs.memory.model_cache import ModelCache
from cogs.memory.model_loading import ModelSources
from cogs.memory.serving_model import ModelLoader
from profiles import MemoryProfile

if TYPE_CHECKING:
    from profiles.memory_profile import DType

WORDS = 151_643
QUIET_S = 5.0
SLOW_MS = 50.0


@dataclass(slots=True)
class Phase:
    """What was seen while the embedder served; milliseconds."""

    name: str
    seconds: float
    calls: int
    call_p50: float
    call_max: float
    slow: int
    """Calls over `SLOW_MS`."""
    longest_wait: float
    """Of a call for a core."""
    others: float
    """Cores that other programs had, on the average."""
    longest_gap: float
    longest_hold: float
    """Processor time of the loading thread in one gap."""


class Watch:
    """Serves and ticks until it is told to stop."""

    def __init__(self, encoder: MiniLMEncoder) -> None:
        self._encoder = encoder
        self._stopped = threading.Event()
        self._calls: list[float] = []
        self._gap = self._hold = self._wait = 0.0
        self.loader: int | None = None

    def during(self, name: str, work: threading.Thread | None) -> Phase:
        """Watch a thread to its end, or nothing for a while."""
        threads = [threading.Thread(target=each) for each in (self._serve, self._tick)]
        start, others = time.perf_counter(), _others_s()
        for thread in threads:
            thread.start()
        if work is None:
            time.sleep(QUIET_S)
        else:
            work.start()
            self.loader = work.ident
            work.join()
        seconds = time.perf_counter() - start
        others = max(0.0, _others_s() - others) / seconds
        self._stopped.set()
        for thread in threads:
            thread.join()
        calls = sorted(self._calls)
        slow = sum(call > SLOW_MS for call in calls)
        figures = (calls[len(calls) // 2], calls[-1], slow, self._wait, others, self._gap, self._hold)
        return Phase(name, seconds, len(calls), *figures)

    def _serve(self) -> None:
        while not self._stopped.is_set():
            waited, start = _waited_ms(), time.perf_counter()  # in this order: to read a file is no part of the call
            self._encoder.encode_query(f"who fixed the router, number {len(self._calls)}?")
            self._calls.append((time.perf_counter() - start) * 1000)
            self._wait = max(self._wait, _waited_ms() - waited)

    def _tick(self) -> None:
        last, spent = time.perf_counter(), self._spent()
        while not self._stopped.is_set():
            time.sleep(0.001)
            now, then = time.perf_counter(), self._spent()
            self._gap = max(self._gap, (now - last) * 1000)
            self._hold = max(self._hold, (then - spent) * 1000 if now - last > 0.005 else 0.0)
            last, spent = time.perf_counter(), self._spent()

    def _spent(self) -> float:
        """Processor seconds of the loading thread; as before once it has ended."""
        if self.loader is None:
            return 0.0
        try:
            return time.clock_gettime(time.pthread_getcpuclockid(self.loader))
        except OSError:
            return 0.0


def _waited_ms() -> float:
    """Milliseconds that this thread was ready to run and had no core."""
    if sys.platform != "linux":
        return 0.0
    return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e6


def _others_s() -> float:
    """Processor seconds of other programs since the machine's start."""
    if sys.platform != "linux":
        return 0.0
    ticks = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]]
    busy = sum(ticks[:8]) - ticks[3] - ticks[4]  # of user, nice, system, idle, iowait, irq, softirq, steal
    return busy / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make_model(arguments.make, arguments.layers)
        return
    with tempfile.TemporaryDirectory() as folder:  # made elsewhere: here nothing may be imported before it is timed
        make = [sys.executable, "-m", __spec__.name, "--make", folder, "--layers", str(arguments.layers)]
        subprocess.run(make, check=True, capture_output=True)
        phases = run(Path(folder), arguments.dtype)
    if arguments.json:
        print(json.dumps([asdict(phase) for phase in phases], indent=1))
        return
    print(
        f"{'ms':<12}{'seconds':>9}{'calls':>8}{'slow':>6}{'p50':>8}{'max':>8}{'wait':>8}{'others':>8}{'gap':>8}{'hold':>8}"
    )
    for phase in phases:
        figures = (
            phase.call_p50,
            phase.call_max,
            phase.longest_wait,
            phase.others,
            phase.longest_gap,
            phase.longest_hold,
        )
        counts = f"{phase.name:<12}{phase.seconds:>9.1f}{phase.calls:>8}{phase.slow:>6}"
        print(counts + "".join(f"{figure:>8.1f}" for figure in figures))


def run(folder: Path, dtype: DType) -> list[Phase]:
    """Watch nothing, a first load, and a second one of the same model."""
    encoder = MiniLMEncoder.load(threads=1)
    encoder.encode_query("to warm up")

    profile = MemoryProfile(name="bench", reranker="qwen3", reranker_model=folder.name, dtype=dtype)

    def load() -> None:
        models = ModelCache()
        ModelLoader(models, ModelSources(folder.parent).load_reranker).lease(profile).lease.release()
        models.close()

    works = {"quiet": None, "first load": threading.Thread(target=load), "second load": threading.Thread(target=load)}
    return [Watch(encoder).during(name, work) for name, work in works.items()]


def make_model(folder: Path, layers: int) -> None:
    """Save random weights of the 0.6B's shape, and a tokenizer of as many words, most of them made up."""
    from tests.benchmarks.bench_reranker import _make_model

    _make_model(folder, layers)
    file = folder / "tokenizer.json"
    definition = json.loads(file.read_text(encoding="utf-8"))
    vocabulary, merges = definition["model"]["vocab"], definition["model"]["merges"]
    chance, tokens = random.Random(0), list(vocabulary)
    while len(vocabulary) < WORDS - len(definition["added_tokens"]):
        pair = [chance.choice(tokens), chance.choice(tokens[:3000])]
        if len(word := "".join(pair)) <= 16 and word not in vocabulary:
            vocabulary[word] = len(vocabulary)
            tokens.append(word)
            merges.append(pair)
    definition["model"]["vocab"] = {word: number for number, word in enumerate(vocabulary)}
    for number, token in enumerate(definition["added_tokens"]):
        token["id"] = len(vocabulary) + number
    file.write_text(json.dumps(definition), encoding="utf-8")


if __name__ == "__main__":
    main()
