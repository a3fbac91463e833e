"""Runs every module of this folder and prints one table of figures: ``make soak``.

A module ``tests/soak/NAME.py`` with ``run(*, seed: int, scale: float) -> list[Figure]`` takes part by being there;
``scale`` 1 is its long form. Each runs in a process of its own, so that one that crashes or hangs is a failed figure
and no more. Those with ``TIMED = True`` measure times and have the machine to themselves; of the others as many run at
once as there are cores.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.soak.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

QUICK: Final = 0.05
"""The share of the long form that the quick one does: about four minutes in all."""
LONGEST_S: Final = 3 * 3600
PACKAGES: Final = ("discord.py", "torch", "transformers", "faiss-cpu", "aiosqlite", "numpy")
ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Section:
    """What one module reports."""

    module: str
    seconds: float
    figures: tuple[Figure, ...]


def main() -> int:
    """Run what the command line asks for; 1 if anything that must hold does not."""
    arguments = _parse_arguments()
    if arguments.child is not None:
        return _run_here(arguments.modules[0], arguments.seed, arguments.scale, arguments.child)
    started = time.monotonic()
    sections = _run_all(arguments.modules or module_names(), arguments.seed, arguments.scale)
    report = {
        "seed": arguments.seed,
        "scale": arguments.scale,
        "seconds": round(time.monotonic() - started),
        "versions": versions(),
        "sections": [asdict(section) for section in sections],
    }
    table = markdown(sections, arguments.seed, arguments.scale)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "soak.json").write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")
    (arguments.out / "soak.md").write_text(table, encoding="utf-8")
    print(table)
    print(f"written to {arguments.out}/soak.json and soak.md, {report['seconds']} s", file=sys.stderr)
    return 0 if all(figure.passed for section in sections for figure in section.figures) else 1


def module_names() -> list[str]:
    """Return the modules of this folder that report figures."""
    here = Path(__file__).parent
    names = sorted(module.name for module in pkgutil.iter_modules([str(here)]))
    return [name for name in names if hasattr(importlib.import_module(f"tests.soak.{name}"), "run")]


def _run_all(modules: Sequence[str], seed: int, scale: float) -> list[Section]:
    """Run modules apart, those that measure times one after the other, and return what they report in their order."""
    timed = [name for name in modules if getattr(importlib.import_module(f"tests.soak.{name}"), "TIMED", False)]
    found: dict[str, Section] = {}
    for names, at_once in (([name for name in modules if name not in timed], cores()), (timed, 1)):
        with ThreadPoolExecutor(at_once) as pool:
            for section in pool.map(lambda name: _run_apart(name, seed, scale), names):
                found[section.module] = section
    return [found[name] for name in modules]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Return what the figures were measured with."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "system": platform.platform()}
    found["cpu cores"] = str(cores())
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def markdown(sections: Sequence[Section], seed: int, scale: float) -> str:
    """Return the figures as a table, failed ones in bold, with what they were made with below it."""
    lines = ["| what was done | what came out | asked | |", "|---|---|---|---|"]
    for section in sections:
        for figure in section.figures:
            verdict = "holds" if figure.passed else "**fails**"
            own_seed = "" if figure.seed == seed else f" (seed {figure.seed})"
            lines.append(
                f"| {_cell(figure.name)}{own_seed} | {_cell(figure.value)} | {_cell(figure.asked)} | {verdict} |"
            )
    made_with = " · ".join(f"{name} {number}" for name, number in versions().items())
    took = " · ".join(f"{section.module} {section.seconds:.0f} s" for section in sections)
    return "\n".join([*lines, "", f"Seed {seed}, scale {scale:g}. {made_with}. Took: {took}.", ""])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _run_here(module: str, seed: int, scale: float, out: Path) -> int:
    figures: list[Figure] = importlib.import_module(f"tests.soak.{module}").run(seed=seed, scale=scale)
    out.write_text(json.dumps([asdict(figure) for figure in figures]), encoding="utf-8")
    return 0


def _run_apart(module: str, seed: int, scale: float) -> Section:
    """Run a module in a process of its own; whatever keeps it from reporting is a failed figure."""
    print(f"{module} …", file=sys.stderr, flush=True)
    started = time.monotonic()
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "tests.soak", module, "--seed", str(seed), "--scale", str(scale)]
        try:
            code = subprocess.run(
                [*command, "--child", str(out)], cwd=ROOT, env=environment, timeout=LONGEST_S, check=False
            ).returncode
            problem = f"ended with exit code {code}"
        except subprocess.TimeoutExpired:
            problem = f"did not end within {LONGEST_S} s"
        if out.exists():
            figures = tuple(Figure(**figure) for figure in json.loads(out.read_text(encoding="utf-8")))
        else:
            figures = (Figure(module, problem, passed=False, seed=seed),)
    section = Section(module, time.monotonic() - started, figures)
    failed = sum(not figure.passed for figure in figures)
    told = f"{len(figures)} figures, {failed} not as asked" if failed else f"{len(figures)} figures as asked"
    print(f"{module}: {told}, {section.seconds:.0f} s", file=sys.stderr, flush=True)
    return section


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Long runs: one table of figures.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="only these (default: all)")
    parser.add_argument("--quick", dest="scale", action="store_const", const=QUICK, help="the short form, minutes")
    parser.add_argument("--scale", type=float, help="share of the long form (default: 1)")
    parser.add_argument("--seed", type=int, help="what random choices begin with (default: a new one)")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="folder of soak.json and soak.md")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.set_defaults(scale=1.0)
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = secrets.randbelow(2**31)
    return arguments


if __name__ == "__main__":
    sys.exit(main())
