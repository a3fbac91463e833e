"""Which replies quote what is not said any more, asked of every engine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cogs.memory.records import QuotingReply
from tests.stores.samples import BOB, GUILD, LOBBY, OTHER_GUILD, START, fill, message

if TYPE_CHECKING:
    from cogs.memory.stores import MemoryStore

REPLY = QuotingReply(GUILD, LOBBY, (100, 101))


@pytest.fixture
async def quoted(store: MemoryStore) -> MemoryStore:
    """A store with three messages; a reply quotes the first two."""
    messages = [message(1, "tea at five"), message(2, "in the garden", **BOB), message(3)]
    await fill(store, messages)
    await store.put_reply(REPLY, messages[:2])
    return store


async def test_a_reply_is_not_stale_while_all_stands_as_quoted(quoted: MemoryStore) -> None:
    await quoted.delete(GUILD, [3])
    await quoted.upsert([message(1, "tea at five")])
    await quoted.upsert([replace(message(2, "in the garden", **BOB), author_name="Bobby", edited_at=START)])
    assert await quoted.stale_replies(9) == []


async def test_each_way_a_message_goes_makes_its_replies_stale(quoted: MemoryStore) -> None:
    other = QuotingReply(GUILD, LOBBY, (200,))
    await quoted.put_reply(other, [message(3)])
    await quoted.delete(GUILD, [1])
    assert await quoted.stale_replies(9) == [REPLY]
    await quoted.erase(GUILD)
    assert await quoted.stale_replies(9) == [REPLY, other]
    assert await quoted.stale_replies(1) == [REPLY]


async def test_forgetting_an_author_makes_replies_that_quote_him_stale(quoted: MemoryStore) -> None:
    await quoted.erase(GUILD, author_id=BOB["author_id"])
    assert await quoted.stale_replies(9) == [REPLY]


async def test_an_edit_makes_a_reply_stale(quoted: MemoryStore) -> None:
    await quoted.upsert([replace(message(2, "in the kitchen", **BOB), edited_at=START)])
    assert await quoted.stale_replies(9) == [REPLY]


async def test_what_went_before_the_reply_was_stored_makes_it_stale(store: MemoryStore) -> None:
    await fill(store, [message(1, "tea at six")])
    await store.put_reply(REPLY, [message(1, "tea at five")])
    elsewhere = QuotingReply(OTHER_GUILD, LOBBY, (300,))
    await store.put_reply(elsewhere, [message(1, "tea at six")])
    assert await store.stale_replies(9) == [REPLY, elsewhere]


async def test_a_reply_that_grows_keeps_its_sources_and_its_state(quoted: MemoryStore) -> None:
    await quoted.delete(GUILD, [1])
    longer = QuotingReply(GUILD, LOBBY, (100, 101, 102))
    await quoted.put_reply(longer, [message(3)])
    assert await quoted.stale_replies(9) == [longer]


async def test_a_dropped_reply_is_forgotten_with_its_sources(quoted: MemoryStore) -> None:
    await quoted.delete(GUILD, [1])
    await quoted.drop_reply(OTHER_GUILD, REPLY.id)
    assert await quoted.stale_replies(9) == [REPLY]
    await quoted.drop_reply(GUILD, REPLY.id)
    await quoted.drop_reply(GUILD, REPLY.id)
    await quoted.delete(GUILD, [2])
    assert await quoted.stale_replies(9) == []
