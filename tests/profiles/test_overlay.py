from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from profiles import MemoryProfile, SettingsError, apply_settings, load_profile, load_settings
from profiles.loading import TIERS
from profiles.memory_profile import CHOICES
from profiles.overlay import USUAL_MODELS


def laid_over(tier: str, **settings: Any) -> MemoryProfile:
    return apply_settings(load_profile(tier), load_settings(env_file=None, **settings))


@pytest.mark.parametrize("tier", TIERS)
def test_settings_that_are_not_set_change_nothing(tier: str) -> None:
    assert laid_over(tier) == load_profile(tier)


def test_each_number_replaces_its_field_alone() -> None:
    cpu = load_profile("cpu")
    assert laid_over("cpu", reranker_top_n=7) == replace(cpu, recall_limit=7)
    assert laid_over("cpu", reranker_batch_size=16) == replace(cpu, rerank_batch=16)
    assert laid_over("cpu", vector_top_k=50) == replace(cpu, vector_candidates=50)
    assert laid_over("cpu", keyword_top_k=60) == replace(cpu, keyword_candidates=60)
    assert laid_over("cpu", retriever_type="vector") == replace(cpu, retriever="vector")
    assert laid_over("cpu", reranker_model="x/y") == replace(cpu, reranker_model="x/y")


@pytest.mark.parametrize("tier", TIERS)
def test_reranking_can_be_switched_off_whatever_else_is_set(tier: str) -> None:
    off = laid_over(tier, reranker_enabled=False, reranker_type="qwen3", reranker_model="x/y")
    assert off == replace(load_profile(tier), reranker="none")


@pytest.mark.parametrize("kind", USUAL_MODELS)
def test_another_type_brings_its_usual_model_not_the_profile_s(kind: str) -> None:
    profile = laid_over("cpu-basic", reranker_type=kind, reranker_url="http://127.0.0.1:1")
    assert (profile.reranker, profile.reranker_model) == (kind, USUAL_MODELS[kind])
    assert profile.reranker_url == ("http://127.0.0.1:1" if kind == "remote" else None)


def test_the_types_with_a_usual_model_are_types() -> None:
    assert set(USUAL_MODELS) | {"none", "late_interaction", "custom"} == set(CHOICES["reranker"])


def test_the_same_type_keeps_the_profile_s_model() -> None:
    assert laid_over("gpu-large", reranker_type="qwen3") == load_profile("gpu-large")


def test_model_and_address_wait_while_another_type_is_set() -> None:
    profile = laid_over(
        "cpu", reranker_type="late_interaction", reranker_model="x/y", reranker_url="http://127.0.0.1:1"
    )
    assert profile.reranker == "late_interaction"


def test_a_model_without_a_reranker_that_reads_one_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"RERANKER_MODEL has no effect .* set RERANKER_TYPE to one of qwen3"):
        laid_over("embedded", reranker_model="x/y")


def test_an_address_without_a_remote_reranker_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"RERANKER_URL has no effect .* set RERANKER_TYPE=remote"):
        laid_over("cpu", reranker_url="http://127.0.0.1:1")


def test_a_remote_reranker_without_an_address_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"RERANKER_TYPE=remote needs RERANKER_URL"):
        laid_over("cpu", reranker_type="remote")
    assert laid_over("remote", reranker_url="http://127.0.0.1:9").reranker_url == "http://127.0.0.1:9"


def test_a_class_of_one_s_own_takes_the_profile_s_place() -> None:
    own = laid_over("cpu", reranker_class="my.rerankers:Best")
    assert (own.reranker, own.reranker_model) == ("custom", "my.rerankers:Best")
    assert laid_over("cpu", reranker_class="my.rerankers:Best", reranker_model="x").reranker_model == "x"
    assert laid_over("cpu", reranker_class="my.rerankers:Best", reranker_enabled=False).reranker == "none"
    assert laid_over("cpu", reranker_class="my.rerankers:Best", reranker_type="qwen3") == load_profile("cpu")
    with pytest.raises(SettingsError, match=r"RERANKER_TYPE=custom needs RERANKER_CLASS, written package.module:Class"):
        laid_over("cpu", reranker_type="custom")


def test_a_key_without_a_server_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"RERANKER_API_KEY has no effect .* set RERANKER_TYPE=remote"):
        laid_over("cpu", reranker_api_key="k")
    assert laid_over("remote", reranker_api_key="k") == load_profile("remote")


def test_an_ab_test_is_an_even_share() -> None:
    assert laid_over("cpu", reranker_ab_test=True) == replace(load_profile("cpu"), reranked_share=0.5)
    assert laid_over("cpu", reranker_ab_test=False) == load_profile("cpu")


def test_enabling_a_reranker_where_the_profile_has_none_gives_the_built_in_one() -> None:
    none = replace(load_profile("embedded"), reranker="none")
    assert apply_settings(none, load_settings(env_file=None)).reranker == "none"
    assert apply_settings(none, load_settings(env_file=None, reranker_enabled=True)).reranker == "late_interaction"
    assert laid_over("cpu", reranker_enabled=True) == load_profile("cpu")


def test_enabled_and_none_contradict_each_other() -> None:
    with pytest.raises(SettingsError, match="contradicts"):
        laid_over("cpu", reranker_enabled=True, reranker_type="none")


@pytest.mark.parametrize(
    ("setting", "recall", "injection"), [(1000, 1000, 1000), (9000, 9000, 1500), ("none", None, 1500)]
)
def test_a_deadline_is_recall_s_own_and_the_most_a_reply_waits(
    setting: object, recall: int | None, injection: int
) -> None:
    profile = laid_over("cpu", reranker_deadline_ms=setting)
    assert (profile.rerank_deadline_ms, profile.injection_deadline_ms) == (recall, injection)


def test_no_deadline_of_a_reply_stays_none() -> None:
    free = replace(load_profile("cpu"), injection_deadline_ms=None)
    settings = load_settings(env_file=None, reranker_deadline_ms=100)
    assert apply_settings(free, settings).injection_deadline_ms is None


def test_a_preset_yields_to_a_value_of_its_own() -> None:
    profile = laid_over("cpu", reranker_preset="quality", reranker_deadline_ms=3000)
    assert (profile.rerank_candidates, profile.rerank_deadline_ms, profile.injection_deadline_ms) == (80, 3000, 3000)
