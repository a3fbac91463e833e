"""The memory follows what happens on Discord: nothing gone is kept, nothing stale is shown."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cogs.memory.surface.departures import DUE_KEY, GRACE_KEY, Departures
from tests.house import new_world
from tests.loopback import DEFAULT_BOT, Attachment, LoopbackDiscord, Permission

from .tea_house import bot_on

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder

    from .tea_house import TeaHouse


async def test_what_is_written_edited_and_deleted_is_followed(house: TeaHouse) -> None:
    kept = house.general.post(house.ada, "tea at five")
    gone = house.general.post(house.ada, "forget this")
    kept.edit("tea at six")
    gone.delete()
    assert await house.stored() == {kept.id: "tea at six"}


async def test_bulk_deletion_is_followed(house: TeaHouse) -> None:
    messages = [house.general.post(house.ada, f"spam number {number}") for number in range(20)]
    kept = house.general.post(house.ada, "not spam")
    house.general.delete_messages(messages)
    assert await house.stored() == {kept.id: "not spam"}


async def test_events_that_arrive_the_wrong_way_round_end_the_same(house: TeaHouse) -> None:
    with house.discord.gateway.reversed():
        edited = house.general.post(house.ada, "first words")
        edited.edit("last words")
        gone = house.general.post(house.ada, "never mind")
        gone.delete()
    assert await house.stored() == {edited.id: "last words"}


async def test_repeated_events_change_nothing(house: TeaHouse) -> None:
    message = house.general.post(house.ada, "one")
    message.edit("two")
    message.edit("three")
    gone = house.general.post(house.ada, "gone")
    gone.delete()
    await house.heard()
    house.discord.gateway.repeat(5)
    assert await house.stored() == {message.id: "three"}


async def test_bots_webhooks_and_own_answers_are_not_remembered(house: TeaHouse) -> None:
    other = house.world.user("other-bot")
    other.bot = True
    house.general.post(other, "beep")
    house.general.post_webhook("feed", "breaking news")
    house.general.post(house.world.bot, "my own answer")
    said = house.general.post(house.ada, "a human")
    assert await house.stored() == {said.id: "a human"}


async def test_a_link_preview_is_no_edit(house: TeaHouse) -> None:
    message = house.general.post(house.ada, "look: https://tea.example/oolong")
    await house.settle()
    before = house.services.memory.embedding.encoded
    message.unfurl({"type": "article", "title": "Oolong", "url": "https://tea.example/oolong"})
    message.pin()
    await house.settle()
    assert house.services.memory.embedding.encoded == before


async def test_what_must_not_be_remembered_is_not(house: TeaHouse) -> None:
    await house.services.settings.opt_out(house.guild.id, house.ada.id)
    denied = house.guild.text_channel("denied")
    await house.services.settings.change(
        house.guild.id, lambda settings: type(settings)(denied_channels=frozenset([denied.id]))
    )
    house.general.post(house.ada, "I am not here")
    denied.post(house.mod, "nor is this")
    thread = house.guild.thread(denied, "deeper", house.mod)
    thread.post(house.mod, "nor this")
    kept = house.general.post(house.mod, "but this is")
    assert await house.stored() == {kept.id: "but this is"}


async def test_what_is_stored_already_follows_edits_wherever_it_stands(house: TeaHouse) -> None:
    message = house.general.post(house.mod, "the old text")
    await house.heard()
    await house.services.settings.change(
        house.guild.id, lambda settings: type(settings)(denied_channels=frozenset([house.general.id]))
    )
    message.edit("the new text")
    assert await house.stored() == {message.id: "the new text"}


async def test_a_deleted_channel_takes_its_threads_along(house: TeaHouse) -> None:
    attic = house.guild.text_channel("attic")
    attic.post(house.ada, "an old lamp")
    thread = house.guild.thread(attic, "boxes", house.ada)
    thread.post(house.ada, "a box of photographs")
    lone = house.guild.thread(house.general, "lone", house.ada)
    lone.post(house.ada, "a lonely word")
    kept = house.general.post(house.ada, "downstairs")
    assert len(await house.stored()) == 4
    assert "lamp" in (await house.recall("old lamp")).text
    attic.delete()
    lone.delete()
    assert await house.stored() == {kept.id: "downstairs"}
    assert "photographs" not in (await house.recall("box with old pictures")).text


async def test_an_outage_keeps_everything_and_a_kick_waits(house: TeaHouse) -> None:
    message = house.general.post(house.ada, "still here")
    await house.heard()
    house.guild.outage()
    await house.heard()
    house.guild.recover()
    assert await house.stored() == {message.id: "still here"}
    departures = Departures(house.services.erasure, house.services.settings, clock=in_days(0))
    house.guild.remove_bot()
    await due(house, is_due=True)
    assert await departures.erase_due() == {}
    assert await house.stored() == {message.id: "still here"}
    later = Departures(house.services.erasure, house.services.settings, clock=in_days(8))
    assert await later.erase_due() == {house.guild.id: 1}
    assert await house.stored() == {}


async def test_coming_back_in_time_keeps_everything(house: TeaHouse) -> None:
    message = house.general.post(house.ada, "still here")
    await house.heard()
    house.guild.remove_bot()
    await due(house, is_due=True)
    house.guild.add_bot(DEFAULT_BOT)
    await due(house, is_due=False)
    later = Departures(house.services.erasure, house.services.settings, clock=in_days(8))
    assert await later.erase_due() == {}
    assert message.id in await house.stored()


async def test_a_kick_while_the_bot_is_off_is_found_out(tmp_path: Path, load_shared: LoadEncoder) -> None:
    async with LoopbackDiscord(new_world()) as server:
        async with bot_on(server, tmp_path, load_shared) as house:
            house.general.post(house.ada, "left behind")
            await house.heard()
            await house.services.memory.store.put_setting(0, GRACE_KEY, "48")
        house.guild.remove_bot()
        async with bot_on(server, tmp_path, load_shared) as again:
            await due(again, is_due=True)
            soon = Departures(again.services.erasure, again.services.settings, clock=in_days(1))
            assert await soon.erase_due() == {}
            later = Departures(again.services.erasure, again.services.settings, clock=in_days(3))
            assert await later.erase_due() == {house.guild.id: 1}


async def test_mentions_are_remembered_as_they_are_read(house: TeaHouse) -> None:
    shown = f"{house.mod.mention} see <#{house.general.id}>, not <#{house.secret.id}> <:pot:123456789012345678>"
    message = house.general.post(house.ada, shown)
    assert (await house.stored())[message.id] == "@mod see #general, not #channel :pot:"


async def due(house: TeaHouse, *, is_due: bool) -> None:
    """Wait until it is noted that the guild's memory is due, or that it is not."""
    async with asyncio.timeout(60):
        while (await house.services.memory.store.get_setting(0, DUE_KEY) is not None) != is_due:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def in_days(days: int) -> Callable[[], datetime]:
    return lambda: datetime.now(UTC) + timedelta(days=days)


