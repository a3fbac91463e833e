"""How soon a slash command is acknowledged while the bot reranks, loads its models anew and reads a server's history.

    python -m tests.benchmarks.bench_commands [--questions 40] [--pause 0.25] [--json]

The unmodified program runs as a child on the loopback Discord, with a random Qwen3 of a few million weights as its
reranker. Discord takes no acknowledgement after three seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from pathlib import Path

from tests.surface.cog.under_load import busy_house


async def measure(questions: int, pause_s: float) -> dict[str, float | int | str]:
    """Ask, and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        async with busy_house(Path(folder)) as house:
            load = await house.ask_while_all_goes_on(questions, pause_s)
    acknowledged = load.acknowledged_s
    return {
        "questions": len(load.asked),
        "answered": sum(bool(reply.embeds) for reply in load.asked),
        "acknowledged_ms_p50": round(1000 * statistics.median(acknowledged), 1),
        "acknowledged_ms_max": round(1000 * acknowledged[-1], 1),
        "history_pages_meanwhile": load.pages_after - load.pages_before,
        "models_reloaded_meanwhile": int(load.reload is not None and load.reload.is_answered),
    }


def main() -> None:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--pause", type=float, default=0.25, help="seconds between two questions")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.questions, arguments.pause))
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{name:28} {figure:>8}")


if __name__ == "__main__":
    main()
