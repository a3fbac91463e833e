"""The guild's settings: what they mean, that they last, and that nothing damaged passes for a decision."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.memory.records import MAX_ID
from cogs.memory.stores.sqlite import SqliteStore
from cogs.memory.surface.guild_settings import (
    MAX_INSTRUCTION,
    MAX_RETENTION_DAYS,
    OPTED_OUT_KEY,
    SETTINGS_KEY,
    DamagedSettings,
    GuildSettings,
    GuildSettingsStore,
    decode_settings,
)
from cogs.memory.surface.kept_settings import encode_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

GUILD, OTHER = 10, 11
IDS = st.frozensets(st.integers(1, MAX_ID), max_size=4)
LINES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=MAX_INSTRUCTION)
SETTINGS = st.builds(
    GuildSettings,
    allowed_channels=IDS,
    denied_channels=IDS,
    retention_days=st.none() | st.integers(1, MAX_RETENTION_DAYS),
    instruction=st.none() | LINES,
    backfill_on_join=st.booleans(),
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path)
    await opened.open()
    yield opened
    await opened.close()


@given(SETTINGS)
@settings(derandomize=True, max_examples=40)
def test_what_is_encoded_is_decoded_again(given_settings: GuildSettings) -> None:
    assert decode_settings(encode_record(given_settings)) == given_settings


@given(st.text(max_size=40) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
@settings(derandomize=True, max_examples=40)
def test_whatever_is_stored_is_either_settings_or_called_damaged(text: str) -> None:
    with suppress(DamagedSettings):
        assert isinstance(decode_settings(text), GuildSettings)


@given(SETTINGS, st.integers(1, MAX_ID), st.none() | st.integers(1, MAX_ID))
@settings(derandomize=True, max_examples=40)
def test_denied_wins_over_allowed_and_a_thread_follows_its_channel(
    some: GuildSettings, channel_id: int, parent_id: int | None
) -> None:
    denied = replace(some, denied_channels=some.denied_channels | {parent_id or channel_id})
    assert not denied.indexes(channel_id, parent_id)
    allowed = replace(some, denied_channels=frozenset(), allowed_channels=frozenset([parent_id or channel_id]))
    assert allowed.indexes(channel_id, parent_id)


def test_an_empty_list_of_allowed_channels_allows_all_and_any_other_only_its_own() -> None:
    assert GuildSettings().indexes(5, None)
    only = GuildSettings(allowed_channels=frozenset([7]))
    assert not only.indexes(5, None)
    assert not only.indexes(5, 6)
    assert only.indexes(5, 7)
    assert only.indexes(7, 6)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "null",
        "[]",
        '{"allowed_channels": [0]}',
        '{"allowed_channels": ["5"]}',
        '{"allowed_channels": [true]}',
        '{"allowed_channels": {"5": 1}}',
        '{"allowed_channels": [[5]]}',
        '{"denied_channels": [9223372036854775808]}',
        '{"retention_days": 0}',
        '{"retention_days": true}',
        '{"retention_days": 30.0}',
        '{"retention_days": "30"}',
        '{"instruction": " "}',
        '{"instruction": "two\\nlines"}',
        '{"backfill_on_join": 1}',
        '{"from_a_newer_version": 1}',
    ],
)
async def test_damaged_settings_raise_and_are_never_taken_for_the_defaults(store: SqliteStore, stored: str) -> None:
    await store.put_setting(GUILD, SETTINGS_KEY, stored)
    kept = GuildSettingsStore(store)
    for _ in range(2):
        with pytest.raises(DamagedSettings, match="cannot be understood"):
            await kept.get(GUILD)
    with pytest.raises(DamagedSettings):
        await kept.change(GUILD, lambda each: each)
    assert await store.get_setting(GUILD, SETTINGS_KEY) == stored
    await kept.put(GUILD, GuildSettings(retention_days=3))
    assert (await kept.get(GUILD)).retention_days == 3


@pytest.mark.parametrize("stored", ["{}", "[0]", '["1"]', "?"])
async def test_a_damaged_list_of_opt_outs_opts_nobody_in(store: SqliteStore, stored: str) -> None:
    await store.put_setting(GUILD, OPTED_OUT_KEY, stored)
    kept = GuildSettingsStore(store)
    with pytest.raises(DamagedSettings):
        await kept.is_opted_out(GUILD, 1)
    with pytest.raises(DamagedSettings):
        await kept.opt_out(GUILD, 1)
    assert await kept.reset_all(GUILD)
    assert await kept.opted_out(GUILD) == frozenset()


async def test_settings_and_opt_outs_outlive_the_object_and_stay_in_their_guild(store: SqliteStore) -> None:
    first = GuildSettingsStore(store)
    await first.put(GUILD, GuildSettings(denied_channels=frozenset([5])))
    await first.opt_out(GUILD, 7)
    second = GuildSettingsStore(store)
    assert await second.get(GUILD) == GuildSettings(denied_channels=frozenset([5]))
    assert await second.opted_out(GUILD) == {7}
    assert await second.get(OTHER) == GuildSettings()
    assert not await second.is_opted_out(OTHER, 7)


async def test_each_guild_is_read_once(store: SqliteStore) -> None:
    kept = GuildSettingsStore(store)
    assert await kept.get(GUILD) == GuildSettings()
    assert not await kept.is_opted_out(GUILD, 7)
    await store.put_setting(GUILD, SETTINGS_KEY, "damaged behind its back")
    await store.put_setting(GUILD, OPTED_OUT_KEY, "as well")
    assert await kept.get(GUILD) == GuildSettings()
    assert not await kept.is_opted_out(GUILD, 7)


async def test_changes_at_the_same_time_are_all_kept(store: SqliteStore) -> None:
    kept = GuildSettingsStore(store)

    def deny(channel_id: int) -> Any:
        return kept.change(GUILD, lambda each: replace(each, denied_channels=each.denied_channels | {channel_id}))

    await asyncio.gather(*(deny(i) for i in range(1, 21)), *(kept.opt_out(GUILD, i) for i in range(1, 21)))
    await asyncio.gather(*(kept.opt_in(GUILD, i) for i in range(1, 11)))
    again = GuildSettingsStore(store)
    assert (await again.get(GUILD)).denied_channels == frozenset(range(1, 21))
    assert await again.opted_out(GUILD) == frozenset(range(11, 21))


async def test_removing_a_guild_keeps_who_opted_out(store: SqliteStore) -> None:
    kept = GuildSettingsStore(store)
    await kept.put(GUILD, GuildSettings(retention_days=3))
    await kept.opt_out(GUILD, 7)
    await kept.remove(GUILD)
    assert await kept.get(GUILD) == GuildSettings()
    assert await kept.is_opted_out(GUILD, 7)
    assert await store.get_setting(GUILD, SETTINGS_KEY) is None


async def test_an_id_that_cannot_be_one_is_refused(store: SqliteStore) -> None:
    kept = GuildSettingsStore(store)
    for user_id in (0, -1, 2**63):
        with pytest.raises(ValueError, match="ids"):
            await kept.opt_out(GUILD, user_id)
