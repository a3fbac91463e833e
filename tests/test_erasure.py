"""Erasure for real: nothing comes back, nothing is found, and not one byte of it is left in the data folder."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cogs.memory.erasure import Erasure, ErasureReceipt, forget_channel, forget_guild, forget_user
from cogs.memory.records import ChannelInfo, Scope, StoredMessage
from cogs.memory.surface.commands.command_services import CommandServices
from cogs.memory.surface.departures import DUE_KEY, KNOWN_KEY
from cogs.memory.surface.failures import Failures
from cogs.memory.surface.guild_settings import GuildSettingsStore
from cogs.memory.surface.recall.judgements import Judgement, Judgements
from cogs.memory.surface.red import RedData
from tests.conftest import said

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any

    from cogs.memory.memory_service import MemoryService
    from tests.conftest import OpenMemory

GUILD, OTHER_GUILD = 10, 11
LOBBY, GARDEN, THREAD = 20, 21, 22
CANARY = "zanzibarquokka"
ADA = said(1, "", author="Ada").author_id


def canary_in(folder: Path) -> list[str]:
    """The files of the folder that hold the canary, in any of the encodings text has on a disk, or beheaded."""
    needles = [text.encode(code) for text in (CANARY, CANARY[3:]) for code in ("utf-8", "utf-16-le")]
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path.name for path in files if any(needle in path.read_bytes().lower() for needle in needles)]


def by_ada(message_id: int, text: str = f"the {CANARY} is mine", **fields: Any) -> StoredMessage:
    return replace(said(message_id, text, author="Ada"), **fields)


async def fill(memory: MemoryService) -> None:
    """Ada's canary in text, edits, names, files and embeds, between what others say."""
    messages = [
        said(1, "good morning"),
        by_ada(2),
        by_ada(3, "harmless for now"),
        by_ada(4, "a picture", attachments=(f"{CANARY}.png",), extra=f"{CANARY}.png a preview"),
        replace(by_ada(5, "under another name"), author_name=f"Ada {CANARY}", author_handle=f"{CANARY}_1"),
        said(6, "good evening", reply_to=2),
    ]
    await memory.remember(messages)
    await memory.queue.embedded()
    edited = datetime(2025, 4, 1, tzinfo=UTC)
    await memory.remember([by_ada(3, f"now with {CANARY}", edited_at=edited)])
    await memory.remember([by_ada(2, "and now without", edited_at=edited)])
    await memory.remember([said(n, f"filler number {n}", author="Ben") for n in range(100, 130)])
    await memory.queue.embedded()


async def texts(memory: MemoryService, guild_id: int = GUILD) -> list[str]:
    return [message.content async for message in memory.store.iterate(guild_id)]


async def test_no_byte_of_a_forgotten_user_is_left_open_or_closed(open_memory: OpenMemory, tmp_path: Path) -> None:
    async with open_memory() as memory:
        judgements = Judgements(memory.store)
        await fill(memory)
        await judgements.add(GUILD, Judgement(f"where is the {CANARY}?", 6, LOBBY, ADA, good=True))
        assert canary_in(tmp_path), "the scan must be able to find it"
        receipt = await forget_user(memory, GUILD, ADA, also=[judgements])
        assert (receipt.messages, receipt.traces, receipt.subject) == (4, 1, "user")
        assert canary_in(tmp_path) == []
        assert len(await texts(memory)) == 32
    assert canary_in(tmp_path) == []
    async with open_memory() as memory:
        recall = await memory.recall(CANARY, Scope(GUILD, frozenset([LOBBY])), limit=50)
        assert all(result.message.author_id != ADA for result in recall.results)
    assert canary_in(tmp_path) == []


async def test_no_byte_of_a_forgotten_channel_is_left_nor_its_name_nor_its_threads(
    open_memory: OpenMemory, tmp_path: Path
) -> None:
    async with open_memory() as memory:
        await memory.name_channels(
            [
                ChannelInfo(GARDEN, GUILD, f"{CANARY}-garden"),
                ChannelInfo(THREAD, GUILD, f"about the {CANARY}", GARDEN),
                ChannelInfo(LOBBY, GUILD, "lobby"),
            ]
        )
        await memory.remember([said(1, "good morning"), by_ada(2, channel_id=GARDEN), by_ada(3, channel_id=THREAD)])
        await memory.queue.embedded()
        assert canary_in(tmp_path)
        assert (await forget_channel(memory, GUILD, GARDEN)).messages == 2
        assert await texts(memory) == ["good morning"]
        assert canary_in(tmp_path) == []
    assert canary_in(tmp_path) == []


async def test_no_byte_of_a_forgotten_server_is_left_and_the_other_keeps_its_own(
    open_memory: OpenMemory, tmp_path: Path
) -> None:
    async with open_memory() as memory:
        await fill(memory)
        await memory.remember([said(999, "elsewhere", guild_id=OTHER_GUILD)])
        receipt = await forget_guild(memory, GUILD)
        assert (receipt.messages, receipt.subject) == (36, "server")
        assert canary_in(tmp_path) == []
        assert await texts(memory) == []
        assert await texts(memory, OTHER_GUILD) == ["elsewhere"]


async def test_what_was_queued_before_does_not_come_back(memory: MemoryService) -> None:
    await memory.remember([by_ada(n) for n in range(1, 60)])
    await memory.remember([said(100, "in the lobby"), by_ada(101, channel_id=GARDEN)])
    await forget_channel(memory, GUILD, GARDEN)
    await memory.remember([by_ada(n) for n in range(60, 80)])
    receipt = await forget_user(memory, GUILD, ADA)
    await memory.queue.embedded()
    assert receipt.messages == 79
    assert await texts(memory) == ["in the lobby"]


