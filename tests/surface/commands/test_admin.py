"""`/memory status`, `channels`, `retention`, `reset-settings`, `forget user|channel|server`: the admins' commands."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cogs.memory.records import ChannelInfo
from cogs.memory.surface.commands import confirmation
from cogs.memory.surface.guild_settings import SETTINGS_KEY, GuildSettings, GuildSettingsStore
from cogs.memory.surface.history.backfill_progress import BackfillProgress, RunState
from cogs.memory.surface.recall.judgements import Judgement
from tests.loopback import UserError

from .memory_house import MemoryHouse, memory_house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cogs.memory.memory_service import MemoryService

ADMIN_COMMANDS: dict[str, Callable[[MemoryHouse], dict[str, Any]]] = {
    "status": lambda _: {},
    "channels allow": lambda house: {"channel": house.general},
    "channels deny": lambda house: {"channel": house.general},
    "channels clear": lambda _: {},
    "channels list": lambda _: {},
    "retention": lambda _: {"days": 1},
    "reset-settings": lambda _: {},
    "forget user": lambda house: {"user": house.admin},
    "forget channel": lambda house: {"channel": house.general},
    "forget server": lambda _: {},
    "instruction": lambda _: {"text": "be kind"},
    "explain": lambda _: {"query": "tea"},
    "evaluate": lambda _: {},
}
OWNER_COMMANDS = ("reload", "stats")


@pytest.fixture
async def house(memory: MemoryService) -> AsyncIterator[MemoryHouse]:
    async with memory_house(memory) as opened:
        yield opened


async def test_every_command_is_known_to_discord(house: MemoryHouse) -> None:
    everyone = ("privacy", "forget me", "opt-out", "opt-in", "export")
    paths = {f"memory {path}" for path in (*everyone, *ADMIN_COMMANDS, *OWNER_COMMANDS)}
    assert set(house.discord.commands.visible_paths(house.admin, house.general)) == paths


async def test_commands_that_are_not_for_everyone_say_so_in_the_menu(house: MemoryHouse) -> None:
    described: dict[str, str] = {}

    def walk(option: dict[str, Any], path: str) -> None:
        described[path] = option["description"]
        for part in option.get("options", ()):
            if part["type"] <= 2:  # a sub-command or a group of them
                walk(part, f"{path} {part['name']}".removeprefix("memory "))

    [group] = house.discord.commands.registered()
    walk(group, "memory")
    assert {path for path, text in described.items() if text.startswith("Admins: ")} == set(ADMIN_COMMANDS)
    assert {path for path, text in described.items() if text.startswith("For the bot's owner: ")} == set(OWNER_COMMANDS)


async def test_admin_commands_are_refused_to_members_and_change_nothing(house: MemoryHouse) -> None:
    await house.say(house.admin, "tea is at five", age=timedelta(days=9))
    for path, options in ADMIN_COMMANDS.items():
        reply = await house.do(house.ada, f"memory {path}", **options(house))
        assert reply.text == "Only those who may manage this server can do that.", path
        assert not reply.buttons, path
    assert await house.services.settings.get(house.guild.id) == GuildSettings()
    assert await house.stored() == ["tea is at five"]


async def test_owner_commands_are_refused_to_admins_and_members(house: MemoryHouse) -> None:
    for who in (house.ada, house.admin):
        for path in OWNER_COMMANDS:
            reply = await house.do(who, f"memory {path}")
            assert reply.text == "Only the owner of this bot can do that.", path


async def test_who_lost_the_right_before_pressing_the_button_is_refused(house: MemoryHouse) -> None:
    await house.say(house.ada, "the samovar is broken")
    reply = await house.do(house.admin, "memory forget server")
    for role in list(house.admin.roles):
        house.admin.remove_role(role)
    await house.discord.gateway.barrier()
    pressed = await house.discord.press(reply, "Erase")
    assert "Only those who may manage this server" in pressed.text
    assert await house.stored() == ["the samovar is broken"]


async def test_a_category_is_not_offered_where_a_channel_is_wanted(house: MemoryHouse) -> None:
    category = house.guild.category("rooms")
    with pytest.raises(UserError, match="channel types"):
        await house.do(house.admin, "memory channels deny", channel=category)


async def test_a_command_in_a_direct_message_is_not_offered(house: MemoryHouse) -> None:
    [group] = house.discord.commands.registered()
    assert group["contexts"] == [0] or group.get("dm_permission") is False


async def test_status_tells_sizes_reach_and_settings(house: MemoryHouse) -> None:
    old = await house.say(house.ada, "the samovar is broken", age=timedelta(days=2))
    await house.say(house.admin, "tea is at five", channel=house.garden)
    await house.services.settings.put(house.guild.id, GuildSettings(retention_days=90, instruction="be kind"))
    await house.services.settings.opt_out(house.guild.id, house.ada.id)
    judgement = Judgement("tea?", old.id, old.channel_id, house.ada.id, good=True)
    await house.services.judgements.add(house.guild.id, judgement)
    assert "No history was read yet" in (await house.do(house.admin, "memory status")).text
    house.bot.progress = BackfillProgress(state=RunState.PAUSED, channels_total=3, channels_done=1, share=0.5)
    text = (await house.do(house.admin, "memory status")).text
    for part in (
        "Paused",
        "1 of 3 channels",
        "The history is read when the bot joins",
        "2 messages · authors: 2 · channels: 2",
        "with vectors: 2 of 2",
        "decided by structure",
        "Kept for 90 days",
        "instruction",
        "Opted out: 1",
        "Judgements of results: 1 · questions judged: 1",
    ):
        assert part in text
    assert "samovar" not in text


async def test_a_channel_is_denied_and_its_denial_lifted(house: MemoryHouse) -> None:
    await house.do(house.admin, "memory channels deny", channel=house.garden)
    settings = await house.services.settings.get(house.guild.id)
    assert not settings.indexes(house.garden.id, None)
    assert settings.indexes(house.general.id, None)
    assert f"Never remembered: <#{house.garden.id}>" in (await house.do(house.admin, "memory channels list")).text
    await house.do(house.admin, "memory channels allow", channel=house.garden)
    assert await house.services.settings.get(house.guild.id) == GuildSettings()


async def test_an_allowed_channel_makes_the_others_forgotten_and_clear_brings_them_back(house: MemoryHouse) -> None:
    reply = await house.do(house.admin, "memory channels allow", channel=house.garden)
    assert f"**only** <#{house.garden.id}>" in reply.text
    settings = await house.services.settings.get(house.guild.id)
    assert settings.indexes(house.garden.id, None)
    assert not settings.indexes(house.general.id, None)
    await house.do(house.admin, "memory channels deny", channel=house.garden)
    settings = await house.services.settings.get(house.guild.id)
    assert not settings.indexes(house.general.id, None), "an emptied list must not allow everything"
    await house.do(house.admin, "memory channels clear")
    assert await house.services.settings.get(house.guild.id) == GuildSettings()


async def test_settings_survive_a_restart(house: MemoryHouse) -> None:
    await house.do(house.admin, "memory channels deny", channel=house.garden)
    again = GuildSettingsStore(house.memory.store)
    assert (await again.get(house.guild.id)).denied_channels == {house.garden.id}


async def test_retention_deletes_what_is_older_after_a_confirmation(house: MemoryHouse) -> None:
    await house.say(house.ada, "ancient", age=timedelta(days=31))
    await house.say(house.ada, "recent", age=timedelta(days=29))
    assert "until they are deleted" in (await house.do(house.admin, "memory retention")).text
    reply = await house.do(house.admin, "memory retention", days=30)
    assert "At the moment: 1 message." in reply.text
    assert (await house.services.settings.get(house.guild.id)).retention_days is None
    done = await house.press(reply, "Delete older ones")
    assert "Deleted from the memory: 1 message." in done.text
    assert await house.stored() == ["recent"]
    assert "kept for 30 days" in (await house.do(house.admin, "memory retention")).text
    await house.do(house.admin, "memory retention", days=0)
    assert (await house.services.settings.get(house.guild.id)).retention_days is None


async def test_what_retention_deleted_is_not_read_in_again(house: MemoryHouse) -> None:
    old = await house.say(house.ada, "ancient", age=timedelta(days=31))
    await house.services.settings.put(house.guild.id, GuildSettings(retention_days=30))
    assert await house.services.retention.sweep(house.guild.id) == 1
    await house.memory.remember([old])
    await house.memory.queue.stored()
    assert await house.stored() == []


async def test_damaged_settings_are_told_and_reset_by_an_admin(house: MemoryHouse) -> None:
    await house.memory.store.put_setting(house.guild.id, SETTINGS_KEY, '{"retention_days": "soon"}')
    told = (await house.do(house.admin, "memory channels list")).text
    assert "cannot be understood: retention_days must be" in told
    assert "/memory reset-settings" in told
    await house.services.settings.opt_out(house.guild.id, house.ada.id)
    reply = await house.do(house.admin, "memory reset-settings")
    assert (await house.press(reply, "Reset")).text == "The settings are reset."
    assert "All channels" in (await house.do(house.admin, "memory channels list")).text
    assert await house.services.settings.is_opted_out(house.guild.id, house.ada.id)


async def test_forget_user_gives_a_receipt(house: MemoryHouse) -> None:
    await house.say(house.ada, "the samovar is broken")
    await house.say(house.admin, "noted")
    reply = await house.do(house.admin, "memory forget user", user=house.ada)
    assert f"<@{house.ada.id}>" in reply.text
    assert "1 message." in reply.text
    assert "Erased: 1 message," in (await house.press(reply, "Erase")).text
    assert await house.stored() == ["noted"]


async def test_forget_channel_takes_its_threads_along(house: MemoryHouse) -> None:
    thread = house.guild.thread(house.garden, "compost", house.ada)
    await house.say(house.ada, "in the garden", channel=house.garden)
    in_thread = await house.say(house.ada, "in the compost", channel=thread)
    await house.memory.name_channels([ChannelInfo(thread.id, house.guild.id, "compost", house.garden.id)])
    judgement = Judgement("compost?", in_thread.id, thread.id, house.admin.id, good=True)
    await house.services.judgements.add(house.guild.id, judgement)
    await house.say(house.ada, "in general")
    reply = await house.do(house.admin, "memory forget channel", channel=house.garden)
    assert (
        "Erased: 2 messages, search data included. Other traces, such as judgements of results: 1."
        in (await house.press(reply, "Erase")).text
    )
    assert await house.stored() == ["in general"]
    assert "compost" not in [channel.name for channel in await house.memory.store.channels(house.guild.id)]


async def test_forget_server_gives_a_receipt_and_leaves_nothing(house: MemoryHouse) -> None:
    await house.say(house.ada, "the samovar is broken")
    await house.say(house.admin, "noted", channel=house.secret)
    reply = await house.do(house.admin, "memory forget server")
    assert "2 messages (channels: 2)" in reply.text
    assert "Erased: 2 messages," in (await house.press(reply, "Erase")).text
    stats = await house.memory.stats(house.guild.id)
    assert (stats.messages, stats.embedded, stats.channels, stats.authors) == (0, 0, 0, 0)


async def test_a_question_nobody_answers_is_withdrawn(house: MemoryHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmation, "TIMEOUT_S", 0.2)
    reply = await house.do(house.admin, "memory forget server")
    await reply.until(lambda each: "did not answer in time" in each.text)
    assert not reply.buttons


async def test_an_erasure_that_fails_says_why_and_changes_nothing(house: MemoryHouse) -> None:
    said = await house.say(house.ada, "the samovar is broken")
    reply = await house.do(house.admin, "memory forget server")
    await house.memory.queue.stop()
    await house.memory.remember([replace(said, content="never applied")])
    assert "stopped taking in messages" in (await house.press(reply, "Erase")).text
    assert await house.stored() == ["the samovar is broken"]
    house.memory.queue.start()


async def test_a_second_press_does_nothing(house: MemoryHouse) -> None:
    await house.say(house.ada, "the samovar is broken")
    reply = await house.do(house.admin, "memory forget server")
    first = house.discord.start_press(reply, "Erase")
    second = house.discord.start_press(reply, "Erase")
    await first.until(lambda each: "Erased: 1" in each.text)
    await second.acknowledged()
    erased = [each for each in house.discord.requests if "Erased" in str(each.json)]
    assert len(erased) == 1
