"""Loading the chat: what it needs, what it brings along, and what it leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from discord.ext import commands

from cogs.chat.services import CHAT_SERVICES
from cogs.memory.surface.client import memory_intents
from tests.house import kept_modules
from tests.surface.test_wiring import imported_by

from .chat_house import chat_house

if TYPE_CHECKING:
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder


def test_importing_the_extension_imports_neither_discord_nor_a_provider() -> None:
    assert not imported_by("import cogs.chat") & {"discord", "openai", "torch", "numpy", "pydantic"}


def test_its_whole_surface_imports_no_models_and_no_client() -> None:
    assert not imported_by("import cogs.chat.wiring") & {"torch", "transformers", "openai", "sentence_transformers"}


async def test_without_a_memory_it_says_what_to_load_first() -> None:
    bot = commands.Bot("!", intents=memory_intents())
    with kept_modules(), pytest.raises(commands.ExtensionFailed, match=r"load cogs\.memory before it"):
        await bot.load_extension("cogs.chat")
    assert not bot.cogs


async def test_unloaded_it_leaves_nothing_behind_and_can_be_loaded_again(
    tmp_path: Path, load_shared: LoadEncoder
) -> None:
    async with chat_house(tmp_path, load_shared) as house:
        await house.bot.unload_extension("cogs.chat")
        assert getattr(house.bot, CHAT_SERVICES) is None
        assert house.services.companions == []
        assert house.bot.tree.get_command("chat") is None
        house.general.post(house.ada, f"{house.mention} hello")
        assert await house.stays_silent()
        await house.bot.load_extension("cogs.chat")
        assert "ask me something" in (await house.ask("hello")).content


async def test_a_guild_that_is_erased_loses_its_chat_settings(tmp_path: Path, load_shared: LoadEncoder) -> None:
    async with chat_house(tmp_path, load_shared) as house:
        await house.do(house.mod, "chat persona", text="a pirate")
        listeners = house.bot.get_cog("MemoryListeners")
        await listeners._begin_anew(house.guild.id)  # type: ignore[union-attr]
        assert (await house.chat.settings.get(house.guild.id)).persona == ""
