"""Puts the figures of a long run into this folder's README: ``python -m tests.soak.readme build/soak.json``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

README: Final = Path(__file__).resolve().with_name("README.md")
REPORT: Final = README.parents[2] / "build" / "soak.json"
BEGIN, END = "<!-- make soak: begin -->\n", "<!-- make soak: end -->\n"
JOINED: Final = {
    "rows": "all tests of {count} threats and faults",
    "models": "recall and reload with a model in {count} states",
}
"""Modules whose figures are one line here."""
TOLD: Final = ("python", "sqlite", "cpu cores", "discord.py", "torch", "faiss-cpu")


def main() -> int:
    """Write the table; 1 if a figure is not as asked, which the table then says."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.readme", description=__doc__)
    parser.add_argument("report", type=Path, nargs="?", default=REPORT)
    report = json.loads(parser.parse_args().report.read_text(encoding="utf-8"))
    README.write_text(with_table(README.read_text(encoding="utf-8"), table(report)), encoding="utf-8")
    return 0 if all(figure["passed"] for section in report["sections"] for figure in section["figures"]) else 1


def table(report: dict[str, Any]) -> str:
    """Return the figures of a report, shortened, with what they were made with."""
    lines = ["| what was done | what came out |", "|---|---|"]
    for section in report["sections"]:
        figures = section["figures"]
        if section["module"] in JOINED and len(figures) > 1:
            figures = [_joined(JOINED[section["module"]], figures)]
        lines += [f"| {_cell(figure['name'])} | {_value(figure)} |" for figure in figures]
    command = "make soak" if report["scale"] == 1 else f"python -m tests.soak --scale {report['scale']:g}"
    versions = " · ".join(f"{name} {report['versions'][name]}" for name in TOLD)
    made = f"`{command}`, seed {report['seed']}, {report['seconds'] / 60:.0f} minutes. {versions}."
    return "\n".join([*lines, "", made, ""])


def with_table(readme: str, new: str) -> str:
    """Return the page with the new table between its marks. Raises ValueError if it has none."""
    before, after = readme.index(BEGIN) + len(BEGIN), readme.index(END)
    return readme[:before] + new + readme[after:]


def _joined(name: str, figures: list[dict[str, Any]]) -> dict[str, Any]:
    bad = [figure["name"] for figure in figures if not figure["passed"]]
    value = f"{len(figures) - len(bad)} of {len(figures)} as asked" + (f"; not: {', '.join(bad)}" if bad else "")
    return {"name": name.format(count=len(figures)), "value": value, "passed": not bad}


def _value(figure: dict[str, Any]) -> str:
    return _cell(figure["value"]) + ("" if figure["passed"] else " **(not as asked)**")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
