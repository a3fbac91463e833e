"""Every call below the store and the memory fails once, in every way; the store stays sound, the memory goes on."""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cogs.memory import ingest_lane
from cogs.memory.stores import sqlite_vectors
from tests.faults import memory_story, store_story
from tests.faults.embedder import load
from tests.faults.nth_call import KINDS
from tests.soak.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Story = Callable[[Path, int, str], Awaitable[tuple[bool, str]]]


def run(*, seed: int, scale: float) -> list[Figure]:
    """Try every n at scale 1, a part of them below."""
    ingest_lane.RETRY_S = sqlite_vectors.REBUILD_AGAIN_S = 0.01
    stride = max(1, round(1 / scale))
    stories: dict[str, Story] = {
        "store": store_story.fail_once,
        "running memory": lambda folder, n, kind: memory_story.fail_once(folder, n, kind, load),
    }
    return [asyncio.run(_try(name, story, seed, stride)) for name, story in stories.items()]


async def _try(name: str, story: Story, seed: int, stride: int) -> Figure:
    calls = 0
    violations: list[str] = []
    for kind in KINDS:
        n = 1 + random.Random(f"{seed} {kind}").randrange(stride)
        more = True
        while more:
            with tempfile.TemporaryDirectory(prefix="discord-memory-") as folder:
                try:
                    more, _ = await story(Path(folder) / "memory", n, kind)
                except (AssertionError, TimeoutError) as error:
                    violations.append(f"{kind}, call {n}: {type(error).__name__}")
            calls += more
            n += stride
    value = f"{len(violations)} violations over {calls:,} failed calls of {len(KINDS)} kinds"
    return Figure(f"n-th call fails: {name}", "; ".join([value, *violations[:3]]), not violations, seed, "0 violations")
