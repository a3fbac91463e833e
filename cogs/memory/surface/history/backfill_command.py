"""`/memory backfill`: begins a back-fill and shows how it goes, with buttons to pause, resume and cancel it.

The message is for the asker alone. An interaction's token lets it be edited for a quarter of an hour; after that, and
after a restart of the bot, its buttons bring it back to life: they are known by their custom ids alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands

from cogs.memory.exceptions import Busy
from cogs.memory.surface.answers import answer, think
from cogs.memory.surface.rights import Interaction, NotAllowedError, require_guild_admin

from .backfill import NothingToDo
from .backfill_progress import RunState, describe
from .backfill_texts import backfill_texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogs.memory.surface.failures import Failures
    from cogs.memory.surface.guild_settings import GuildSettingsStore

    from .backfill import Backfill
    from .backfill_progress import BackfillProgress

log = logging.getLogger(__name__)

EDIT_S: Final = 3.0
"""Seconds between two edits of a progress message."""
LIVE_S: Final = 14 * 60.0
"""How long one interaction's message is kept up to date; Discord's limit is 15 minutes."""


class BackfillControls(discord.ui.View):
    """The buttons under every progress message; register one with ``bot.add_view``.

    Args:
        backfill: what they control.
        failures: tells what goes wrong.
        edit_s: seconds between two edits of a progress message.
    """

    def __init__(self, backfill: Backfill, failures: Failures, *, edit_s: float = EDIT_S) -> None:
        super().__init__(timeout=None)
        self.backfill = backfill
        self._failures = failures
        self._edit_s = edit_s
        self._live: dict[tuple[int, int], asyncio.Task[None]] = {}

    async def show(self, interaction: Interaction) -> None:
        """Show the progress as the answer to an acknowledged interaction, and keep it up to date."""
        progress = await self._progress(interaction)
        await self._edit(interaction, progress)
        if progress is not None and not progress.state.is_over:
            self._follow(interaction)

    async def close(self) -> None:
        """Stop following."""
        tasks = list(self._live.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.stop()

    @discord.ui.button(label="Pause", custom_id="memory:backfill:pause", style=discord.ButtonStyle.secondary)
    async def pause_button(self, interaction: Interaction, _: discord.ui.Button[BackfillControls]) -> None:
        """Pause the back-fill."""
        await self._act(interaction, self.backfill.pause)

    @discord.ui.button(label="Resume", custom_id="memory:backfill:resume", style=discord.ButtonStyle.primary)
    async def resume_button(self, interaction: Interaction, _: discord.ui.Button[BackfillControls]) -> None:
        """Go on with the back-fill."""
        await self._act(interaction, self.backfill.resume)

    @discord.ui.button(label="Cancel", custom_id="memory:backfill:cancel", style=discord.ButtonStyle.danger)
    async def cancel_button(self, interaction: Interaction, _: discord.ui.Button[BackfillControls]) -> None:
        """End the back-fill."""
        await self._act(interaction, self.backfill.cancel)

    @discord.ui.button(label="Refresh", custom_id="memory:backfill:refresh", style=discord.ButtonStyle.secondary)
    async def refresh_button(self, interaction: Interaction, _: discord.ui.Button[BackfillControls]) -> None:
        """Show how it stands now."""
        await self._act(interaction, None)

    async def on_error(self, interaction: Interaction, error: Exception, _: discord.ui.Item[Any]) -> None:
        """Tell the failure as those of commands are told."""
        await self._failures.report(interaction, error)

    async def _act(self, interaction: Interaction, action: Callable[[int], Awaitable[None]] | None) -> None:
        await interaction.response.defer()
        await self._require_right(interaction)
        if action is not None:
            try:
                await action(_guild_id(interaction))
            except NothingToDo:
                log.info("A button of a back-fill that is over was pressed")  # the message will say so
        await self.show(interaction)

    async def _require_right(self, interaction: Interaction) -> None:
        progress = await self._progress(interaction)
        if progress is not None and progress.owner_id == interaction.user.id:
            return
        try:
            await require_guild_admin(interaction)
        except NotAllowedError as error:
            raise NotAllowedError(backfill_texts(interaction.locale).not_yours) from error

    async def _progress(self, interaction: Interaction) -> BackfillProgress | None:
        return await self.backfill.progress(_guild_id(interaction))

    async def _edit(self, interaction: Interaction, progress: BackfillProgress | None, *, last: bool = False) -> None:
        texts = backfill_texts(interaction.locale)
        content = texts.never if progress is None else describe(progress, texts)
        if last:
            content += "\n" + texts.live_until.format(refresh=texts.refresh)
        await answer(interaction, content, view=self._buttons(interaction, progress))

    def _buttons(self, interaction: Interaction, progress: BackfillProgress | None) -> discord.ui.View | None:
        """Return the buttons that make sense now, named in the asker's language."""
        if progress is None or progress.state.is_over:
            return None
        texts = backfill_texts(interaction.locale)
        other = self.resume_button if progress.state is RunState.PAUSED else self.pause_button
        labels = {other: texts.pause, self.cancel_button: texts.cancel, self.refresh_button: texts.refresh}
        if other is self.resume_button:
            labels[other] = texts.resume
        view = discord.ui.View(timeout=None)
        for button, label in labels.items():
            view.add_item(discord.ui.Button(label=label, style=button.style, custom_id=button.custom_id))
        view.stop()  # the registered view answers by custom id: this one need not be kept
        return view

    def _follow(self, interaction: Interaction) -> None:
        key = (_guild_id(interaction), interaction.user.id)
        earlier = self._live.pop(key, None)
        if earlier is not None:
            earlier.cancel()
        task = asyncio.create_task(self._keep_up_to_date(interaction), name="backfill progress message")
        self._live[key] = task

    async def _keep_up_to_date(self, interaction: Interaction) -> None:
        end = time.monotonic() + LIVE_S
        shown = None
        try:
            while time.monotonic() < end:
                await asyncio.sleep(self._edit_s)
                progress = await self._progress(interaction)
                if progress != shown:
                    await self._edit(interaction, progress)
                shown = progress
                if progress is None or progress.state.is_over:
                    return
            await self._edit(interaction, shown, last=True)
        except discord.HTTPException as error:  # dismissed, or Discord is unwell: the back-fill itself goes on
            log.info("A progress message is not kept up to date any more (%s)", type(error).__name__)


