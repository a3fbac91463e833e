"""Every threat and fault that the tests cover, one line each: which tests hold it, and how many cases they are.

The other modules measure what takes long; this one lets no row of `threats_and_faults` go without a figure.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from .figure import Figure
from .threats_and_faults import FAULTS, THREATS

if TYPE_CHECKING:
    from .threats_and_faults import Row

ROOT: Final = Path(__file__).resolve().parents[2]


def run(*, seed: int, scale: float) -> list[Figure]:
    """Run the tests of all rows once, and report by row."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ("-q", "-n", "2", "--dist", "worksteal", "-p", "no:cacheprovider", f"--junit-xml={report}")
        named = {f"tests/{path}" for row in (*THREATS, *FAULTS) for path in row.tests}
        paths = sorted(path for path in named if "::" not in path or path.partition("::")[0] not in named)
        command = [sys.executable, "-m", "pytest", *options, *paths]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stdout[-20_000:], file=sys.stderr)
        if not report.exists():
            return [Figure("the rows' tests", f"did not run: {done.stdout[-200:]}", passed=False, seed=seed)]
        cases = [*ET.parse(report).getroot().iter("testcase")]
    return [_figure(row, cases, seed) for row in (*THREATS, *FAULTS)]


def _figure(row: Row, cases: list[ET.Element], seed: int) -> Figure:
    paths = [f"tests/{path}" for path in row.tests]
    mine = [case for path in paths for case in cases if _belongs(case, path)]
    bad = [case.get("name", "") for case in mine if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in mine)
    complete = all(any(_belongs(case, path) for case in cases) for path in paths)
    value = f"{len(mine) - len(bad) - skipped} of {len(mine)} tests hold"
    if skipped:
        value += f", {skipped} skipped"
    if bad:
        value += f"; failed: {', '.join(bad[:3])}"
    return Figure(row.name, value, complete and not bad, seed, row.outcome)


def _belongs(case: ET.Element, path: str) -> bool:
    file, _, test = path.partition("::")
    module = file.removesuffix(".py").replace("/", ".")
    mine = f"{case.get('classname')}.".startswith(f"{module}.")
    return mine and (not test or case.get("name", "").partition("[")[0] == test)
