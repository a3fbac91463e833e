"""Copies are shown once; an appointment and its change are not copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.memory.records import Scope
from cogs.memory.same_words import originals
from tests.conftest import CHANNEL, GUILD, said

if TYPE_CHECKING:
    from cogs.memory.memory_service import MemoryService


def first(*texts: str) -> list[int]:
    return originals([text.split() for text in texts])


def test_the_same_words_are_one_and_short_messages_are_not() -> None:
    assert first("join my server now", "something else entirely", "join my server now") == [0, 1, 0]
    assert first("yes", "yes", "ok then", "ok then", "yes") == [0, 1, 2, 3, 4]


def test_a_change_of_an_appointment_is_no_copy_and_a_flood_of_variants_is() -> None:
    evening = "the board game evening is on {} at eight"
    assert first(evening.format("thursday"), evening.format("friday")) == [0, 1]
    assert first(*(evening.format(day) for day in "abcdefghi")) == list(range(9))
    assert first(*(evening.format(day) for day in "abcdefghij")) == [0] * 10


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=6), max_size=12))
def test_an_original_stands_before_its_copies_and_is_its_own(texts: list[list[str]]) -> None:
    found = originals(texts)
    assert len(found) == len(texts)
    assert all(head <= position and found[head] == head for position, head in enumerate(found))


async def test_a_flood_of_near_copies_takes_one_place_of_five(memory: MemoryService) -> None:
    await memory.remember(
        [said(n, f"free gift cards for the board game evening code {n}", author=f"spam{n % 7}") for n in range(1, 51)]
    )
    others = ("the board game evening is on thursday", "who brings a board game?", "game evening at eight, board room")
    await memory.remember([said(100 + n, text, author="Tess") for n, text in enumerate(others)])
    await memory.queue.embedded()
    recall = await memory.recall("when is the board game evening?", Scope(GUILD, frozenset([CHANNEL])), limit=5)
    spam = [result for result in recall.results if "gift" in result.message.content]
    assert len(spam) <= 1
    assert len(recall.results) - len(spam) == 3