def add_backfill_command(
    group: app_commands.Group, controls: BackfillControls, settings: GuildSettingsStore
) -> app_commands.Command[app_commands.Group, ..., None]:
    """Add ``backfill [channel] [on_join]`` to the `/memory` group."""

    @app_commands.describe(
        channel=app_commands.locale_str("Only this channel, with its threads, from its newest message"),
        on_join=app_commands.locale_str("Only decide whether I may begin by myself when I join this server"),
    )
    async def backfill(
        interaction: Interaction,
        channel: discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.ForumChannel | None = None,
        on_join: bool | None = None,
    ) -> None:
        await require_guild_admin(interaction)
        await think(interaction)
        texts = backfill_texts(interaction.locale)
        guild = interaction.guild
        if on_join is not None:
            await settings.change(_guild_id(interaction), lambda each: replace(each, backfill_on_join=on_join))
            await answer(interaction, texts.on_join_allowed if on_join else texts.on_join_denied)
            return
        if guild is None or not interaction.client.intents.message_content:
            await answer(interaction, texts.no_content)
            return
        if channel is not None and not (await settings.get(guild.id)).indexes(channel.id, None):
            await answer(interaction, texts.not_wanted)
            return
        try:
            only = channel.id if channel else None
            await controls.backfill.start(guild, owner_id=interaction.user.id, only=only, again=True)
        except Busy:  # it may just have begun by itself, on joining: show that one
            if channel is not None:
                raise
        await controls.show(interaction)

    command: app_commands.Command[app_commands.Group, ..., None] = app_commands.Command(
        name="backfill",
        description=app_commands.locale_str("Admins: read what was said here before I came; goes on where it stopped"),
        callback=backfill,
        parent=None,
    )
    group.add_command(command, override=True)
    return command


def _guild_id(interaction: Interaction) -> int:
    if interaction.guild_id is None:
        raise NotAllowedError(backfill_texts(interaction.locale).not_yours)
    return interaction.guild_id