async def test_what_stands_beside_the_words_is_remembered_too(house: TeaHouse) -> None:
    house.general.post(
        house.ada,
        "",
        attachments=[Attachment(1, "menu spring.pdf", b"", description="our menu")],
        embeds=[
            {"type": "rich", "title": "Oolong", "description": "a tea", "fields": [{"name": "from", "value": "Wuyi"}]}
        ],
    )
    await house.heard()
    [stored] = [message async for message in house.services.memory.store.iterate(house.guild.id)]
    assert stored.content == ""
    assert stored.attachments == ("menu spring.pdf",)
    assert stored.extra == "menu spring.pdf\nour menu\nOolong\na tea\nfrom Wuyi"


async def test_who_answered_whom_is_remembered(house: TeaHouse) -> None:
    house.ada.rename("Ada the Great")
    question = house.general.post(house.mod, "who has the key?")
    answer = house.general.post(house.ada, "I have", reply_to=question)
    await house.heard()
    stored = {message.id: message async for message in house.services.memory.store.iterate(house.guild.id)}
    assert stored[answer.id].reply_to == question.id
    assert (stored[answer.id].author_name, stored[answer.id].author_handle) == ("Ada the Great", "ada")
    assert stored[question.id].reply_to is None


async def test_no_command_shows_what_was_deleted_unheard(house: TeaHouse) -> None:
    gone = house.general.post(house.ada, "the samovar is in the cellar")
    changed = house.general.post(house.ada, "the samovar costs ten")
    house.mod.roles[0].set_permissions(Permission.MANAGE_GUILD)
    await house.settle()
    history = house.services.history
    await history.caught_up(house.guild.id)
    history._tasks[house.guild.id].cancel()
    with house.world.unheard():
        gone.delete()
        changed.edit("the samovar costs twenty")
    history.tools.verified.begin_epoch(house.guild.id)
    for path, options in (
        ("memory explain", {"query": "samovar"}),
        ("memory instruction", {"text": "Find prices", "query": "samovar"}),
    ):
        shown = (await house.discord.slash(house.mod, house.general, path, **options)).text
        assert "costs twenty" in shown
        assert "cellar" not in shown
        assert "costs ten" not in shown
