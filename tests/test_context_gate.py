"""The gate: what needs no memory is recognised, everything else passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.memory.context_gate import MAX_QUESTION, REASONS, decide, question_in
from cogs.memory.evaluation import read_evaluation

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Hi!", "small talk"),
        ("<@4711> good morning everyone", "small talk"),
        ("thank you so much for your help", "small talk"),
        ("how are you today?", "small talk"),
        ("Guten Morgen zusammen", "small talk"),
        ("danke dir!", "small talk"),
        ("wie geht's?", "small talk"),
        ("🎉🎉", "no words"),
        ("<:blob:123456789012345678> <a:party:123456789012345678>", "no words"),
        ("…", "no words"),
        ("", "no words"),
        ("/recall foo", "command"),
        ("!play never gonna", "command"),
        ("2+2", "arithmetic"),
        ("what is 12 * (7 - 3)?", "arithmetic"),
        ("was ist 3 + 4", "arithmetic"),
        ("what can you do?", "about the bot"),
        ("wer bist du?", "about the bot"),
        ("write me a poem about cats", "general task"),
        ("write a python function that reverses a list", "general task"),
        ("translate this to German", "general task"),
        ("erzähl mir einen Witz", "general task"),
        ("I'm so tired today", "statement"),
        ("ich bin heute so müde", "statement"),
    ],
)
def test_what_needs_no_memory_is_turned_away(text: str, reason: str) -> None:
    decision = decide(text)
    assert (decision.needed, decision.reason) == (False, reason)


@pytest.mark.parametrize(
    "text",
    [
        "who broke the samovar",
        "kofi sourdough starter name",
        "what did we decide about the oven?",
        "thanks! and when is the next meeting?",
        "hello, where is the key",
        "i forgot the wifi password",
        "I need the link to the floor plan",
        "write a poem about what happened at the lake",
        "write a haiku about Tess",
        "make a story of our trip",
        "is anyone here allergic to cats",
        "2025-03-01",
        "10/12?",
        "the router port",
        "wann ist das Treffen",
        "was hat Jörg gesagt",
        "¿dónde está la llave?",
        "ключ где",
        "鍵はどこ",
        "müəllim harada",
        "😂 who said that",
        "/etc/hosts entry for the printer",
        "!important?",
    ],
)
def test_what_may_need_memory_passes(text: str) -> None:
    assert decide(text).needed


@pytest.mark.parametrize("file", ["data/sample/questions.json", "tests/evaluation/written_chats.json"])
def test_every_question_of_the_labelled_chats_passes(file: str) -> None:
    channels = read_evaluation(ROOT / file)
    turned_away = [query.text for channel in channels for query in channel.queries if not decide(query.text).needed]
    assert turned_away == []


def test_a_fair_share_of_lines_that_ask_nothing_is_turned_away() -> None:
    channels = read_evaluation(ROOT / "data/sample/questions.json")
    lines = [m.content for channel in channels for m in channel.messages if m.content and "?" not in m.content]
    assert sum(not decide(line).needed for line in lines) > 0.15 * len(lines)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.text(max_size=3000))
def test_any_text_gets_a_reason(text: str) -> None:
    assert decide(text).reason in REASONS
    assert len(question_in(text)) <= MAX_QUESTION


def test_a_question_is_asked_without_mentions_emoji_and_links() -> None:
    text = "<@4711> where <:blob:123456789012345678> is https://example.org/x the @dunk key?"
    assert question_in(text) == "where is the dunk key?"


def test_of_a_long_message_the_question_is_kept() -> None:
    text = "so we walked and walked. " * 60 + "Which inn was it? " + "Anyway, good night."
    assert question_in(text).endswith("Which inn was it?")
    assert decide("word " * 400).needed
