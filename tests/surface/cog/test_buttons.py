"""Buttons under an answer: they act within the rights of whoever presses, at that moment, and outlive the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.house import new_world
from tests.loopback import LoopbackDiscord, Permission, deny

from .tea_house import bot_on

if TYPE_CHECKING:
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder
    from tests.loopback import Interaction

    from .tea_house import TeaHouse


def descriptions(reply: Interaction) -> list[str]:
    return [embed.get("description", "").splitlines()[0] for embed in reply.embeds]


def shown_publicly(house: TeaHouse) -> list[str]:
    """What the bot has said to everybody in #general."""
    return [
        f"{message.content}\n{embed.get('description', '')}"
        for message in house.general.history(100)
        if message.author.id == house.world.bot.id
        for embed in message.embeds
    ]


async def a_few_teas(house: TeaHouse) -> None:
    for kind in ("black", "green", "white", "oolong", "mint", "chai", "rooibos"):
        house.general.post(house.ada, f"{kind} tea is on the shelf")
    await house.settle()


async def test_pages_follow_one_another_and_lead_back(house: TeaHouse) -> None:
    await a_few_teas(house)
    first = await house.recall("which tea is on the shelf?", limit=3)
    assert len(first.embeds) == 3
    assert "Back" not in first.buttons
    pages = [descriptions(first)]
    second = await house.discord.press(first, "Next")
    pages.append(descriptions(second))
    third = await house.discord.press(second, "Next")
    pages.append(descriptions(third))
    assert "Next" not in third.buttons
    assert [len(page) for page in pages] == [3, 3, 1]
    assert len({line for page in pages for line in page}) == 7
    again = await house.discord.press(third, "Back")
    assert descriptions(again) == pages[1]
    assert again.message is first.message


async def test_a_filter_stays_with_the_pages(house: TeaHouse) -> None:
    await a_few_teas(house)
    house.general.post(house.mod, "my tea is on the shelf, too")
    await house.settle()
    first = await house.recall("tea on the shelf", limit=2, author=house.ada)
    second = await house.discord.press(first, "Next")
    assert all(embed["author"]["name"] == "ada" for embed in second.embeds)


async def test_buttons_work_after_a_restart(tmp_path: Path, load_shared: LoadEncoder) -> None:
    async with LoopbackDiscord(new_world()) as server:
        async with bot_on(server, tmp_path, load_shared) as house:
            await a_few_teas(house)
            first = await house.recall("which *tea* is on the shelf?", limit=3)
        async with bot_on(server, tmp_path, load_shared) as again:
            second = await again.discord.press(first, "Next")
            assert len(second.embeds) == 3
            assert "tea" in second.embeds[0]["description"]
            conversation = await again.discord.press(second, "Around 4")
            assert "shelf" in conversation.text


async def test_a_page_turned_shows_only_what_may_be_read_now(house: TeaHouse) -> None:
    for number in range(6):
        house.secret.post(house.mod, f"secret tea number {number}")
    await house.settle()
    first = await house.recall("secret tea", house.mod, limit=3)
    assert len(first.embeds) == 3
    house.mod.remove_role(house.mod.roles[0])
    await house.discord.gateway.barrier()
    second = await house.discord.press(first, "Next")
    assert "number" not in "".join(descriptions(second))


async def test_the_conversation_around_a_hit_is_shown_to_the_presser_alone(house: TeaHouse) -> None:
    house.general.post(house.mod, "did anybody see the ladder?")
    house.general.post(house.ada, "the ladder is behind the shed")
    house.general.post(house.mod, "thanks, found it")
    await house.settle()
    reply = await house.recall("where is the ladder?", limit=1)
    around = await house.discord.press(reply, "Around 1")
    assert around.ephemeral
    for words in ("did anybody see", "behind the shed", "found it"):
        assert words in around.text


async def test_sharing_shows_everybody_what_everybody_may_read(house: TeaHouse) -> None:
    house.general.post(house.ada, "the garden key hangs by the door")
    await house.settle()
    reply = await house.recall("garden key", house.mod)
    pressed = house.discord.start_press(reply, "Share here")
    await pressed.until(lambda each: "Shared" in each.text)
    [shared] = [text for text in shown_publicly(house) if "hangs by the door" in text]
    assert house.mod.mention in shared
    assert not any(message.mentions for message in house.general.history(10) if message.author.id == house.world.bot.id)


