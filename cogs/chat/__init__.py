"""Replies to those who talk to the bot, with what the memory knows: ``await bot.load_extension("cogs.chat")``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from discord.ext import commands


async def setup(bot: commands.Bot | commands.AutoShardedBot) -> None:
    """Let a bot that has loaded ``cogs.memory`` reply.

    A bot may bring its own providers, as ``bot.chat_providers``: a `provider_choice.ProviderChoice`.

    Raises:
        MemoryCogError: there is no memory to reply from, or a provider cannot be set up; the sentence says why.
        SettingsError: a setting is not allowed.
    """
    from cogs.chat.wiring import connect  # discord and the providers: not at import

    await connect(bot)


async def teardown(bot: commands.Bot | commands.AutoShardedBot) -> None:
    """Let go of everything that `setup` opened."""
    from cogs.chat.wiring import disconnect

    await disconnect(bot)
