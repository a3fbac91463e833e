"""The texts of `/memory`: complete in both languages, and short enough for Discord."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from cogs.memory.surface.commands.memory_group import memory_group
from cogs.memory.surface.commands.memory_texts import ENGLISH, MemoryTexts, memory_texts_for
from cogs.memory.surface.commands.memory_texts_german import COMMAND_TEXTS, GERMAN
from profiles.loading import TIERS
from tests.menus import blanks, menu_texts

if TYPE_CHECKING:
    from typing import Any

NAMES = [field.name for field in fields(MemoryTexts)]


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_fill_in_the_same(name: str) -> None:
    assert blanks(getattr(ENGLISH, name)) == blanks(getattr(GERMAN, name))


def test_every_sentence_is_translated() -> None:
    same = [name for name in NAMES if getattr(ENGLISH, name) == getattr(GERMAN, name)]
    alike = {
        "explain_stage",
        "privacy_channels",
        "stats_cache",
        "stats_recall_text",
        "stats_reranker",
        "status_problem",
    }
    assert set(same) <= alike


def test_the_language_follows_the_user_and_is_english_where_there_is_none() -> None:
    assert memory_texts_for("de") is GERMAN
    assert memory_texts_for("fr") is memory_texts_for(None) is ENGLISH


def test_one_message_is_not_many() -> None:
    assert (ENGLISH.count_messages(1), ENGLISH.count_messages(1234)) == ("1 message", "1,234 messages")
    assert (GERMAN.count_days(1), GERMAN.count_days(30)) == ("1 Tag", "30 Tage")


def test_every_text_of_the_menus_is_translated_and_within_discords_limit() -> None:
    services: Any = None  # building the group asks nothing of them
    shown = set(menu_texts(memory_group(services)))
    assert shown == {*COMMAND_TEXTS, *TIERS}  # profiles are called the same in every language
    assert all(len(text) <= 100 for text in (*COMMAND_TEXTS, *COMMAND_TEXTS.values()))
