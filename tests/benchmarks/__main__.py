"""All benchmarks, one after the other: ``make bench``."""

from __future__ import annotations

import runpy

for name in ("bench_recall", "bench_context", "bench_memory", "bench_store", "bench_access", "bench_reranker"):
    print(f"\n== {name} (python -m tests.benchmarks.{name})", flush=True)
    runpy.run_module(f"tests.benchmarks.{name}", run_name="__main__")
