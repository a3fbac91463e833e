from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiles import MemoryProfile
from profiles.memory_profile import CHOICES, LIMITS, OPTIONAL_FIELDS, PROFILE_FIELDS, is_http_url

TEXTS = {"embedder_url", "name", "description", "embedder", "reranker_model", "reranker_url"}


def test_every_field_has_a_rule() -> None:
    assert set(CHOICES) | set(LIMITS) | TEXTS == set(PROFILE_FIELDS)
    assert not set(CHOICES) & set(LIMITS)


def test_it_is_frozen_and_changes_by_replace() -> None:
    profile = MemoryProfile(name="x")
    with pytest.raises(FrozenInstanceError):
        profile.threads = 2  # type: ignore[misc]
    assert replace(profile, dtype="bfloat16", rerank_deadline_ms=None).rerank_deadline_ms is None


@pytest.mark.parametrize("field", sorted(LIMITS))
def test_a_number_is_allowed_up_to_both_ends_and_not_beyond(field: str) -> None:
    low, high, whole = LIMITS[field]
    for end in (low, high):
        assert getattr(_with(field, int(end) if whole else end), field) == end
    for beyond in (low - 1, high + 1, math.nan, math.inf, True, "4", [4]):
        with pytest.raises(ValueError, match=f"^{field} must be a (whole )?number from "):
            _with(field, beyond)
    if whole:
        with pytest.raises(ValueError, match="whole number"):
            _with(field, low + 1.0)


@pytest.mark.parametrize("field", sorted(CHOICES))
def test_a_choice_refuses_other_words_and_other_types_by_naming_its_own(field: str) -> None:
    for other in ("", "CPU", 1, None, ["cpu"]):
        with pytest.raises(ValueError, match=f"^{field} must be one of {', '.join(CHOICES[field])}, not "):
            _with(field, other)


@pytest.mark.parametrize("field", sorted(set(PROFILE_FIELDS) - set(CHOICES)))
def test_none_is_allowed_only_where_the_field_is_optional(field: str) -> None:
    if field in OPTIONAL_FIELDS:
        assert getattr(_with(field, None), field) is None
    else:
        with pytest.raises(ValueError, match=field):
            _with(field, None)


@pytest.mark.parametrize("field", ["name", "embedder", "reranker_model"])
@pytest.mark.parametrize("value", ["", "  ", 7])
def test_a_text_must_say_something(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field} must be a text that is not blank"):
        _with(field, value)


@pytest.mark.parametrize("kind", ["qwen3", "cross_encoder", "remote"])
def test_a_reranker_with_a_model_needs_its_name(kind: str) -> None:
    with pytest.raises(ValueError, match=f'reranker = "{kind}" needs reranker_model'):
        _with("reranker", kind)


def test_a_remote_reranker_needs_an_address() -> None:
    with pytest.raises(ValueError, match="needs reranker_url"):
        MemoryProfile(name="x", reranker="remote", reranker_model="m")


@pytest.mark.parametrize(
    "url", ["ftp://h", "http://", "//h", "127.0.0.1:8080", "http://h:99999", "http://a b", "http://["]
)
def test_an_address_that_is_not_http_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="reranker_url must be an http:// or https:// address"):
        MemoryProfile(name="x", reranker="remote", reranker_model="m", reranker_url=url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "https://rerank.example/v1", "http://[::1]:80"])
def test_an_http_address_is_allowed(url: str) -> None:
    assert is_http_url(url)


@settings(derandomize=True, max_examples=200)
@given(st.text())
def test_any_text_is_judged_as_an_address_without_an_error(text: str) -> None:
    assert is_http_url(text) in (True, False)


def _with(field: str, value: object) -> MemoryProfile:
    values: dict[str, Any] = {"name": "x", field: value}
    return MemoryProfile(**values)
