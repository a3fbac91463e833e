"""What a hit costs: 50 candidates out of the score cache, a model out of the model cache while another one loads.

python -m tests.benchmarks.bench_caches [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from typing import TYPE_CHECKING

from cogs.memory.model_cache import ModelCache, ModelKey
from tests.plugin_rerankers import WordReranker, pairs_for, serving
from tests.tiny_models import chat_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

HITS = 2000


async def score_cache_ms() -> list[float]:
    """Milliseconds of each call whose scores are all known, (HITS,)."""
    pairs = pairs_for("who said that we should fix it?", chat_lines(50))
    async with serving(WordReranker()) as reranking:
        await reranking.score(pairs, deadline_ms=None)
        taken = []
        for _ in range(HITS):
            start = time.perf_counter()
            scores = await reranking.score(pairs, deadline_ms=2000)
            taken.append((time.perf_counter() - start) * 1000)
            assert scores.from_cache == len(pairs)
        return taken


def model_cache_ms() -> list[float]:
    """Milliseconds of each lease of a model that is there, (HITS,)."""
    cache, begun, may_end = ModelCache(), threading.Event(), threading.Event()

    def load_slowly() -> object:
        begun.set()
        may_end.wait()
        return object()

    ready = ModelKey("bench", "family", "ready")
    cache.acquire(ready, object).release()
    loading = threading.Thread(target=cache.acquire, args=(ModelKey("bench", "family", "slow"), load_slowly))
    loading.start()
    begun.wait()
    taken = []
    for _ in range(HITS):
        start = time.perf_counter()
        with cache.acquire(ready, object):
            taken.append((time.perf_counter() - start) * 1000)
    may_end.set()
    loading.join()
    return taken


def figures(milliseconds: Sequence[float]) -> dict[str, float]:
    """Return the percentiles."""
    ordered = sorted(milliseconds)
    return {
        f"p{share}": round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 4) for share in (50, 99, 100)
    }


def main() -> None:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    measured = {"score cache": figures(asyncio.run(score_cache_ms())), "model cache": figures(model_cache_ms())}
    if parser.parse_args().json:
        print(json.dumps(measured, indent=1))
        return
    print(f"{'a hit, ms':<14}{'p50':>9}{'p99':>9}{'max':>9}")
    for name, found in measured.items():
        print(f"{name:<14}" + "".join(f"{value:>9.4f}" for value in found.values()))


if __name__ == "__main__":
    main()
