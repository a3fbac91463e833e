"""`MemoryButton`: what all buttons of the memory have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import discord

from cogs.memory.surface.presenter import query_in
from cogs.memory.surface.texts import texts_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogs.memory.surface.cog import MemoryCog

    Interaction = discord.Interaction[Any]

COG_NAME: Final = "MemoryCog"
"""The name under which buttons find the cog, also those of messages that are older than the process."""


class MemoryButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template="memory:none"):
    """A button whose failures end as one sentence, like those of commands.

    Each carries all it needs in its custom id, so that it works after a restart. A press does not trust what the
    message shows: it asks the memory again, within the rights of whoever presses, now.
    """

    async def callback(self, interaction: Interaction) -> Any:
        """Take a turn and do what the button is for."""
        await take_turn(interaction, self.pressed)

    async def pressed(self, interaction: Interaction, cog: MemoryCog) -> None:
        """Do what the button is for."""
        raise NotImplementedError


async def take_turn(interaction: Interaction, act: Callable[[Interaction, MemoryCog], Awaitable[None]]) -> None:
    """Do what a button or a menu is for, in a turn of its user; tell it if that fails."""
    cog: MemoryCog | Any = interaction.client.get_cog(COG_NAME)
    try:
        with cog.services.turns.take(interaction.user.id, texts_of(interaction)):
            await act(interaction, cog)
    except Exception as error:  # noqa: BLE001 - the one place where a button's failures are told and logged
        await cog.services.failures.report(interaction, error)


def query_of(interaction: Interaction) -> str:
    """Return the question in the heading of the message that was pressed; empty if there is none."""
    return (query_in(interaction.message.content) if interaction.message else None) or ""
