"""Who may use which command. Discord only hides what a person may not use, and an admin can unhide it: so code asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import discord
from discord import app_commands

from cogs.memory.exceptions import MemoryCogError

from .commands.memory_texts import memory_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Interaction: TypeAlias = discord.Interaction[Any]
Check: TypeAlias = "Callable[[Interaction], Coroutine[Any, Any, bool]]"


class NotAllowedError(MemoryCogError, app_commands.CheckFailure):
    """The person may not do this; the sentence says who may."""


async def require_guild_admin(interaction: Interaction) -> bool:
    """Check that the person may manage the server, by the interaction and by the roles of this moment.

    Raises:
        NotAllowedError: they may not.
    """
    member = interaction.user
    if (
        isinstance(member, discord.Member)
        and interaction.permissions.manage_guild
        and member.guild_permissions.manage_guild
    ):
        return True
    raise NotAllowedError(memory_texts(interaction).only_admins)


async def require_owner(interaction: Interaction) -> bool:
    """Check that the person owns the bot.

    Raises:
        NotAllowedError: they do not.
    """
    if await interaction.client.is_owner(interaction.user):
        return True
    raise NotAllowedError(memory_texts(interaction).only_owner)


def guard(check: Check, *commands: app_commands.Command[Any, ..., None]) -> None:
    """Let commands be used only by those whom ``check`` admits."""
    for command in commands:
        command.add_check(check)


def guild_id_of(interaction: Interaction) -> int:
    """Return the server that a command was used on. Raises NotAllowedError in a direct message."""
    if interaction.guild_id is None:
        raise NotAllowedError(memory_texts(interaction).only_servers)
    return interaction.guild_id
