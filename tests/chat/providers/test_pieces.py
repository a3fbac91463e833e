"""Deadlines of pieces, and thoughts that are nobody's business."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.chat.providers.failures import ProviderFailed
from cogs.chat.providers.pieces import ThoughtFilter, within_deadline
from tests.virtual_time import in_virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.virtual_time import VirtualTime


class Source:
    """Pieces with pauses, that tells when it was closed."""

    def __init__(self, *steps: str | float) -> None:
        self.closed = False
        self.pieces = self._run(steps)

    async def _run(self, steps: tuple[str | float, ...]) -> AsyncIterator[str]:
        try:
            for step in steps:
                if isinstance(step, str):
                    yield step
                else:
                    await asyncio.sleep(step)
        finally:
            self.closed = True


async def taken(pieces: AsyncIterator[str]) -> tuple[list[str], str]:
    """What came, and why no more."""
    came = []
    try:
        async for piece in pieces:
            came.append(piece)  # noqa: PERF401 # what came before a failure counts
    except ProviderFailed as failed:
        return came, failed.reason
    return came, ""


async def test_pieces_in_time_come_through() -> None:
    source = Source("Tea", 0.0, " is")
    assert await taken(within_deadline(source.pieces, 10)) == (["Tea", " is"], "")
    assert source.closed


@in_virtual_time
async def test_a_late_first_piece_and_a_late_end_are_too_slow(clock: VirtualTime) -> None:
    for steps, came in (((30.0, "Tea"), []), (("Tea", 30.0, " is"), ["Tea"])):
        source, began = Source(*steps), clock.now
        assert await taken(within_deadline(source.pieces, 10)) == (came, "slow")
        assert clock.now - began == pytest.approx(10 if came else 5)
        assert source.closed


@in_virtual_time
async def test_the_whole_time_counts_from_the_beginning(clock: VirtualTime) -> None:
    source = Source(*("word", 2.0) * 500)
    assert await taken(within_deadline(source.pieces, 21)) == (["word"] * 11, "slow")
    assert clock.now == pytest.approx(21)


async def test_who_leaves_early_closes_the_source() -> None:
    source = Source("Tea", " is")
    pieces = within_deadline(source.pieces, 10)
    await anext(pieces)
    await pieces.aclose()  # type: ignore[attr-defined] # a generator
    assert source.closed


def filtered(*pieces: str, thinking: bool = False) -> str:
    thoughts = ThoughtFilter(thinking=thinking)
    return "".join(map(thoughts.feed, pieces)) + thoughts.finish()


def test_thoughts_are_left_out_however_they_are_cut() -> None:
    text = "<think>\nHe asks for tea.\n</think>\n\nTea is <b>at</b> five. 1 < 2 <think>hm</think>Yes."
    for size in range(1, len(text)):
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert filtered(*pieces) == "Tea is <b>at</b> five. 1 < 2 Yes."


def test_a_thought_that_never_ends_says_nothing_and_a_stray_end_is_left_out() -> None:
    assert filtered("Tea. <think>but ", "wait") == "Tea. "
    assert filtered("hm</think>Tea.", thinking=True) == "Tea."
    assert filtered("hm</think>Tea.") == "hmTea."
    assert filtered("a <thi") == "a <thi"


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["<", "th", "ink>", "<think>", "</think>", "/", "tea", " "]), max_size=30))
def test_no_tag_gets_through(pieces: list[str]) -> None:
    shown = filtered(*pieces)
    assert "<think>" not in shown
    assert shown == filtered("".join(pieces))


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(st.text("<thinkx/> ", max_size=9), max_size=9))
def test_text_without_thoughts_stays_as_it_is(pieces: list[str]) -> None:
    text = "".join(pieces)
    if "<think>" not in text and "</think>" not in text:
        assert filtered(*pieces) == text.lstrip()
