"""/recall end to end: what is shown, to whom, and what never is."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.loopback import Attachment, Hold, Permission, deny

if TYPE_CHECKING:
    from .tea_house import TeaHouse


async def test_an_answer_is_deferred_and_seen_by_the_asker_alone(house: TeaHouse) -> None:
    house.general.post(house.ada, "the samovar is broken since tuesday")
    message = house.general.post(house.mod, "tea is at five in the kitchen")
    await house.settle()
    reply = await house.recall("when is tea?")
    assert reply.deferred
    assert reply.ephemeral
    assert not reply.answered_by_followup
    first = reply.embeds[0]
    assert first["author"]["name"] == "mod"
    assert first["author"]["icon_url"]
    assert "**tea** is at five in the kitchen" in first["description"]
    assert message.jump_url in first["description"]
    assert f"<#{house.general.id}>" in first["description"]
    assert f"<t:{int(message.created_at.timestamp())}:R>" in first["description"]
    assert "▰" in first["description"]
    assert re.search(r"late interaction \+ structure, 2 candidates, \d+ ms", reply.embeds[-1]["footer"]["text"])
    assert "memory reaches back to" in reply.embeds[-1]["footer"]["text"]


async def test_a_hidden_channel_is_found_by_its_readers_only(house: TeaHouse) -> None:
    house.general.post(house.ada, "the tea is lovely")
    house.secret.post(house.mod, "the tea budget is cut by half")
    await house.settle()
    assert "budget" in (await house.recall("tea budget", house.mod)).text
    shown = await house.recall("tea budget", house.ada)
    assert "budget" not in shown.text.replace("**tea budget**", "").replace("🔎", "")
    assert str(house.secret.id) not in shown.text


async def test_a_role_taken_away_after_indexing_hides_at_once(house: TeaHouse) -> None:
    house.secret.post(house.mod, "the vault code is under the blue teapot")
    await house.settle()
    assert "blue teapot" in (await house.recall("vault code", house.mod)).text
    [mods] = [role for role in house.guild.roles.values() if role.name == "mods"]
    house.mod.remove_role(mods)
    await house.discord.gateway.barrier()
    assert "blue teapot" not in (await house.recall("vault code", house.mod)).text


async def test_an_overwrite_that_changes_during_the_search_counts(house: TeaHouse) -> None:
    house.general.post(house.mod, "the spare key lies under the third stone")
    await house.settle()
    hold = Hold()
    house.discord.faults.add("GET", f"/guilds/*/members/{house.ada.id}", hold, times=2)
    pending = house.discord.start_slash(house.ada, house.general, "recall", query="spare key")
    await pending.acknowledged()
    house.general.set_overwrite(house.guild.everyone, deny(Permission.READ_MESSAGE_HISTORY))
    await house.discord.gateway.barrier()
    hold.release()
    reply = await pending.answered()
    assert "third stone" not in reply.text


async def test_a_private_thread_is_found_by_its_members_only(house: TeaHouse) -> None:
    bea = house.guild.member("bea")
    thread = house.guild.thread(house.general, "party", house.ada, private=True)
    thread.join(house.world.bot)
    thread.post(house.ada, "the surprise party for bea is on saturday")
    await house.settle()
    assert "saturday" in (await house.recall("surprise party", house.ada)).text
    assert "saturday" not in (await house.recall("surprise party", bea)).text


async def test_age_restricted_text_stays_where_it_belongs(house: TeaHouse) -> None:
    bar = house.guild.text_channel("bar", nsfw=True)
    bar.post(house.ada, "the absinthe recipe needs wormwood")
    await house.settle()
    assert "wormwood" not in (await house.recall("absinthe recipe")).text
    assert "wormwood" in (await house.recall("absinthe recipe", where=bar)).text


async def test_nobody_is_pinged_by_a_hit(house: TeaHouse) -> None:
    house.general.post(house.mod, f"@everyone the tea is ready, {house.ada.mention}, really")
    await house.settle()
    reply = await house.recall("@everyone is the tea ready?")
    assert "everyone" in reply.embeds[0]["description"]
    assert "@ada" in reply.embeds[0]["description"]
    assert reply.message is not None
    assert not reply.message.mentions
    assert reply.message.allowed_mentions == {"parse": []}


async def test_five_long_hits_fit_into_one_message(house: TeaHouse) -> None:
    for cake in ("almond", "lemon", "poppy", "walnut", "cherry"):
        text = f"the {cake} cake recipe: " + f"*sugar_and_{cake}* `x` " * 100
        house.general.post(house.ada, text[:2000].strip())
    await house.settle()
    reply = await house.recall("cake recipe", limit=5)
    assert len(reply.embeds) == 5
    assert all(len(embed["description"]) > 900 for embed in reply.embeds)
    total = sum(
        len(embed["description"]) + len(embed["author"]["name"]) + len(embed.get("footer", {}).get("text", ""))
        for embed in reply.embeds
    )
    assert total <= 6000


async def test_filters_narrow_the_search(house: TeaHouse) -> None:
    kitchen = house.guild.text_channel("kitchen")
    old = datetime.now(UTC) - timedelta(days=40)
    house.general.post(house.ada, "the old kettle whistles", at=old)
    house.general.post(house.mod, "the new kettle is silent")
    kitchen.post(house.ada, "a kettle stands here, see https://kettle.example/red")
    house.general.post(house.ada, "kettle plan", attachments=[Attachment(1, "kettle.pdf", b"%PDF")])
    await house.settle()

    async def found(**options: Any) -> str:
        return (await house.recall("kettle", **options)).text

    assert "silent" not in await found(author=house.ada)
    assert "whistles" in await found(author=house.ada)
    assert "whistles" not in await found(after="last week")
    assert "silent" not in await found(before="3 days ago")
    assert "stands here" in await found(channel=kitchen)
    assert "silent" not in await found(channel=kitchen)
    assert "stands here" in await found(has="link")
    assert "silent" not in await found(has="link")
    assert "silent" not in await found(has="file")


async def test_a_channel_filter_includes_its_threads(house: TeaHouse) -> None:
    thread = house.guild.thread(house.general, "biscuits", house.ada)
    thread.post(house.ada, "the ginger biscuits are in the blue tin")
    await house.settle()
    assert "blue tin" in (await house.recall("ginger biscuits", channel=house.general)).text


async def test_a_date_that_is_none_is_answered_with_one_sentence(house: TeaHouse) -> None:
    reply = await house.recall("tea", after="when pigs fly")
    assert "when pigs fly" in reply.content
    assert "yesterday" in reply.content
    assert not reply.embeds
    assert reply.ephemeral


@pytest.mark.parametrize("query", ["🫖🫖🫖", "   ", "!?", "x" * 6000])
async def test_what_cannot_be_asked_is_refused_with_one_sentence(house: TeaHouse, query: str) -> None:
    reply = await house.recall(query)
    assert reply.content
    assert len(reply.content) < 200
    assert not reply.embeds
    assert house.services.failures.unexpected == 0


async def test_nothing_relevant_is_said_so(house: TeaHouse) -> None:
    reply = await house.recall("quantum chromodynamics lattice")
    assert "Nothing relevant" in reply.text
    assert reply.embeds[-1]["footer"]["text"]


async def test_own_questions_are_suggested_and_nobody_elses(house: TeaHouse) -> None:
    await house.recall("when is tea?")
    await house.recall("who has the key?")
    choices = await house.discord.autocomplete(house.ada, house.general, "recall", "query", query="tea")
    assert choices == [("when is tea?", "when is tea?")]
    everything = await house.discord.autocomplete(house.ada, house.general, "recall", "query", query="")
    assert [value for _, value in everything] == ["who has the key?", "when is tea?"]
    assert not await house.discord.autocomplete(house.mod, house.general, "recall", "query", query="")


async def test_find_related_leaves_the_message_itself_out(house: TeaHouse) -> None:
    message = house.general.post(house.ada, "does anybody know a good oolong tea shop?")
    house.general.post(house.mod, "the best oolong tea shop is on Mill Street")
    house.general.post(house.ada, "my bicycle has a flat tyre")
    await house.settle()
    reply = await house.discord.message_menu(house.ada, message, "Find related")
    assert reply.ephemeral
    shown = "\n".join(embed.get("description", "") for embed in reply.embeds)
    assert "Mill Street" in shown
    assert "anybody" not in shown
    assert message.jump_url in reply.content
