"""Behind the edge every text is safe."""

from __future__ import annotations

import time
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.memory.cleaning import MAX_CONTENT, clean_name, clean_text

ANY_TEXT = st.text(st.characters(), max_size=200)


@settings(derandomize=True, max_examples=300)
@given(ANY_TEXT)
def test_clean_text_can_be_encoded_and_holds_no_control_characters(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode("utf-8")
    assert all(ch in "\n\t" or unicodedata.category(ch) != "Cc" for ch in cleaned)
    assert clean_text(cleaned) == cleaned


def test_what_people_write_stays() -> None:
    for text in ("c++ > c#", "Grüße 👩‍👩‍👧 שלום", "```py\nx = 1\n\ty\n```", "日本語のメモ"):
        assert clean_text(text) == text


def test_nul_surrogates_overrides_and_mark_towers_go() -> None:
    assert clean_text("a\x00b\ud800c\u202ed") == "abcd"
    assert len(clean_text("e" + "\u0301" * 4000)) < 10


def test_hostile_length_costs_little() -> None:
    start = time.thread_time()
    assert len(clean_text("ḁ" * 1_000_000)) <= MAX_CONTENT
    assert time.thread_time() - start < 5


def test_a_name_is_one_line_and_never_empty() -> None:
    assert clean_name("  Mia\n the   Great ") == "Mia the Great"
    assert clean_name("\x00") == "?"
