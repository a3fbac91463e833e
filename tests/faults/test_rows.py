"""The table of threats and faults names tests and long runs that exist, and the page shows it as it is."""

from __future__ import annotations

import re
from pathlib import Path

from tests.soak.__main__ import module_names
from tests.soak.threats_and_faults import FAULTS, THREATS, table

TESTS = Path(__file__).resolve().parents[1]


def test_each_row_names_tests_and_long_runs_that_exist() -> None:
    modules = set(module_names())
    for row in (*THREATS, *FAULTS):
        assert row.tests
        assert set(row.measured) <= modules, row.name
        for path in row.tests:
            file, _, test = path.partition("::")
            assert not test or re.search(rf"^(async )?def {test}\(", (TESTS / file).read_text("utf-8"), re.MULTILINE)
            assert (TESTS / file).is_file(), path


def test_the_page_shows_the_table_as_it_is() -> None:
    assert (TESTS / "soak" / "README.md").read_text("utf-8").endswith(table())
