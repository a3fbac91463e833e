"""The memory of a Discord server: ``await bot.load_extension("cogs.memory")``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from discord.ext import commands


async def setup(bot: commands.Bot | commands.AutoShardedBot) -> None:
    """Give the bot a memory: settings → profile → memory → cogs.

    A bot may bring its own: a started `MemoryService` as ``bot.memory``, or ``bot.memory_profile`` and
    ``bot.memory_folder`` in place of what the settings say.

    Raises:
        MemoryCogError: the memory cannot be opened; the sentence says why.
        ProfileError: the profile is not usable.
        SettingsError: a setting is not allowed.
    """
    from cogs.memory.surface.wiring import connect  # discord and the models' way in: not at import

    await connect(bot)


async def teardown(bot: commands.Bot | commands.AutoShardedBot) -> None:
    """Let go of everything that `setup` opened; what was taken in is on disk by then."""
    from cogs.memory.surface.wiring import disconnect

    await disconnect(bot)
