"""All benchmarks, one after the other: ``make bench``."""

from __future__ import annotations

import runpy

NAMES = ("recall", "context", "memory", "store", "postgres", "access", "commands", "reranker", "loading", "caches")

for name in (f"bench_{name}" for name in NAMES):
    print(f"\n== {name} (python -m tests.benchmarks.{name})", flush=True)
    runpy.run_module(f"tests.benchmarks.{name}", run_name="__main__")
