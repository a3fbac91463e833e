from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

import profiles
from profiles import MemoryProfile, ProfileError, apply_preset, load_profile
from profiles.loading import PRESETS, TIERS
from profiles.memory_profile import EMBEDDED_MODEL, PROFILE_FIELDS

FOLDER = Path(profiles.__file__).parent


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(name_or_path: str | Path) -> str:
    with pytest.raises(ProfileError) as caught:
        load_profile(name_or_path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_tier_loads_under_its_name() -> None:
    for tier in TIERS:
        profile = load_profile(tier)
        assert profile.name == tier
        assert profile.description
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(TIERS)


@pytest.mark.parametrize("tier", TIERS)
def test_every_key_of_a_tier_is_described_above_it(tier: str) -> None:
    described = False
    for line in (FOLDER / f"{tier}.toml").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            described = True
        elif not line.strip():
            described = False
        else:
            assert described, f"{line!r} has no comment"


def test_the_tiers_are_what_they_say() -> None:
    tiers = {tier: load_profile(tier) for tier in TIERS}
    assert {tier: profile.reranker for tier, profile in tiers.items()} == {
        "embedded": "late_interaction",
        "cpu": "qwen3",
        "cpu-basic": "cross_encoder",
        "gpu": "qwen3",
        "gpu-large": "qwen3",
        "remote": "remote",
    }
    assert {tier for tier, profile in tiers.items() if profile.embedder == EMBEDDED_MODEL} == set(TIERS) - {
        "gpu",
        "gpu-large",
    }
    cpu = tiers["cpu"]
    assert (cpu.reranker_model, cpu.dtype, cpu.token_budget) == ("Qwen/Qwen3-Reranker-0.6B", "bfloat16", 512)
    assert (cpu.rerank_candidates, cpu.rerank_deadline_ms, cpu.injection_deadline_ms) == (40, 2000, 1500)
    assert tiers["cpu-basic"].reranker_model == "cross-encoder/ms-marco-MiniLM-L6-v2"
    assert (tiers["cpu-basic"].dtype, tiers["cpu-basic"].rerank_batch) == ("float32", 8)
    assert (tiers["gpu"].device, tiers["gpu"].token_budget) == ("cuda", 8192)
    assert tiers["gpu-large"].embedding_dim == 1024
    assert tiers["remote"].reranker_url == "http://127.0.0.1:8080"


def test_an_unknown_tier_names_the_tiers_and_the_nearest() -> None:
    message = refusal("cpu-basics")
    assert "did you mean 'cpu-basic'?" in message
    assert ", ".join(TIERS) in message


@pytest.mark.parametrize("name", ["", "../cpu", "CPU", "tests/cpu", "memory_profile", "a\0.toml", "x" * 5000 + ".toml"])
def test_a_name_that_is_no_tier_is_refused(name: str) -> None:
    message = refusal(name)
    assert ", ".join(TIERS) in message or "cannot be read: File name too long" in message


def test_a_file_starts_from_a_tier_and_changes_what_it_says(tmp_path: Path) -> None:
    path = own(tmp_path, 'extends = "cpu"\nrerank_candidates = 12\nrerank_deadline_ms = "none"\n')
    assert load_profile(path) == replace(
        load_profile("cpu"), name="mine", rerank_candidates=12, rerank_deadline_ms=None
    )
    assert load_profile(str(path)) == load_profile(path)


def test_a_file_without_a_tier_starts_from_the_defaults(tmp_path: Path) -> None:
    assert load_profile(own(tmp_path, 'name = "small"\nthreads = 1\n')) == MemoryProfile(name="small", threads=1)


def test_every_field_can_be_set_in_a_file(tmp_path: Path) -> None:
    profile = replace(load_profile("remote"), name="all", embedding_dim=64)
    lines = [f"{field} = {_toml(getattr(profile, field))}" for field in PROFILE_FIELDS]
    assert load_profile(own(tmp_path, "\n".join(lines))) == profile


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    assert load_profile(own(tmp_path, "\ufeffthreads = 3\n")).threads == 3


def test_a_path_is_found_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own(tmp_path, "threads = 5\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_profile("~/mine.toml").threads == 5
    assert "does not exist" in refusal("~nobody-of-this-name/mine.toml")


def test_an_unknown_key_names_the_nearest_and_all_others(tmp_path: Path) -> None:
    message = refusal(own(tmp_path, 'extends = "cpu"\nrerank_candidate = 12\n'))
    assert "unknown key 'rerank_candidate' (did you mean 'rerank_candidates'?)" in message
    assert all(field in message for field in ("extends", *PROFILE_FIELDS))
    assert "unknown key 'machine'" in refusal(own(tmp_path, "[machine]\nthreads = 2\n"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('threads = "4"', "threads must be a whole number from 0 to 1024, not '4'"),
        ("threads = 4.0", "threads must be a whole number from 0 to 1024, not 4.0"),
        ("threads = true", "threads must be a whole number from 0 to 1024, not True"),
        ("token_budget = 9999999", "token_budget must be a whole number from 32 to 1048576, not 9999999"),
        ("memory_share = nan", "memory_share must be a number from 0.01 to 1, not nan"),
        ('memory_share = "none"', "memory_share must be a number from 0.01 to 1, not 'none'"),
        ('device = "gpu"', "device must be one of cpu, cuda, mps, not 'gpu'"),
        ("embedder = []", "embedder must be a text that is not blank, not []"),
        ('reranker = "qwen3"', 'reranker = "qwen3" needs reranker_model'),
        ('extends = "big"', "extends must be one of embedded, cpu, cpu-basic, gpu, gpu-large, remote, not 'big'"),
        ("extends = 3", "extends must be one of embedded, cpu, cpu-basic, gpu, gpu-large, remote, not 3"),
        ("threads 4", "is not valid TOML"),
        ("threads = 1\nthreads = 2", "is not valid TOML"),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_the_file_and_what_is_allowed(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = own(tmp_path, text)
    message = refusal(path)
    assert message.startswith(f"the profile {path}")
    assert problem in message


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.toml")
    assert "is not a file" in refusal(tmp_path)
    broken = tmp_path / "latin.toml"
    broken.write_bytes(b'name = "caf\xe9"\n')
    assert "is not UTF-8 text (byte 11)" in refusal(broken)


def test_production_is_the_profile_as_it_is() -> None:
    for tier in TIERS:
        assert apply_preset(load_profile(tier), "production") == load_profile(tier)


def test_quality_reads_more_for_longer_and_speed_less_for_shorter() -> None:
    cpu = load_profile("cpu")
    quality, speed = apply_preset(cpu, "quality"), apply_preset(cpu, "speed")
    assert (quality.rerank_candidates, quality.rerank_deadline_ms, quality.injection_deadline_ms) == (80, 5000, 3750)
    assert (speed.rerank_candidates, speed.rerank_deadline_ms, speed.injection_deadline_ms) == (20, 1000, 750)
    changed = {"rerank_candidates", "rerank_deadline_ms", "injection_deadline_ms"}
    for field in set(PROFILE_FIELDS) - changed:
        assert getattr(quality, field) == getattr(speed, field) == getattr(cpu, field)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_stays_within_what_the_fields_allow(preset: str) -> None:
    for candidates, deadline in ((1, 1), (1000, 600_000)):
        extreme = replace(load_profile("cpu"), rerank_candidates=candidates, rerank_deadline_ms=deadline)
        scaled = apply_preset(extreme, preset)
        assert 1 <= scaled.rerank_candidates <= 1000


def test_a_preset_keeps_no_deadline_as_none() -> None:
    free = replace(load_profile("cpu"), rerank_deadline_ms=None, injection_deadline_ms=None)
    for preset in PRESETS:
        scaled = apply_preset(free, preset)
        assert (scaled.rerank_deadline_ms, scaled.injection_deadline_ms) == (None, None)


def test_an_unknown_preset_names_the_presets() -> None:
    with pytest.raises(ProfileError, match=re.escape("no preset 'fast'; the presets are production, quality, speed")):
        apply_preset(load_profile("cpu"), "fast")


def _toml(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else '"none"' if value is None else str(value)
    assert tomllib.loads(f"x = {text}")
    return text
