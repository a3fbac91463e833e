"""The one way in which commands and buttons answer: to the asker alone, and pinging nobody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import discord
from discord.utils import MISSING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .rights import Interaction

NOBODY: Final = discord.AllowedMentions.none()
"""Given with every message that is sent."""
UNKNOWN_S: Final = 0.5
"""Seconds after which an answer is edited once more that Discord did not know."""


async def think(interaction: Interaction) -> None:
    """Acknowledge, so that the answer may take longer than three seconds; only the asker will see it."""
    await interaction.response.defer(ephemeral=True, thinking=True)


async def answer(
    interaction: Interaction,
    content: str | None = None,
    *,
    embed: discord.Embed | None = None,
    view: discord.ui.View | None = None,
    files: Sequence[discord.File] = (),
) -> None:
    """Show the answer in place of "thinking…" or of an earlier answer, whose buttons and files go."""
    await edit(interaction, content=content, embed=embed, view=view, attachments=list(files) if files else MISSING)


async def edit(interaction: Interaction, **fields: Any) -> None:
    """Put something in the place of the answer so far, with the fields of ``edit_original_response``.

    Right after the acknowledgement Discord now and then does not know the answer yet; so it is told once more.
    """
    try:
        await interaction.edit_original_response(**fields, allowed_mentions=NOBODY)
    except discord.NotFound:
        await asyncio.sleep(UNKNOWN_S)
        for attachment in fields.get("attachments") or ():
            attachment.reset()
        await interaction.edit_original_response(**fields, allowed_mentions=NOBODY)


async def add(interaction: Interaction, files: Sequence[discord.File]) -> None:
    """Send further files after an answer."""
    await interaction.followup.send(files=files, ephemeral=True, allowed_mentions=NOBODY)
