"""The table of threats and faults names tests and long runs that exist, and the page shows it as it is."""

from __future__ import annotations

import re
from pathlib import Path

from tests.soak import readme
from tests.soak.__main__ import module_names
from tests.soak.threats_and_faults import FAULTS, THREATS, table

TESTS = Path(__file__).resolve().parents[1]


def test_each_row_names_tests_and_long_runs_that_exist() -> None:
    rows = (*THREATS, *FAULTS)
    assert {name for row in rows for name in row.measured} | {"rows"} == set(module_names())
    for row in rows:
        assert row.tests
        for path in row.tests:
            file, _, test = path.partition("::")
            assert not test or re.search(rf"^(async )?def {test}\(", (TESTS / file).read_text("utf-8"), re.MULTILINE)
            assert (TESTS / file).is_file(), path


def test_the_page_shows_the_table_as_it_is() -> None:
    assert (TESTS / "soak" / "README.md").read_text("utf-8").endswith(table())


def test_the_readme_takes_the_figures_of_a_run_between_its_marks() -> None:
    versions = dict.fromkeys(readme.TOLD, "1")
    figure = {"name": "kill -9 × 2", "value": "0 | 0", "passed": True, "seed": 7, "asked": "0"}
    sections = [
        {"module": "kill", "seconds": 1.0, "figures": [figure]},
        {"module": "rows", "seconds": 1.0, "figures": [figure, figure | {"name": "a raid", "passed": False}]},
    ]
    new = readme.table({"seed": 7, "scale": 1.0, "seconds": 90, "versions": versions, "sections": sections})
    assert "| kill -9 × 2 | 0 \\| 0 |\n" in new
    assert "| all tests of 2 threats and faults | 1 of 2 as asked; not: a raid **(not as asked)** |" in new
    page = readme.README.read_text("utf-8")
    once = readme.with_table(page, new)
    assert new in once
    assert readme.with_table(once, new) == once
    assert len(once.splitlines()) < len(page.splitlines()) + 20
