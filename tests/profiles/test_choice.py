"""From settings to a profile, at the start and when another one is asked for later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from profiles import Hardware, ProfileError, SettingsError, choose_profile, load_profile, load_settings
from profiles.accelerators import Accelerator
from profiles.loading import TIERS

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = Hardware(system="Linux", machine="x86_64", cores=2, physical_cores=2, memory_total=8 * 10**9)
APPLE = replace(PLAIN, accelerator=Accelerator("mps", "Apple GPU", 17 * 10**9))


@pytest.mark.parametrize("tier", [tier for tier in TIERS if tier != "remote"])
def test_a_profile_asked_for_later_is_what_a_start_with_it_gives(tier: str) -> None:
    operators: dict[str, Any] = {
        "reranker_type": "qwen3",
        "reranker_model": "x/y",
        "reranker_deadline_ms": 700,
        "reranker_preset": "quality",
        "vector_top_k": 50,
        "embedder_url": "http://127.0.0.1:1",
        "embedder_model": "served",
        "embedder_dim": 64,
    }
    running = load_settings(env_file=None, memory_profile="embedded", **operators)
    started = load_settings(env_file=None, memory_profile=tier, **operators)
    later = choose_profile(running, tier, PLAIN).profile
    assert later == choose_profile(started, hardware=PLAIN).profile
    assert (later.name, later.reranker_model, later.embedder, later.vector_candidates) == (tier, "x/y", "served", 50)


def test_auto_is_what_suits_the_machine_and_says_why() -> None:
    settings = load_settings(env_file=None, memory_profile="auto")
    assert choose_profile(settings, hardware=PLAIN).profile == load_profile("cpu-basic")
    assert "2 cores" in choose_profile(settings, hardware=PLAIN).reason
    assert choose_profile(settings, hardware=APPLE).profile.device == "mps"


def test_a_gpu_tier_that_is_named_runs_on_the_gpu_that_is_there() -> None:
    settings = load_settings(env_file=None, memory_profile="gpu")
    profile, reason = choose_profile(settings, hardware=APPLE)
    assert (profile.name, profile.device, profile.dtype, reason) == ("gpu", "mps", "float16", "named in the settings")
    assert choose_profile(settings, hardware=PLAIN).profile == load_profile("gpu")


def test_a_file_says_itself_what_it_runs_on(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "gpu"\ndevice = "cuda"\n', encoding="utf-8")
    settings = load_settings(env_file=None, memory_profile=str(path))
    assert choose_profile(settings, hardware=APPLE).profile.device == "cuda"


def test_what_does_not_go_together_is_refused_later_too() -> None:
    settings = load_settings(env_file=None, memory_profile="cpu", reranker_model="x/y")
    with pytest.raises(SettingsError, match="RERANKER_MODEL has no effect on the profile's late_interaction"):
        choose_profile(settings, "embedded", PLAIN)
    with pytest.raises(ProfileError, match="there is no profile 'nonsense'"):
        choose_profile(settings, "nonsense", PLAIN)
