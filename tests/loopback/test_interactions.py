"""Commands, buttons, menus and modals reach a bot, and its answers reach the user, as on Discord."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
import pytest

from .errors import HiddenCommandError, UserError
from .interactions import Response

if TYPE_CHECKING:
    from .conftest import TeaHouse


async def test_a_deferred_ephemeral_answer_is_seen_by_its_user_alone(house: TeaHouse) -> None:
    reply = await house.discord.slash(house.ada, house.general, "recall", query="tea", limit=3)
    await reply.until(lambda each: each.content == "page 1")

    assert reply.response is Response.DEFERRED_MESSAGE
    assert reply.deferred
    assert reply.ephemeral
    assert reply.ack_seconds is not None
    assert [version.content for version in reply.versions] == ["searching…", "page 1"]
    assert reply.embeds[0]["title"] == "tea"
    assert reply.attachments[0].data == b"tea"
    assert "limit 3" in reply.text
    assert house.general.history() == []
    with pytest.raises(UserError, match="does not see the ephemeral"):
        house.discord.start_press(reply, "Next", user=house.mod)


async def test_options_arrive_as_the_objects_that_were_chosen(house: TeaHouse) -> None:
    house.ada.rename("Ada L.")
    reply = await house.discord.slash(
        house.mod, house.secret, "recall", query="tea", author=house.ada, channel=house.secret
    )
    await reply.until(lambda each: each.embeds)
    assert [each["value"] for each in reply.embeds[0]["fields"]] == ["Ada L.", "mods-only"]


async def test_a_sub_command_in_a_group_is_reached_by_its_path(house: TeaHouse) -> None:
    reply = await house.discord.slash(house.ada, house.general, "memory forget me")
    assert reply.content == "Forgotten, ada."
    assert not reply.deferred


async def test_autocomplete_offers_choices(house: TeaHouse) -> None:
    choices = await house.discord.autocomplete(house.ada, house.general, "recall", "query", query="tea")
    assert choices == [("tea time", "tea time"), ("tea leaves", "tea leaves")]


async def test_buttons_menus_and_modals_work_like_a_users_clicks(house: TeaHouse) -> None:
    reply = await house.discord.slash(house.ada, house.general, "recall", query="tea")
    await reply.until(lambda each: each.buttons == ["Next", "Order"])

    turned = await house.discord.press(reply, "Next")
    assert turned.response is Response.UPDATE
    assert reply.content == turned.content == "page 2"

    chosen = await house.discord.select(reply, "Colour", "Green")
    assert chosen.followups[0].content == "chose g"
    assert chosen.followups[0].ephemeral

    opened = await house.discord.press(reply, "order")
    assert opened.response is Response.MODAL
    with pytest.raises(UserError, match="must be filled in"):
        await house.discord.submit(opened, milk=["oat"])
    done = await house.discord.submit(opened, kind_of_tea="oolong", milk=["oat"])
    assert done.content == "One oolong with oat, please."


async def test_a_message_menu_gets_the_message_with_its_text(house: TeaHouse) -> None:
    message = house.general.post(house.mod, "the samovar is broken")
    reply = await house.discord.message_menu(house.ada, message, "Find related")
    assert reply.content == "related to 'the samovar is broken' by mod"
    assert not reply.ephemeral
    assert house.general.history()[-1] is reply.message


async def test_a_user_menu_gets_the_member(house: TeaHouse) -> None:
    reply = await house.discord.user_menu(house.ada, house.general, house.mod, "Greet")
    assert reply.content == f"hello {house.mod.mention}"
    assert reply.message is not None
    assert not reply.message.mentions


async def test_the_original_response_and_follow_ups_can_be_fetched_edited_and_deleted(house: TeaHouse) -> None:
    taken: list[discord.Interaction] = []

    @house.bot.event
    async def on_interaction(interaction: discord.Interaction) -> None:
        taken.append(interaction)

    message = house.general.post(house.mod, "hello")
    reply = await house.discord.message_menu(house.ada, message, "Find related")
    interaction = taken[0]
    original = await interaction.original_response()
    assert original.content == reply.content
    more = await interaction.followup.send("more", wait=True)
    await more.edit(content="even more")
    assert [each.content for each in reply.followups] == ["even more"]
    await more.delete()
    await interaction.delete_original_response()
    assert house.general.history() == [message]
    with pytest.raises(discord.NotFound) as gone:
        await interaction.edit_original_response(content="too late")
    assert gone.value.code == 10008


async def test_what_the_client_would_not_send_is_refused(house: TeaHouse) -> None:
    start, ada, general = house.discord.start_slash, house.ada, house.general
    with pytest.raises(UserError, match="needs the option 'query'"):
        start(ada, general, "recall")
    with pytest.raises(UserError, match="must be from 1 to 10"):
        start(ada, general, "recall", query="tea", limit=11)
    with pytest.raises(UserError, match="has no option"):
        start(ada, general, "recall", query="tea", colour="green")
    with pytest.raises(UserError, match="is a group"):
        start(ada, general, "memory forget")
    with pytest.raises(UserError, match="no command 'remember'"):
        start(ada, general, "remember")
    house.discord.commands.enforce_visibility = False
    with pytest.raises(UserError, match="does not see"):
        start(ada, house.secret, "memory forget me")


async def test_an_admin_command_is_hidden_and_its_code_can_be_tested_all_the_same(house: TeaHouse) -> None:
    owner = house.guild.members[house.guild.owner.id]
    assert "admin" not in house.discord.commands.visible_paths(house.ada, house.general)
    assert "admin" in house.discord.commands.visible_paths(owner, house.general)
    with pytest.raises(HiddenCommandError):
        house.discord.start_slash(house.ada, house.general, "admin")

    house.discord.commands.enforce_visibility = False
    assert (await house.discord.slash(house.ada, house.general, "admin")).content == "refused"
    assert (await house.discord.slash(owner, house.general, "admin")).content == "done"


async def test_a_disabled_or_unknown_button_cannot_be_pressed(house: TeaHouse) -> None:
    reply = await house.discord.slash(house.ada, house.general, "recall", query="tea")
    await reply.until(lambda each: each.buttons)
    with pytest.raises(UserError, match="disabled"):
        house.discord.start_press(reply, "Later")
    with pytest.raises(UserError, match="0 components 'Previous'"):
        house.discord.start_press(reply, "Previous")


async def test_an_acknowledgement_after_three_seconds_is_refused(
    house: TeaHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOW", "0.05")
    failures: list[BaseException] = []

    async def note(_: object, error: discord.app_commands.AppCommandError) -> None:
        failures.append(error.__cause__ or error)

    house.bot.tree.error(note)
    reply = house.discord.start_slash(house.ada, house.general, "memory reload")
    reply.began -= 3.0
    await house.discord.until(lambda: failures)
    assert isinstance(failures[0], discord.NotFound)
    assert failures[0].code == 10062
    assert reply.failed


async def test_an_expired_token_and_a_second_acknowledgement_are_refused(house: TeaHouse) -> None:
    taken: list[discord.Interaction] = []

    @house.bot.event
    async def on_interaction(interaction: discord.Interaction) -> None:
        taken.append(interaction)

    reply = await house.discord.slash(house.ada, house.general, "memory forget me")
    await house.discord.until(lambda: taken and taken[0].response.is_done())
    again = discord.Interaction(data=_raw(house), state=house.bot._connection)
    with pytest.raises(discord.HTTPException) as twice:
        await again.response.defer()
    assert twice.value.code == 40060

    reply.expire()
    with pytest.raises(discord.HTTPException) as expired:
        await taken[0].edit_original_response(content="too late")
    assert (expired.value.status, expired.value.code) == (401, 50027)


def _raw(house: TeaHouse) -> discord.types.interactions.ApplicationCommandInteraction:
    sent = [data for session in house.discord.gateway.live for _, event, data in session.sent if "INTER" in event]
    raw: discord.types.interactions.ApplicationCommandInteraction = sent[-1]  # type: ignore[assignment] # plain JSON
    return raw
