"""`/memory privacy`, `forget me`, `opt-out`, `opt-in`, `export`: what everybody may do."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cogs.memory.personal_data import export_files
from cogs.memory.surface.recall.judgements import Judgement

from .memory_house import MemoryHouse, memory_house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cogs.memory.memory_service import MemoryService


@pytest.fixture
async def house(memory: MemoryService) -> AsyncIterator[MemoryHouse]:
    async with memory_house(memory) as opened:
        yield opened


async def test_privacy_says_what_is_stored_where_for_whom_how_long_and_how_to_delete_it(house: MemoryHouse) -> None:
    await house.say(house.ada, "the samovar is broken", age=timedelta(days=3))
    await house.say(house.ada, "tea is at five", channel=house.garden)
    await house.say(house.admin, "not hers")
    reply = await house.do(house.ada, "memory privacy")
    for part in ("**2 messages**", f"<#{house.general.id}>", f"<#{house.garden.id}>", "ada", "Only on the computer"):
        assert part in reply.text
    for command in ("/memory export", "/memory forget me", "/memory opt-out"):
        assert command in reply.text
    assert "samovar" not in reply.text


async def test_privacy_tells_the_retention_and_the_opt_out(house: MemoryHouse) -> None:
    await house.services.settings.opt_out(house.guild.id, house.ada.id)
    await house.services.settings.change(house.guild.id, lambda s: type(s)(retention_days=30))
    reply = await house.do(house.ada, "memory privacy")
    assert "Nothing." in reply.text
    assert "opted out" in reply.text
    assert "30 days at most" in reply.text


async def test_forget_me_erases_after_a_confirmation_and_gives_a_receipt(house: MemoryHouse) -> None:
    await house.say(house.ada, "the samovar is broken")
    await house.say(house.ada, "tea is at five", channel=house.secret)
    kept = await house.say(house.admin, "noted")
    judgement = Judgement("samovar?", kept.id, kept.channel_id, house.ada.id, good=True)
    await house.services.judgements.add(house.guild.id, judgement)
    reply = await house.do(house.ada, "memory forget me")
    assert "2 messages" in reply.text
    assert await house.stored() == ["the samovar is broken", "tea is at five", "noted"]
    done = await house.press(reply, "Erase")
    assert "Erased: 2 messages, search data included. Other traces, such as judgements of results: 1." in done.text
    assert not done.buttons
    assert await house.stored() == ["noted"]
    assert not await house.services.settings.is_opted_out(house.guild.id, house.ada.id)


async def test_after_forget_me_no_byte_of_it_is_left_in_the_data_folder(house: MemoryHouse, tmp_path: Path) -> None:
    def canaries() -> list[str]:
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        return [path.name for path in files if b"zanzibarquokka" in path.read_bytes().lower()]

    await house.say(house.ada, "the zanzibarquokka is mine", extra="ZanzibarQuokka.png")
    await house.say(house.admin, "noted")
    assert canaries()
    await house.press(await house.do(house.ada, "memory forget me"), "Erase")
    assert canaries() == []
    assert await house.stored() == ["noted"]


async def test_forget_me_can_be_cancelled(house: MemoryHouse) -> None:
    await house.say(house.ada, "the samovar is broken")
    reply = await house.do(house.ada, "memory forget me")
    cancelled = await house.press(reply, "Cancel")
    assert cancelled.text == "Nothing was changed."
    assert await house.stored() == ["the samovar is broken"]


async def test_forget_me_and_opt_out_in_one(house: MemoryHouse) -> None:
    await house.say(house.ada, "the samovar is broken")
    reply = await house.do(house.ada, "memory forget me")
    done = await house.press(reply, "Erase and opt out")
    assert "nothing new of yours" in done.text
    assert await house.stored() == []
    assert await house.services.settings.is_opted_out(house.guild.id, house.ada.id)


async def test_opt_out_and_opt_in(house: MemoryHouse) -> None:
    reply = await house.do(house.ada, "memory opt-out")
    assert not reply.buttons
    assert await house.services.settings.opted_out(house.guild.id) == {house.ada.id}
    await house.do(house.ada, "memory opt-in")
    assert await house.services.settings.opted_out(house.guild.id) == frozenset()


async def test_opting_out_offers_to_erase_what_is_there(house: MemoryHouse) -> None:
    await house.say(house.ada, "the samovar is broken")
    reply = await house.do(house.ada, "memory opt-out")
    assert await house.stored() == ["the samovar is broken"]
    done = await house.press(reply, "Erase")
    assert "Erased: 1 message," in done.text
    assert await house.stored() == []


async def test_export_is_a_file_of_everything_of_the_asker_and_nothing_else(house: MemoryHouse) -> None:
    mine = await house.say(house.ada, "the samovar is broken", attachments=("samovar.png",))
    await house.say(house.admin, "not hers")
    judgement = Judgement("samovar?", mine.id, mine.channel_id, house.ada.id, good=True)
    await house.services.judgements.add(house.guild.id, judgement)
    reply = await house.do(house.ada, "memory export")
    [attachment] = reply.attachments
    assert attachment.filename == "my-messages.json"
    data = json.loads(attachment.data)
    assert [message["content"] for message in data["messages"]] == ["the samovar is broken"]
    assert data["messages"][0]["id"] == str(mine.id)
    assert data["messages"][0]["channel"] == "general"
    assert data["messages"][0]["attachments"] == ["samovar.png"]
    assert [each["query"] for each in data["judgements"]] == ["samovar?"]
    assert "not hers" not in attachment.data.decode()


async def test_export_of_nothing_says_so(house: MemoryHouse) -> None:
    reply = await house.do(house.ada, "memory export")
    assert "nothing to export" in reply.text
    assert not reply.attachments


def test_an_export_too_large_for_one_file_is_compressed_then_split_and_loses_nothing() -> None:
    messages = [{"id": str(n), "content": f"{n * 7919 % 10007:x}" * 20} for n in range(400)]
    files = export_files(messages, {}, limit=2000)
    assert len(files) > 1
    assert all(len(content) <= 2000 for _, content in files)
    assert len({name for name, _ in files}) == len(files)
    parts = [json.loads(gzip.decompress(content))["messages"] for _, content in files]
    assert [message for part in parts for message in part] == messages


async def test_erasing_again_and_again_is_slowed_down(house: MemoryHouse) -> None:
    for _ in range(3):
        await house.do(house.ada, "memory forget me")
    reply = await house.do(house.ada, "memory forget me")
    assert "That was quick" in reply.text


async def test_the_commands_answer_in_german_to_who_speaks_it(house: MemoryHouse) -> None:
    house.ada.user.locale = "de"
    assert "nichts auszugeben" in (await house.do(house.ada, "memory export")).text
