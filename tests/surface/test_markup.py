"""Text is shown as it was written, never longer than asked, and never slowly."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.memory.surface.markup import cut, escape, marked, unescape

texts = st.text(st.sampled_from("ab *_~`|\\[]<>#-+.1@\n🫖é") | st.characters(codec="utf-8"), max_size=200)


def is_tea(word: str) -> bool:
    return word.lower() == "tea"


@given(texts)
@settings(derandomize=True, max_examples=300)
def test_unescaping_gives_back_what_was_escaped(text: str) -> None:
    assert unescape(escape(text)) == text


@given(texts, st.integers(16, 120))
@settings(derandomize=True, max_examples=300)
def test_nothing_is_longer_than_asked(text: str, limit: int) -> None:
    assert len(marked(text, is_tea, limit=limit)) <= limit
    assert len(cut(text, limit)) <= limit


@given(texts)
@settings(derandomize=True, max_examples=300)
def test_unmarked_text_without_code_spoilers_and_links_is_escaped_and_nothing_else(text: str) -> None:
    text = text.replace("`", "").replace("|", "").replace("http", "")
    assert unescape(marked(text, limit=1000)) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the tea is ready", "the **tea** is ready"),
        ("tea_time *now*", r"**tea**\_time \*now\*"),
        ("# loud\n- point\n> quote", "\\# loud\n\\- point\n\\> quote"),
        ("a - b # c", "a - b # c"),
        ("see https://tea.example/a_b*c?tea=1 now", r"see https://tea.example/a_b\*c?**tea**=1 now"),
        ("[free nitro](https://evil.example)", r"\[free nitro\](https://evil.example)"),
        ("<@1> <#2> <t:1:R>", r"\<@1\> \<#2\> \<t:1:R\>"),
        ("use `tea --hot` or\n```py\ntea()\n```", "use `tea --hot` or\n```py\ntea()\n```"),
        ("a lone ` and ``` too", r"a lone \` and \`\`\` too"),
        ("||the tea_pot did it||", r"||the tea\_pot did it||"),
        ("||", r"\|\|"),
        ("", ""),
    ],
)
def test_markup_is_shown_as_written(text: str, shown: str) -> None:
    assert marked(text, is_tea, limit=1000) == shown


def test_a_long_text_is_shown_where_it_speaks_of_what_was_asked() -> None:
    text = "blah " * 300 + "the tea is ready " + "blah " * 300
    shown = marked(text, is_tea, limit=200)
    assert "**tea** is ready" in shown
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert len(shown) <= 200


def test_a_long_code_block_stays_a_code_block() -> None:
    shown = marked("```py\n" + "print('tea')\n" * 200 + "```", is_tea, limit=300)
    assert len(shown) <= 300
    assert shown.count("```") in (0, 2)


HOSTILE = ["*", "_", "`", "``` ", "`a", "|", "|||a", "||`", "~|", "\\", "[", "**_", "https://", "'a", "`|*_~", " \n#"]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_takes_no_longer_than_any_other(piece: str) -> None:
    text = (piece * 4000)[:8000]
    began = time.thread_time()
    marked(text, is_tea, limit=4000)
    escape(text)
    assert time.thread_time() - began < 2.5


def test_no_mention_survives() -> None:
    assert not re.search(r"(?<!\\)<[@#]", marked("<@1> <@&2> <#3> <@!4>", limit=100))
