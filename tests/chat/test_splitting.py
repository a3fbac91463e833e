"""Replies as messages: within the limit, cut where a reader would, harmless as Discord reads them."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.chat.splitting import split_reply
from tests.discord_reading import read
from tests.injection_corpus import PAYLOADS

SENTENCE = "The samovar is broken, and nobody knows who did it. "
SIGNS = ("```", "``", "`", "\\", "\n", "\n\n", " ", "<", ">", "](", "[", ")", "||", "**", "> ", "```py\n", "\n```\n")
WORDS = (
    "a",
    "py",
    "é",
    ".",
    "@everyone",
    "@here",
    "<@123>",
    "https://evil.example/a",
    "steam://x/y",
    "discord.gg/evil",
)
HOSTILE = st.lists(st.sampled_from((*SIGNS, *WORDS)), max_size=120).map("".join)


def assert_harmless(text: str, limit: int = 2000) -> list[str]:
    parts = split_reply(text, limit)
    for part in parts:
        assert 0 < len(part) <= limit
        assert part.strip()
        reading = read(part)
        assert (reading.pings, reading.unfurled, reading.masked) == ([], [], [])
        assert not re.search(r"[\x1b\x00\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", part)
    return parts


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_that_a_model_repeats_does_nothing(payload: str) -> None:
    for text in (payload, f"Sure: {payload} And so on.", f"```\n{payload}\n```\n{payload}", f"`{payload}` {payload}"):
        assert_harmless(text)
        assert_harmless(text, 600)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(HOSTILE)
def test_no_mixture_of_signs_pings_or_unfurls(text: str) -> None:
    assert_harmless(text)
    assert_harmless(text, 600)


def test_a_short_reply_is_one_message_as_it_is() -> None:
    text = "Tea is **at five** [1].\n- bring `cups`\n\n> says Mia\n```py\nprint(1)\n```"
    assert split_reply(text) == [text]
    assert split_reply("") == split_reply(" \n ") == []
    with pytest.raises(ValueError, match="at least 600"):
        split_reply("tea", 100)


def test_links_are_kept_from_unfurling_and_stay_links() -> None:
    assert split_reply("see https://tea.example/a_(b), (https://tea.example) or <https://tea.example>.") == [
        "see <https://tea.example/a_(b)>, (<https://tea.example>) or <https://tea.example>."
    ]
    assert split_reply("[a](https://tea.example)") == ["[a] (<https://tea.example>)"]
    assert split_reply("`https://tea.example` stays") == ["`https://tea.example` stays"]
    assert split_reply("https://tea.example/" + "x" * 600) == ["(link to tea.example)"]


def test_a_long_reply_is_cut_after_a_sentence() -> None:
    text = SENTENCE * 100
    parts = assert_harmless(text)
    assert all(part.endswith("did it.") for part in parts)
    assert " ".join(parts) == text.strip()
    assert len(parts) == 3


def test_a_paragraph_is_a_better_place_than_a_sentence_and_a_word_than_none() -> None:
    first, second = (SENTENCE * 30).strip(), (SENTENCE * 20).strip()
    assert split_reply(f"{first}\n\n{second}") == [first, second]
    words = assert_harmless("word " * 1000)
    assert all(set(part.split()) == {"word"} for part in words)
    assert [len(part) for part in assert_harmless("x" * 4500)] == [2000, 2000, 500]


def test_code_that_fits_is_not_cut() -> None:
    prose, code = (SENTENCE * 30).strip(), "```py\n" + "print('tea')\n" * 60 + "```"
    assert split_reply(f"{prose}\n{code}") == [prose, code]


def test_a_fence_that_is_cut_is_closed_and_opened_again_with_its_language() -> None:
    lines = [f"print({number})" for number in range(600)]
    parts = assert_harmless("Here:\n```py\n" + "\n".join(lines) + "\n```\nDone.")
    assert len(parts) == 4
    assert all(part.count("```") == 2 for part in parts)
    assert all("```py\n" in part for part in parts)
    assert parts[0].startswith("Here:\n```py\nprint(0)")
    assert parts[-1].endswith("\n```\nDone.")
    assert re.findall(r"print\(\d+\)", "\n".join(parts)) == lines


def test_a_fence_that_is_never_closed_is_closed() -> None:
    assert split_reply("```py\nprint(1)") == ["```py\nprint(1)\n```"]
    assert split_reply("so ```py\nprint(1)\n``` yes") == ["so\n```py\nprint(1)\n```\nyes"]
    assert split_reply("```tea```") == ["```\ntea\n```"]
    assert split_reply("```\n```") == []


def test_a_line_of_code_that_is_too_long_is_cut_hard() -> None:
    parts = assert_harmless("```\n" + "x" * 5000 + "\n```")
    assert "".join(part.strip("`\n") for part in parts) == "x" * 5000


def test_a_cut_tears_no_emoji_and_no_accent_apart() -> None:
    for cluster in ("👩‍👩‍👧‍👦", "e\u0301\u0302"):
        for offset in range(len(cluster)):
            parts = assert_harmless("x" * offset + cluster * 600)
            assert all(part.endswith(cluster) for part in parts)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.text(max_size=500), st.integers(600, 700))
def test_any_text_is_split(text: str, limit: int) -> None:
    assert_harmless(text * 3, limit)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([SENTENCE, "\n\n", "\n```py\n", "\n```\n", "x = 1\n" * 20, "word "]), max_size=100))
def test_all_words_arrive_in_their_order(pieces: list[str]) -> None:
    text = "".join(pieces)
    sent = "\n".join(split_reply(text, 600))
    assert re.findall(r"\w+", sent.replace("py", "")) == re.findall(r"\w+", text.replace("py", ""))


def test_what_grows_changes_only_at_its_end() -> None:
    text = (SENTENCE * 9 + "\n\n```py\n" + "print('tea')\n" * 30 + "```\n" + "See https://tea.example. ") * 5
    before: list[str] = []
    for end in range(0, len(text), 37):
        parts = split_reply(text[:end], 600)
        assert parts[: max(0, len(before) - 2)] == before[:-2]
        before = parts


@pytest.mark.parametrize(
    "text", ["\\" * 20_000, "`" * 20_000, "[](" * 7000, "<" * 20_000, "https://a.b)" * 1500, "a\u0301" * 9000]
)
def test_hostile_signs_cost_no_time(text: str) -> None:
    start = time.thread_time()
    split_reply(text)
    assert time.thread_time() - start < 10
