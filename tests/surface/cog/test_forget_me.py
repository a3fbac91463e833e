"""`/memory forget me` in the whole product: what was written is gone from wherever it had come to be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cogs.memory.surface.departures import Departures
from cogs.memory.surface.recall.judgements import Judgement
from tests.test_erasure import canary_in

if TYPE_CHECKING:
    from pathlib import Path

    from .tea_house import TeaHouse

CANARY = "zanzibarquokka"


async def test_no_byte_is_left_on_the_disk_nor_in_queues_caches_judgements_and_suggestions(
    house: TeaHouse, tmp_path: Path
) -> None:
    message = house.general.post(house.ada, f"the {CANARY} is mine")
    message.edit(f"the {CANARY} is still mine")
    kept = house.general.post(house.mod, "noted")
    await house.settle()
    await house.recall(f"whose is the {CANARY}?")
    await house.discord.slash(house.ada, house.general, "memory export")
    judged = Judgement(f"where is the {CANARY}?", kept.id, kept.channel.id, house.ada.id, good=True)
    await house.services.judgements.add(house.guild.id, judged)
    assert canary_in(tmp_path), "the scan must be able to find it"
    assert house.services.memory.get_statistics()["query_cache_size"] == 1
    assert (house.guild.id, house.ada.id) in house.cog.flow._faces

    question = await house.discord.slash(house.ada, house.general, "memory forget me")
    for number in range(50):  # these wait in the line when the button is pressed
        house.general.post(house.ada, f"{CANARY} number {number}")
    await house.discord.gateway.barrier()
    pressed = house.discord.start_press(question, "Erase")
    receipt = await pressed.until(lambda each: "Erased" in each.text)
    assert "Erased: 51 messages" in receipt.text

    assert canary_in(tmp_path) == []
    assert await house.stored() == {kept.id: "noted"}
    assert house.services.memory.get_statistics()["query_cache_size"] == 0
    assert await house.services.judgements.of(house.guild.id) == []
    assert house.services.recent.like(house.guild.id, house.ada.id, "") == []
    assert (house.guild.id, house.ada.id) not in house.cog.flow._faces
    message.edit(f"the {CANARY} comes back")
    await house.settle()
    assert canary_in(tmp_path) == []


async def test_a_server_left_long_ago_leaves_no_judgement_and_no_name_behind(house: TeaHouse, tmp_path: Path) -> None:
    message = house.general.post(house.ada, f"the {CANARY} is mine")
    await house.settle()
    judged = Judgement(f"where is the {CANARY}?", message.id, house.general.id, house.ada.id, good=True)
    await house.services.judgements.add(house.guild.id, judged)
    house.guild.remove_bot()
    await house.heard()
    in_a_month = Departures(
        house.services.erasure,
        house.services.settings,
        on_erased=house.services.history.begin_anew,
        clock=lambda: datetime.now(UTC) + timedelta(days=30),
    )
    await in_a_month.left(house.guild.id)  # as the listener has, or will have, done
    soon = Departures(
        house.services.erasure, house.services.settings, clock=lambda: datetime.now(UTC) + timedelta(days=60)
    )
    assert await soon.erase_due() == {house.guild.id: 1}
    assert await house.services.judgements.of(house.guild.id) == []
    assert canary_in(tmp_path) == []
