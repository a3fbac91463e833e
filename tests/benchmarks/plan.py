"""What a memory of some size needs, by the measured cost of a message: ``make plan``.

    python -m tests.benchmarks.plan [--guilds 1 10 100 1000] [--messages 1000 100000 10000000] [--daily 0.01] [--json]

For each engine: disk, RAM (the bot's process; for PostgreSQL also what the server should hold), the time and the
processor time of a question when all channels of its server are searched, and the processor's hours to embed what is
there and what is written each day. The unit costs stand in ``unit_costs.json`` with the commands that measured them;
the last table puts what the formulas say beside what was measured. Beyond the measured sizes it is an extrapolation,
and says so.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from cogs.memory.stores.postgres_dense import EXACT_LIMIT

COSTS: Final = json.loads((Path(__file__).parent / "unit_costs.json").read_text("utf-8"))
MEASURED_UP_TO: Final = 1_000_000
"""Messages in one guild; larger ones are extrapolated."""
ENGINES: Final = ("embedded", "postgresql")


@dataclass(frozen=True, slots=True)
class Plan:
    """What one size needs."""

    engine: str
    guilds: int
    messages_per_guild: int
    disk_gb: float
    bot_ram_gb: float
    server_ram_gb: float
    recall_ms: float
    recall_cpu_ms: float
    """Processor time of one question, in the bot and the server together."""
    rebuild_s: float
    """Seconds after a start until the search by meaning is complete."""
    embed_hours: float
    """Hours of one bot process to embed all messages."""
    daily_minutes: float
    """Minutes of one bot process a day for what is new."""
    extrapolated: bool


def plan(engine: str, guilds: int, messages_per_guild: int, *, daily: float) -> Plan:
    """Return what ``guilds`` guilds of so many messages each need.

    Args:
        engine: of `ENGINES`.
        guilds: on one bot process (embedded) or one database server (postgresql).
        messages_per_guild: stored in each.
        daily: new messages a day, as a share of those stored.
    """
    cost, total = COSTS[engine], guilds * messages_per_guild
    return Plan(
        engine=engine,
        guilds=guilds,
        messages_per_guild=messages_per_guild,
        disk_gb=total * cost["disk_bytes_a_message"] / 1e9,
        bot_ram_gb=(cost["ram_mb"] + total * cost["ram_bytes_a_message"] / 1e6) / 1e3,
        server_ram_gb=total * cost["server_ram_bytes_a_message"] / 1e9,
        recall_ms=recall_ms(engine, messages_per_guild),
        recall_cpu_ms=recall_ms(engine, messages_per_guild) * cost["recall_cpu_share"],
        rebuild_s=total / 1e6 * cost["rebuild_s_a_million"],
        embed_hours=total / COSTS["embedder"]["messages_a_second"] / 3600,
        daily_minutes=total * daily / COSTS["embedder"]["messages_a_second"] / 60,
        extrapolated=messages_per_guild > MEASURED_UP_TO,
    )


def recall_ms(engine: str, messages: int) -> float:
    """Return the median time of a question over all channels of a guild with so many messages.

    The embedded index compares with every vector in scope, so it grows with them; so does PostgreSQL as long as it
    compares one by one, and beyond that the walk along its graph stays as long. Looking up words grows with their
    matches; the embedded engine does so beside the encoding of the question, within a budget.
    """
    cost, millions = COSTS[engine], messages / 1e6
    if engine == "embedded":
        keyword = cost["keyword_ms_at_most"] * min(1.0, messages / cost["keyword_full_at"])
        dense = millions * cost["dense_ms_a_million"]
        return float(cost["recall_base_ms"] + dense + max(0.0, keyword - COSTS["embedder"]["question_ms"]))
    dense = millions * cost["compared_ms_a_million"] if messages <= EXACT_LIMIT else cost["walk_ms"]
    around = cost["around_ms_a_doubling"] * math.log2(max(1000, messages) / 1000)
    return float(cost["recall_base_ms"] + dense + around + millions * cost["keyword_ms_a_million"])


def main() -> None:
    """Print the plan, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guilds", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--messages", type=int, nargs="+", default=[1_000, 100_000, 10_000_000])
    parser.add_argument("--daily", type=float, default=0.01, help="new messages a day as a share of those stored")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    plans = [
        plan(engine, guilds, messages, daily=arguments.daily)
        for engine in ENGINES
        for messages in arguments.messages
        for guilds in arguments.guilds
    ]
    if arguments.json:
        print(json.dumps([asdict(each) for each in plans], indent=1))
        return
    console = Console(width=None if Console().is_terminal else 150)
    for engine in ENGINES:
        console.print(_table(engine, [each for each in plans if each.engine == engine]))
    console.print(_check())
    console.print("~ extrapolated: more messages in one guild than were measured.")


def _table(engine: str, plans: list[Plan]) -> Table:
    table = Table(title=f"{engine}: {COSTS[engine]['one']}")
    names = ("guilds", "messages each", "disk", "RAM of the bot", "RAM of the server", "recall", "CPU of it")
    for name in (*names, "index ready after", "to embed all", "a day's"):
        table.add_column(name, justify="right")
    for each in plans:
        table.add_row(
            f"{each.guilds:,}",
            f"{each.messages_per_guild:,}",
            _bytes(each.disk_gb),
            _bytes(each.bot_ram_gb),
            _bytes(each.server_ram_gb) if each.server_ram_gb else "–",
            f"{'~' if each.extrapolated else ''}{each.recall_ms:,.0f} ms",
            f"{'~' if each.extrapolated else ''}{each.recall_cpu_ms:,.0f} ms",
            f"{each.rebuild_s:,.1f} s" if each.rebuild_s else "–",
            f"{each.embed_hours:,.1f} h",
            f"{each.daily_minutes:,.0f} min",
        )
    return table


def _check() -> Table:
    table = Table(title="what the formulas say beside what was measured")
    for name in ("engine", "messages", "what", "formula", "measured", "by"):
        table.add_column(name)
    for row in COSTS["measured"]:
        formula: Any = plan(row["engine"], 1, row["messages"], daily=0.0)
        value = getattr(formula, row["what"])
        measured = "not yet" if row["value"] is None else f"{row['value']:,.2f}"
        table.add_row(row["engine"], f"{row['messages']:,}", row["what"], f"{value:,.2f}", measured, row["by"])
    return table


def _bytes(gigabytes: float) -> str:
    return f"{gigabytes * 1e3:,.0f} MB" if gigabytes < 1 else f"{gigabytes:,.1f} GB"


if __name__ == "__main__":
    main()
