"""From settings to a provider."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cogs.chat.exceptions import ProviderNotAllowed
from cogs.chat.providers.factory import create_provider
from cogs.chat.providers.local import LocalModels
from cogs.chat.providers.reply_texts import GERMAN
from cogs.memory.model_cache import ModelCache
from cogs.memory.model_loading import ModelSources
from cogs.memory.worker import ModelWorker
from profiles import load_settings
from profiles.settings import PROJECT_FOLDER

if TYPE_CHECKING:
    from pathlib import Path


def test_the_settings_choose() -> None:
    settings = load_settings(env_file=None, chat_base_url="http://localhost:11434", chat_model="llama3.1")
    assert create_provider(settings).name == "extractive"
    assert create_provider(settings, "openai").name == "openai: llama3.1 at localhost"
    assert create_provider(load_settings(env_file=None, chat_provider="extractive"), texts=GERMAN).remote is False


def test_a_local_model_needs_a_memory(tmp_path: Path) -> None:
    worker = ModelWorker()
    models = LocalModels(ModelSources(tmp_path), ModelCache(), worker)
    assert create_provider(load_settings(env_file=None), "Local ", models=models).name == "local: Qwen3-0.6B"
    worker.shutdown()
    with pytest.raises(ProviderNotAllowed, match="needs a running memory"):
        create_provider(load_settings(env_file=None, chat_provider="local"))


@pytest.mark.parametrize("kind", ["chatgpt", "", " ", "__class__", "os:system", "../x", "x" * 999])
def test_a_bad_name_says_what_is_allowed(kind: str) -> None:
    settings = load_settings(env_file=None)
    if not kind:
        assert create_provider(settings, kind).name == "extractive"
        return
    with pytest.raises(ProviderNotAllowed, match="the providers are extractive, openai, local") as caught:
        create_provider(settings, kind)
    assert len(str(caught.value)) < 200


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ProviderNotAllowed, match="CHAT_BASE_URL"):
        create_provider(load_settings(env_file=None, chat_provider="openai"))
    with pytest.raises(ProviderNotAllowed, match="CHAT_MODEL"):
        create_provider(load_settings(env_file=None, chat_provider="openai", chat_base_url="http://localhost:1"))


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    modules = "factory", "fallback", "local", "openai_compatible"
    imports = "; ".join(f"import cogs.chat.providers.{module}" for module in modules)
    heavy = "{'torch', 'transformers', 'openai', 'sentence_transformers', 'discord'}"
    check = f"import sys; {imports}; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=PROJECT_FOLDER, check=True)
    assert ran.stdout.strip() == "[]"
