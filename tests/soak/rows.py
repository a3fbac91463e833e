"""Every threat and fault that the tests cover, one line each: which tests hold it, and how many cases they are.

The other modules measure what takes long; this one lets no row go without a figure. A test that is renamed or removed
fails its row.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from .figure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT: Final = Path(__file__).resolve().parents[2]
ROWS: Final[dict[str, tuple[str, ...]]] = {
    "private text in /recall: random guilds against a brute-force oracle": (
        "tests/surface/test_access.py",
        "tests/surface/discord_access/test_discord_access.py",
    ),
    "private text in public replies: the audience rule": (
        "tests/surface/cog/test_buttons.py::test_nothing_hidden_can_be_shared",
        "tests/surface/cog/test_buttons.py::test_sharing_leaves_out_what_some_may_not_read",
    ),
    "a permission revoked meanwhile": (
        "tests/surface/discord_access/test_threads.py",
        "tests/surface/cog/test_buttons.py::test_a_page_turned_shows_only_what_may_be_read_now",
    ),
    "another server's text": (
        "tests/stores/test_contract_reads.py",
        "tests/stores/test_contract_search.py",
        "tests/stores/test_contract_writes.py",
    ),
    "the existence of hidden messages": ("tests/test_hidden_data.py",),
    "a flood of near-copies": ("tests/test_same_words.py",),
    "encryption at rest, keys that do not fit": ("tests/stores/test_encryption.py", "tests/test_upkeep.py"),
    "backups that bring nothing back that was forgotten": ("tests/stores/test_backup.py",),
    "a damaged database under a running bot": ("tests/faults/test_damaged_database.py",),
    "injection through recalled text": ("tests/test_context_builder.py",),
    "control tokens in messages": ("tests/rerankers/test_qwen3_prompt.py",),
    "the right to be forgotten: byte scan": (
        "tests/test_erasure.py",
        "tests/surface/test_erasure_reaches_everything.py",
    ),
    "credentials and messages in logs": ("tests/surface/test_log_redaction.py",),
    "hostile model names, pickles, truncated and foreign weights": (
        "tests/model_source",
        "tests/rerankers/test_qwen3_loading.py",
    ),
    "@everyone, masked links, fences, hostile markup": (
        "tests/surface/test_markup.py",
        "tests/surface/test_presenter.py",
    ),
    "full-text query syntax": ("tests/stores/test_contract_search.py", "tests/test_query_terms.py"),
    "each command by each role": ("tests/surface/test_admin.py", "tests/surface/test_admin_owner.py"),
    "kill -9, full and read-only disks, damaged, locked and newer databases": (
        "tests/stores/test_sqlite_folder.py",
        "tests/stores/test_sqlite_faults.py",
    ),
    "random lives of messages against a dictionary": ("tests/stores/test_state_machine.py",),
    "10,000 interleaved events": ("tests/surface/test_event_line.py",),
    "offline gaps": ("tests/surface/test_backfill_gaps.py", "tests/surface/test_backfill_kill.py"),
    "vectors and scores that are no numbers": (
        "tests/test_model_reranking_failures.py",
        "tests/stores/test_contract_writes.py",
        "tests/stores/test_contract_search.py",
        "tests/faults/test_not_finite.py",
    ),
    "out of memory on a device": ("tests/test_model_reranking_memory.py",),
    "expired interactions, failures with an id": ("tests/surface/cog/test_failures.py",),
    "hostile text at the edge": ("tests/test_cleaning.py",),
    "backup, restore, encryption": ("tests/stores/test_backup.py", "tests/stores/test_encryption.py"),
}


def run(*, seed: int, scale: float) -> list[Figure]:
    """Run the tests of all rows once, and report by row."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}"]
        paths = sorted({path for row in ROWS.values() for path in row})
        done = subprocess.run([*command, *paths], cwd=ROOT, capture_output=True, text=True, check=False)
        if not report.exists():
            return [Figure("the rows' tests", f"did not run: {done.stdout[-200:]}", passed=False, seed=seed)]
        cases = [*ET.parse(report).getroot().iter("testcase")]
    return [_figure(name, paths, cases, seed) for name, paths in ROWS.items()]


def _figure(name: str, paths: Iterable[str], cases: list[ET.Element], seed: int) -> Figure:
    mine = [case for path in paths for case in cases if _belongs(case, path)]
    bad = [case.get("name", "") for case in mine if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in mine)
    complete = all(any(_belongs(case, path) for case in cases) for path in paths)
    value = f"{len(mine) - len(bad) - skipped} of {len(mine)} tests hold"
    if skipped:
        value += f", {skipped} skipped"
    if bad:
        value += f"; failed: {', '.join(bad[:3])}"
    return Figure(name, value, complete and not bad, seed)


def _belongs(case: ET.Element, path: str) -> bool:
    file, _, test = path.partition("::")
    module = file.removesuffix(".py").replace("/", ".")
    mine = f"{case.get('classname')}.".startswith(f"{module}.")
    return mine and (not test or case.get("name", "").partition("[")[0] == test)
