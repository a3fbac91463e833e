"""A growing reply is shown at once, then now and then, and whole at the end."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.chat.pacing import EditPace, snapshots
from tests.virtual_time import in_virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.virtual_time import VirtualTime


def test_the_first_words_are_shown_at_once_and_further_ones_in_time() -> None:
    pace = EditPace(every_s=2, fewest_new=5)
    assert pace.due_in(0) is None
    pace.add("  ")
    assert pace.due_in(0) is None
    pace.add("Tea is")
    assert pace.due_in(10) == 0
    pace.shown(10)
    assert pace.due_in(10) is None
    pace.add(" at five")
    assert pace.due_in(11) == 1
    assert pace.due_in(99) == 0


def test_few_new_characters_wait_one_interval_longer() -> None:
    pace = EditPace(every_s=2, fewest_new=5)
    pace.add("Tea")
    pace.shown(0)
    pace.add(".")
    assert pace.due_in(2) == 2
    pace.add(" At five.")
    assert pace.due_in(2) == 0


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.text("ab ", max_size=30), st.floats(0, 0.5)), max_size=200))
def test_edits_are_never_closer_than_the_interval(pieces: list[tuple[str, float]]) -> None:
    pace, now, edits = EditPace(), 0.0, []
    for piece, wait in pieces:
        now += wait
        pace.add(piece)
        if pace.due_in(now) == 0:
            pace.shown(now)
            edits.append(now)
    assert all(later - earlier >= 1.5 for earlier, later in pairwise(edits))


def test_a_long_text_is_shown_less_often() -> None:
    pace = EditPace(every_s=1)
    pace.add("x" * 4000)
    pace.shown(0)
    pace.add("y" * 100)
    assert pace.due_in(0) == 5


async def pieces(*texts: str | float | Exception) -> AsyncIterator[str]:
    for each in texts:
        if isinstance(each, Exception):
            raise each
        if isinstance(each, float):
            await asyncio.sleep(each)
        else:
            yield each


@in_virtual_time
async def test_what_came_is_shown_while_nothing_further_comes(clock: VirtualTime) -> None:
    pace = EditPace(every_s=1, fewest_new=1)
    seen = [text async for text in snapshots(pieces("Tea", " is", 20.0, " at five"), pace=pace, clock=clock)]
    assert seen == ["Tea", "Tea is", "Tea is at five"]


@in_virtual_time
async def test_many_pieces_make_few_edits(clock: VirtualTime) -> None:
    seen = [text async for text in snapshots(pieces(*["word "] * 500), clock=clock)]
    assert len(seen) == 2
    assert seen[-1] == "word " * 500


async def test_a_failure_comes_after_what_was_written() -> None:
    shown = snapshots(pieces("Tea", " is", ValueError("broken")))
    assert [await anext(shown), await anext(shown)] == ["Tea", "Tea is"]
    with pytest.raises(ValueError, match="broken"):
        await anext(shown)
    assert [text async for text in snapshots(pieces())] == []


async def test_who_leaves_early_closes_the_source() -> None:
    closed = []

    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                yield "word "
                await asyncio.sleep(0)
        finally:
            closed.append(True)

    shown = snapshots(endless())
    await anext(shown)
    await shown.aclose()  # type: ignore[attr-defined] # a generator, as all that leave early must be
    assert closed == [True]
