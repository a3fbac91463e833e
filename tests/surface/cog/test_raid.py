"""A small raid on the real bot; ``make soak`` plays the long one and takes the times."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.loopback import DEFAULT_BOT

if TYPE_CHECKING:
    from .tea_house import TeaHouse

FLOOD = 1000
ASKERS = 15


async def test_a_raid_with_questions_a_reload_and_a_back_fill_loses_nothing(house: TeaHouse) -> None:
    askers = [house.guild.member(f"asker {number}") for number in range(ASKERS)]
    archive = house.world.guild("Archive", bot_permissions=None)
    shelf = archive.text_channel("shelf")
    for number in range(50):
        shelf.post(house.ada.user, f"volume {number}")
    house.general.post(house.ada, "the samovar is broken")
    await house.settle()

    async def flood() -> None:
        for number in range(FLOOD):
            house.general.post(house.ada, f"goal number {number}")
            if number % 20 == 0:
                await asyncio.sleep(0)

    flooding = asyncio.create_task(flood())
    archive.add_bot(DEFAULT_BOT)
    reloading = asyncio.create_task(house.services.memory.reload())
    questions = [f"is the samovar broken{'?' * number}" for number in range(ASKERS)]
    asked = zip(questions, askers, strict=True)
    answers = await asyncio.gather(*(house.recall(question, asker) for question, asker in asked))
    await asyncio.gather(flooding, reloading)
    assert [answer.text for answer in answers if not answer.embeds] == []
    assert all("samovar is broken" in answer.text.replace("*", "") for answer in answers)
    looked_up = house.discord.calls("GET", f"/guilds/{house.guild.id}/members/{house.ada.id}")
    assert len(looked_up) == 1, "all are shown the same author"
    assert len(await house.stored()) == FLOOD + 1
    store = house.services.memory.store
    async with asyncio.timeout(60):
        while (await store.stats(archive.id)).messages < 50:  # noqa: ASYNC110 # a back-fill that begins by itself signals nothing
            await asyncio.sleep(0.1)
    assert (house.services.events.dropped, house.services.failures.unexpected) == (0, 0)
