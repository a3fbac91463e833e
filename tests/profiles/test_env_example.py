"""`.env.example` and `Settings` say the same."""

from __future__ import annotations

import re
from typing import Any

import pytest

from profiles import Settings, load_settings
from profiles.settings import PROJECT_FOLDER

EXAMPLE = PROJECT_FOLDER / ".env.example"
TEXT = EXAMPLE.read_text(encoding="utf-8")
VARIABLES = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", TEXT, re.MULTILINE))
FREE = {"DISCORD_TOKEN", "MEMORY_DATA"}  # what they allow says no more than their description


def above(name: str) -> str:
    """Return the comment right above a variable as one line."""
    block = re.search(rf"((?:^# .*\n)+)#?{name}=", TEXT, re.MULTILINE)
    assert block, f"{name} has no comment"
    return " ".join(line.removeprefix("# ") for line in block[1].splitlines())


def test_it_names_exactly_the_settings_in_their_order() -> None:
    assert list(VARIABLES) == [field.upper() for field in Settings.model_fields]


@pytest.mark.parametrize("field", Settings.model_fields)
def test_it_describes_each_setting_in_the_same_words(field: str) -> None:
    info = Settings.model_fields[field]
    extra: Any = info.json_schema_extra
    allowed = "" if field.upper() in FREE else f" Allowed: {extra['allowed']}"
    assert above(field.upper()) == f"{info.description}{allowed}"


def test_copied_as_it_is_it_changes_nothing() -> None:
    assert load_settings(env_file=EXAMPLE) == load_settings(env_file=None)


def test_the_values_it_shows_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = load_settings(env_file=None)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    assert load_settings(env_file=None) == defaults
    shown = {name.lower() for name, value in VARIABLES.items() if value}
    assert shown == {field for field, info in Settings.model_fields.items() if info.default not in (None, ())}


def test_the_readme_names_each_setting() -> None:
    readme = (PROJECT_FOLDER / "README.md").read_text(encoding="utf-8").partition("\n## Settings\n")[2]
    named = re.findall(r"`([A-Z_]+)`", " ".join(line for line in readme.splitlines() if line.startswith("| `")))
    assert sorted(named) == sorted(VARIABLES)


def test_its_lines_fit_the_page() -> None:
    assert max(map(len, TEXT.splitlines())) <= 120
