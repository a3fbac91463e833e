"""No test here reads the settings of whoever runs it."""

from __future__ import annotations

import os

import pytest

from profiles.settings import Settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower() in Settings.model_fields or name.upper().startswith("RERANKER_"):
            monkeypatch.delenv(name)
