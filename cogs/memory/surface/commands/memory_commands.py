"""`MemoryCommands`: the cog that carries the `/memory` group, and what Red asks cogs for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discord.ext import commands

from cogs.memory.surface.commands.command_services import CommandServices
from cogs.memory.surface.commands.memory_group import memory_group
from cogs.memory.surface.operation.samples import Samples
from cogs.memory.surface.red import RedData
from cogs.memory.surface.retention import RetentionSweep

if TYPE_CHECKING:
    from collections.abc import Iterable

    import discord
    from discord import app_commands

    from cogs.memory.surface.services import SurfaceServices


class MemoryCommands(RedData, commands.Cog):
    """Adds `/memory` to the bot, and keeps what runs behind it running.

    Args:
        surface: the memory and what stands between it and Discord.
    """

    def __init__(self, surface: SurfaceServices) -> None:
        self._surface = surface
        self.services = CommandServices(
            memory=surface.memory,
            settings=surface.settings,
            judgements=surface.judgements,
            access=surface.access,
            verification=surface.history.verification,
            history=surface.history.backfill.progress,
            samples=Samples(surface.memory),
            retention=RetentionSweep(surface.memory, surface.settings, self.present_guild_ids),
            erasure=surface.erasure,
            failures=surface.failures,
            companions=surface.companions,
        )
        self._group = memory_group(self.services)
        surface.history.add_commands(self._group)
        self._group.error(self._failed)

    async def cog_load(self) -> None:
        """Register the group and start what runs behind it."""
        self._surface.bot.tree.add_command(self._group)
        self.services.samples.start()
        self.services.retention.start()

    async def cog_unload(self) -> None:
        """Stop what runs, and take the group back."""
        self._surface.bot.tree.remove_command(self._group.name)
        await self.services.retention.close()
        await self.services.samples.close()

    def present_guild_ids(self) -> Iterable[int]:
        """Return the guilds that the bot is on."""
        return [guild.id for guild in self._surface.bot.guilds]

    async def _failed(self, interaction: discord.Interaction[Any], error: app_commands.AppCommandError) -> None:
        await self._surface.failures.report(interaction, error)
