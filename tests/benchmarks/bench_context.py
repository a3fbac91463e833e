"""What replies are given from the memory: is the answer in it, what does it cost, what is turned away.

    python -m tests.benchmarks.bench_context [FILE…] [--budget 1000] [--messages 10000] [--json]

Files are ``recall-eval/1``; without any, the ones that come with the project. A question counts as covered when at
least one message that answers it, or one of the same words, is quoted; ``all`` is the mean share of its relevant
messages for which that is so. Tokens are those of the safe estimate. ``elsewhere`` is the share of other files'
questions, asked of this file's channels, for which nothing is quoted. Times are those of a memory of ``--messages``
messages.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cogs.memory.context_gate import decide
from cogs.memory.evaluation import GUILD, TemporaryFolder, ingest, percentile, read_evaluation
from cogs.memory.memory_service import MemoryService
from cogs.memory.query_terms import split_words
from cogs.memory.records import ChannelInfo, Scope
from profiles import load_profile
from tests.benchmarks.bench_recall import CHANNELS, ROOT, Bench
from tests.benchmarks.bench_recall import GUILD as BENCH_GUILD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.evaluation import EvaluationChannel

FILES = (ROOT / "data" / "sample" / "questions.json", ROOT / "tests" / "evaluation" / "written_chats.json")
ELSEWHERE = 40
"""Questions of other files asked of each channel."""


@dataclass
class Tally:
    """What the contexts of one file's questions held."""

    questions: int = 0
    covered: int = 0
    shares: float = 0.0
    lines: int = 0
    tokens: int = 0

    def row(self) -> dict[str, float]:
        """Means over the questions."""
        n = max(1, self.questions)
        return {
            "questions": self.questions,
            "covered": round(self.covered / n, 4),
            "all": round(self.shares / n, 4),
            "lines": round(self.lines / n, 1),
            "tokens": round(self.tokens / n),
        }


async def coverage(channels: Sequence[EvaluationChannel], elsewhere: Sequence[str], budget: int) -> dict[str, Any]:
    """Return how much of the answers of one file is inside the contexts."""
    regular, adversarial = Tally(), Tally()
    empty = asked = 0
    others = cycle(elsewhere)
    profile = replace(load_profile("embedded"), injection_deadline_ms=None)  # a busy machine finds the same
    with TemporaryFolder() as folder:
        async with MemoryService.on_folder(profile, folder) as memory:
            await ingest(memory, channels)
            await memory.name_channels(ChannelInfo(c.channel_id, GUILD, f"channel-{c.channel_id}") for c in channels)
            for channel in channels:
                words = {message.id: split_words(message.text) for message in channel.messages}
                scope = Scope(GUILD, frozenset([channel.channel_id]))
                for query in channel.queries:
                    context = await memory.build_context(query.text, scope, token_budget=budget)
                    assert context.tokens <= budget
                    said = [words[source.message.id] for source in context.sources]
                    quoted = [answer for answer in query.relevant if words[answer] in said]
                    tally = adversarial if query.category == "adversarial" else regular
                    tally.questions += 1
                    tally.covered += bool(quoted)
                    tally.shares += len(quoted) / len(query.relevant)
                    tally.lines += len(context.sources)
                    tally.tokens += context.tokens
                for text in islice(others, ELSEWHERE if elsewhere else 0):
                    context = await memory.build_context(text, scope, token_budget=budget)
                    asked, empty = asked + 1, empty + (not context.text)
    return {
        **regular.row(),
        "adversarial": adversarial.row() if adversarial.questions else None,
        "elsewhere": round(empty / asked, 4) if asked else None,
    }


def gate(channels: Sequence[EvaluationChannel]) -> dict[str, float]:
    """Return which share of questions passes, which share of lines that ask nothing is turned away, and its time."""
    questions = [query.text for channel in channels for query in channel.queries]
    lines = [m.content for channel in channels for m in channel.messages if m.content and "?" not in m.content]
    times = []
    for text in [*questions, *lines]:
        start = time.perf_counter()
        decide(text)
        times.append((time.perf_counter() - start) * 1000)
    return {
        "questions_pass": round(sum(decide(text).needed for text in questions) / len(questions), 4),
        "lines_turned_away": round(sum(not decide(text).needed for text in lines) / len(lines), 4),
        "gate_p95_ms": sorted(times)[int(0.95 * len(times))],
        "gate_max_ms": max(times),
    }


async def speed(size: int, budget: int) -> dict[str, float]:
    """Return milliseconds of ``build_context`` at ``size`` messages."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        profile = replace(load_profile("embedded"), query_cache_size=1)
        async with MemoryService.on_folder(profile, Path(folder) / "memory") as memory:
            bench = Bench(memory)
            await memory.name_channels([ChannelInfo(c, BENCH_GUILD, f"channel-{c}") for c in range(1, CHANNELS + 1)])
            await bench.grow(size)
            times = []
            for question in ("is anyone awake out there?", *bench.questions):
                start = time.perf_counter()
                await memory.build_context(question, bench.scope, token_budget=budget)
                times.append((time.perf_counter() - start) * 1000)
    times = sorted(times[1:])
    return {"messages": size, "p50_ms": percentile(times, 50), "p95_ms": percentile(times, 95)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=10_000, help="0 for no measure of time")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    data = {path: read_evaluation(path) for path in arguments.files or FILES}
    rows: dict[str, dict[str, Any]] = {}
    for path, channels in data.items():
        other = [q.text for p, cs in data.items() if p != path for c in cs for q in c.queries]
        elsewhere = other[:: max(1, len(other) // (ELSEWHERE * len(channels)))]
        rows[path.name] = {**asyncio.run(coverage(channels, elsewhere, arguments.budget)), **gate(channels)}
    times = asyncio.run(speed(arguments.messages, arguments.budget)) if arguments.messages else None
    if arguments.json:
        print(json.dumps({"budget": arguments.budget, "files": rows, "build_context": times}, indent=1))
        return
    for name, row in rows.items():
        print(
            f"{name:24} covered {row['covered']:.3f}, all {row['all']:.3f} of {row['questions']:,} questions, "
            f"{row['lines']} lines and {row['tokens']} tokens each; questions from elsewhere left empty "
            f"{row['elsewhere']}; gate: {row['questions_pass']:.1%} of questions pass, {row['lines_turned_away']:.1%} "
            f"of lines are turned away, p95 {row['gate_p95_ms']:.3f} ms"
        )
    if times:
        print(f"build_context at {times['messages']:,} messages: p50 {times['p50_ms']} ms, p95 {times['p95_ms']} ms")


if __name__ == "__main__":
    main()
