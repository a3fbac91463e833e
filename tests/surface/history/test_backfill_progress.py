"""Figures and words of a back-fill's progress."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import discord
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.memory.records import StoredMessage
from cogs.memory.surface.history.backfill_progress import (
    BackfillProgress,
    ChannelShare,
    RunState,
    bar,
    describe,
    estimate,
)
from cogs.memory.surface.history.backfill_texts import ENGLISH, GERMAN, backfill_texts
from cogs.memory.surface.history.verified_ids import VerifiedIds
from cogs.memory.surface.history.walk import PARKED_S, Checkpoint, decode_checkpoint

shares = st.builds(
    ChannelShare,
    pages=st.integers(0, 10_000),
    share=st.floats(0, 1, allow_nan=False, width=32),
)


@given(st.lists(shares, max_size=50))
@settings(derandomize=True, max_examples=100)
def test_an_estimate_is_a_share_and_some_pages(channels: list[ChannelShare]) -> None:
    share, left = estimate(channels)
    assert 0 <= share <= 1
    assert left >= sum(channel.share < 1 for channel in channels)
    assert (share == 1) == all(channel.share >= 1 for channel in channels)


def test_a_half_read_channel_leaves_as_many_pages_and_a_new_one_the_average() -> None:
    assert estimate([ChannelShare(10, 0.5)]) == (0.5, 10.0)
    share, left = estimate([ChannelShare(10, 1.0), ChannelShare(0, 0.0)])
    assert (share, left) == (0.5, 10.0)
    assert estimate([]) == (1.0, 0.0)


def test_only_what_is_finished_shows_a_full_bar() -> None:
    assert bar(0, 4) == "░░░░"
    assert bar(0.5, 4) == "██░░"
    assert bar(0.9999, 4) == "███░"
    assert bar(1, 4) == "████"


def test_a_running_back_fill_says_how_fast_it_is_and_how_long_it_takes() -> None:
    progress = BackfillProgress(
        state=RunState.RUNNING,
        channels_done=3,
        channels_total=12,
        refused=(1, 2),
        messages=48_211,
        share=0.42,
        messages_per_s=96.4,
        seconds_left=25 * 60,
    )
    text = describe(progress, ENGLISH)
    assert "`████████░░░░░░░░░░░░` 42%" in text
    assert "3 of 12 channels · 48,211 messages · 96 messages/s · about 25 min left" in text
    assert "There are 2 channels that I may not read" in text
    assert "48.211 Nachrichten" in describe(progress, GERMAN)


@pytest.mark.parametrize("state", list(RunState))
def test_every_state_has_words_in_both_languages(state: RunState) -> None:
    progress = BackfillProgress(state=state, channels_total=1)
    assert describe(progress, ENGLISH) != describe(progress, GERMAN)
    assert backfill_texts(discord.Locale.german) is GERMAN
    assert backfill_texts("fr") is ENGLISH


def test_translations_fill_in_the_same_values() -> None:
    for name in ENGLISH.__slots__:
        english, german = getattr(ENGLISH, name), getattr(GERMAN, name)
        assert set(re.findall(r"{\w+}", german)) <= set(re.findall(r"{\w+}", english)), name


def test_a_clock_that_jumps_parks_nothing_for_longer_than_agreed() -> None:
    assert Checkpoint(parked_until=9e12).parked_s == PARKED_S
    assert Checkpoint(parked_until=1.0).parked_s == 0


def test_a_longer_retention_reads_on_below_the_old_end() -> None:
    done = '{"before": 500, "top": 900, "floor": 400, "done": true}'
    assert decode_checkpoint(done, 400).done
    assert decode_checkpoint(done, 600).done
    below = decode_checkpoint(done, 0)
    assert (below.done, below.before, below.floor) == (False, 500, 0)


def a_message(message_id: int, channel_id: int = 7) -> StoredMessage:
    return StoredMessage(message_id, 1, channel_id, 3, "Mia", "tea", datetime(2025, 6, 1, tzinfo=UTC) + timedelta(0))


@given(st.lists(st.integers(1, 300), max_size=200), st.integers(1, 300))
@settings(derandomize=True, max_examples=50)
def test_verified_are_exactly_the_ids_added_in_this_epoch(ids: list[int], heard: int) -> None:
    verified = VerifiedIds()
    verified.add(1, verified.epoch(1), [a_message(5000)])
    verified.begin_epoch(1)
    epoch = verified.epoch(1)
    for message_id in ids:
        verified.add(1, epoch, [a_message(message_id)])
    assert {i for i in range(1, 301) if verified.holds(a_message(i))} == set(ids)
    assert not verified.holds(a_message(5000))
    assert not any(verified.holds(a_message(i, channel_id=8)) for i in ids)
    verified.hear(1, 7, heard)
    assert {i for i in range(1, 301) if verified.holds(a_message(i))} == set(ids) | set(range(heard, 301))
    verified.add(1, epoch - 1, [a_message(6000, channel_id=9)])
    assert not verified.holds(a_message(6000, channel_id=9)), "asked for in an epoch that is over"


def test_many_verified_ids_are_found_again_after_sorting() -> None:
    verified = VerifiedIds()
    for start in range(20_000, 0, -100):
        verified.add(1, 0, [a_message(i) for i in range(start, start - 100, -2)])
    assert all(verified.holds(a_message(i)) for i in range(2, 20_001, 2))
    assert not any(verified.holds(a_message(i)) for i in range(1, 20_000, 2))