async def test_sharing_leaves_out_what_some_may_not_read(house: TeaHouse) -> None:
    house.general.post(house.ada, "the garden key hangs by the door")
    house.secret.post(house.mod, "the vault key is under the mat")
    await house.settle()
    reply = await house.recall("where is the key?", house.mod)
    pressed = house.discord.start_press(reply, "Share here")
    await pressed.until(lambda each: "Shared 1 of 2" in each.text)
    assert "vault" not in "".join(shown_publicly(house))


@pytest.mark.parametrize("label", ["Share here", "Around 1"])
async def test_nothing_hidden_can_be_shared(house: TeaHouse, label: str) -> None:
    house.secret.post(house.mod, "the vault key is under the mat")
    await house.settle()
    reply = await house.recall("vault key", house.mod)
    if label == "Around 1":
        reply = await house.discord.press(reply, "Around 1")
    pressed = house.discord.start_press(reply, "Share here")
    await pressed.until(lambda each: "Not shared" in each.text)
    assert shown_publicly(house) == []


async def test_what_is_left_of_a_page_is_not_shared_when_what_was_asked_for_is_not(house: TeaHouse) -> None:
    house.secret.post(house.mod, "the vault key is under the mat")
    house.general.post(house.ada, "my bicycle has a flat tyre")
    await house.settle()
    reply = await house.recall("vault key", house.mod)
    assert len(reply.embeds) == 2
    pressed = house.discord.start_press(reply, "Share here")
    await pressed.until(lambda each: "Not shared" in each.text)
    assert shown_publicly(house) == []


async def test_who_may_not_write_here_cannot_share_here(house: TeaHouse) -> None:
    house.general.post(house.ada, "the garden key hangs by the door")
    await house.settle()
    reply = await house.recall("garden key")
    house.general.set_overwrite(house.guild.everyone, deny(Permission.SEND_MESSAGES))
    await house.discord.gateway.barrier()
    refused = await house.discord.press(reply, "Share here")
    assert "may not write" in refused.text
    assert shown_publicly(house) == []


async def test_a_judgement_is_kept_with_its_question(house: TeaHouse) -> None:
    message = house.general.post(house.ada, "the garden key hangs by the door")
    await house.settle()
    reply = await house.recall("garden key")
    around = await house.discord.press(reply, "Around 1")
    await house.discord.press(around, "Answers it")
    [judged] = await house.services.judgements.of(house.guild.id)
    assert (judged.query, judged.message_id, judged.user_id, judged.good) == (
        "garden key",
        message.id,
        house.ada.id,
        True,
    )


async def test_results_are_judged_from_the_page_itself(house: TeaHouse) -> None:
    await a_few_teas(house)
    first = await house.recall("which tea is on the shelf?", limit=3)
    second = await house.discord.press(first, "Next")
    [menu] = second.selects
    choices = menu["options"] if isinstance(menu, dict) else menu.options
    assert len(choices) == 6
    bad = next(each for each in choices if each["label"].startswith("5") and each["emoji"]["name"] == "👎")
    reply = await house.discord.select(second, "memory:judge-one", bad["value"])
    assert "1 judgements" in reply.text
    [judged] = await house.services.judgements.of(house.guild.id)
    assert (judged.query, judged.good, judged.user_id) == ("which tea is on the shelf?", False, house.ada.id)
    stored = await house.stored()
    assert stored[judged.message_id] in descriptions(second)[1].replace("**", "")


async def test_what_is_related_can_be_paged_through_and_shared_where_it_was_asked(house: TeaHouse) -> None:
    hidden = house.secret.post(house.mod, "the walnut cabinet must be sold before ada notices")
    for number in range(8):
        house.general.post(house.ada, f"the walnut cabinet number {number} was not sold")
    await house.settle()
    reply = await house.discord.message_menu(house.mod, hidden, "Find related")
    second = await house.discord.press(reply, "Next")
    assert len(second.embeds) == 3
    assert hidden.jump_url in second.content
    pressed = house.discord.start_press(second, "Share here")
    await pressed.until(lambda each: "Shared" in each.text)
    shared = house.secret.history(1)[0]
    assert "walnut" in shared.embeds[0]["description"]
    assert "**" not in shared.embeds[0]["description"]
    assert "notices" not in str(shared.embeds)
    assert shown_publicly(house) == []
