"""The one way in which the `/memory` commands answer: to the asker alone, and pinging nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord.utils import MISSING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .rights import Interaction

NOBODY = discord.AllowedMentions.none()


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
    await interaction.edit_original_response(
        content=content,
        embed=embed,
        view=view,
        attachments=list(files) if files else MISSING,
        allowed_mentions=NOBODY,
    )


async def add(interaction: Interaction, files: Sequence[discord.File]) -> None:
    """Send further files after an answer."""
    await interaction.followup.send(files=files, ephemeral=True, allowed_mentions=NOBODY)