async def test_old_messages_of_a_forgotten_user_are_refused_and_new_ones_taken(memory: MemoryService) -> None:
    await memory.remember([by_ada(1)])
    await forget_user(memory, GUILD, ADA)
    later = datetime.now(UTC) + timedelta(seconds=5)
    await memory.remember([by_ada(1), by_ada(2, "never seen before"), by_ada(3, "new", created_at=later)])
    await memory.queue.stored()
    assert await texts(memory) == ["new"]


async def test_a_kept_answer_does_not_show_what_was_erased(memory: MemoryService) -> None:
    scope = Scope(GUILD, frozenset([LOBBY]))
    await memory.remember([by_ada(1), said(2, "good morning")])
    await memory.queue.embedded()
    for _ in range(2):
        assert 1 in {result.message.id for result in (await memory.recall(CANARY, scope)).results}
    await forget_user(memory, GUILD, ADA)
    again = await memory.recall(CANARY, scope)
    assert 1 not in {m.id for r in again.results for m in (r.message, *r.before, *r.after)}


async def test_forgetting_who_was_never_there_is_no_error(memory: MemoryService) -> None:
    receipt = await forget_user(memory, GUILD, 424242)
    assert receipt == ErasureReceipt(GUILD, "user", 0, 0, receipt.seconds)


class Keeper:
    """Notes what it was told to let go of, and what was stored at that time."""

    def __init__(self, memory: MemoryService) -> None:
        self.memory = memory
        self.told: list[tuple[int, int | None, int | None]] = []
        self.stored_then: list[int] = []

    async def forget(self, guild_id: int, *, user_id: int | None = None, channel_id: int | None = None) -> int:
        self.told.append((guild_id, user_id, channel_id))
        self.stored_then.append(len(await texts(self.memory)))
        return 3


async def test_what_else_keeps_traces_is_told_first_threads_included(memory: MemoryService) -> None:
    await memory.remember([by_ada(1, channel_id=GARDEN)])
    await memory.queue.stored()
    await memory.name_channels([ChannelInfo(THREAD, GUILD, "compost", GARDEN)])
    keeper = Keeper(memory)
    receipt = await forget_channel(memory, GUILD, GARDEN, also=[keeper])
    assert keeper.told == [(GUILD, None, GARDEN), (GUILD, None, THREAD)]
    assert keeper.stored_then == [1, 1]
    assert receipt.traces == 6


class RedCog(RedData):
    """A cog on one guild; another one was left not long ago."""

    def __init__(self, memory: MemoryService) -> None:
        judgements = Judgements(memory.store)
        self.services = CommandServices(
            memory=memory,
            settings=GuildSettingsStore(memory.store),
            judgements=judgements,
            erasure=Erasure(memory, [judgements]),
            failures=Failures(),
            access=None,  # type: ignore[arg-type] # these methods answer no command
            verification=None,  # type: ignore[arg-type]
            history=None,  # type: ignore[arg-type]
            samples=None,  # type: ignore[arg-type]
            retention=None,  # type: ignore[arg-type]
        )

    def present_guild_ids(self) -> Iterable[int]:
        return [GUILD]


@pytest.mark.parametrize("requester", ["discord_deleted_user", "owner", "user", "user_strict"])
async def test_red_deletes_a_user_everywhere_whoever_asks(
    memory: MemoryService, tmp_path: Path, requester: Any
) -> None:
    cog = RedCog(memory)
    await memory.store.put_setting(0, DUE_KEY, json.dumps({str(OTHER_GUILD): "2030-01-01T00:00:00+00:00"}))
    await memory.store.put_setting(0, KNOWN_KEY, json.dumps([GUILD]))
    await memory.remember([by_ada(1), by_ada(2, guild_id=OTHER_GUILD), said(3, "good morning")])
    await memory.queue.embedded()
    await cog.services.settings.opt_out(GUILD, ADA)
    await cog.red_delete_data_for_user(requester=requester, user_id=ADA)
    assert await texts(memory) == ["good morning"]
    assert await texts(memory, OTHER_GUILD) == []
    assert canary_in(tmp_path) == []
    assert await cog.services.settings.is_opted_out(GUILD, ADA) == (requester != "discord_deleted_user")


async def test_red_refuses_a_requester_it_does_not_know(memory: MemoryService) -> None:
    bogus: Any = "somebody"
    with pytest.raises(ValueError, match="discord_deleted_user, owner, user, user_strict"):
        await RedCog(memory).red_delete_data_for_user(requester=bogus, user_id=ADA)


async def test_red_gets_a_file_for_each_server_with_something_of_the_user(memory: MemoryService) -> None:
    cog = RedCog(memory)
    await memory.remember([by_ada(1), said(3, "good morning")])
    await memory.queue.stored()
    await cog.services.judgements.add(GUILD, Judgement("tea?", 3, LOBBY, ADA, good=False))
    files = await cog.red_get_data_for_user(user_id=ADA)
    assert list(files) == [f"memory-{GUILD}.json"]
    data = json.load(files[f"memory-{GUILD}.json"])
    assert [message["id"] for message in data["messages"]] == ["1"]
    assert data["judgements"] == [{"query": "tea?", "message_id": "3", "good": False}]
    assert await cog.red_get_data_for_user(user_id=424242) == {}
