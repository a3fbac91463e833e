"""The one place where a failure becomes a sentence: for commands, buttons, menus and modals alike."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import discord
from discord import app_commands

from cogs.memory.exceptions import MemoryCogError
from cogs.memory.surface.answers import NOBODY, edit
from cogs.memory.surface.texts import texts_of
from profiles import ProfileError, SettingsError

if TYPE_CHECKING:
    from cogs.memory.surface.texts import Texts

log = logging.getLogger(__name__)

_TOO_LATE: Final = frozenset({10062, 50027, 10015, 10008, 40060})
"""Unknown interaction, token, webhook or message, or answered already: nobody is there to be told."""


class Failures:
    """Tells users what went wrong, once and in one sentence, and the log all the rest under the same id."""

    def __init__(self) -> None:
        self.expired = 0
        """Interactions that were over before they were answered."""
        self.unexpected = 0
        """Failures that got an error id."""

    async def report(self, interaction: discord.Interaction[Any], error: BaseException) -> None:
        """Answer an interaction that failed. Never raises for what the connection to Discord does."""
        error = _cause(error)
        if interaction.client.is_closed():
            self.expired += 1
            log.info("An interaction was under way when the bot closed (%s)", type(error).__name__)
            return
        if _is_too_late(error):
            self.expired += 1
            log.info("An interaction was over before it was answered")
            return
        try:
            await _tell(interaction, self._sentence(interaction, error))
        except discord.HTTPException as failed:
            if not _is_too_late(failed):
                raise
            self.expired += 1
        except (aiohttp.ClientError, OSError) as failed:
            log.warning("A failure could not be told (%s)", type(failed).__name__)

    def _sentence(self, interaction: discord.Interaction[Any], error: BaseException) -> str:
        texts = texts_of(interaction)
        known = _known_sentence(error, texts)
        if known is not None:
            return known
        self.unexpected += 1
        error_id = secrets.token_hex(3)
        name = interaction.command.qualified_name if interaction.command else interaction.type.name
        log.error("Error %s in %s", error_id, name, exc_info=error, extra={"error_id": error_id})
        return texts.went_wrong.format(error_id=error_id)


def _cause(error: BaseException) -> BaseException:
    """The failure itself, out of what discord.py wrapped it in."""
    if isinstance(error, app_commands.CommandInvokeError):
        return error.original
    if isinstance(error, app_commands.TransformerError) and isinstance(error.__cause__, MemoryCogError):
        return error.__cause__
    return error


def _known_sentence(error: BaseException, texts: Texts) -> str | None:
    if isinstance(error, (MemoryCogError, ProfileError, SettingsError)):
        return str(error)
    if isinstance(error, app_commands.CommandOnCooldown):
        return texts.slow_down.format(seconds=max(1, round(error.retry_after)))
    if isinstance(error, app_commands.NoPrivateMessage):
        return texts.guild_only
    if isinstance(error, app_commands.CheckFailure):
        return texts.not_allowed
    if isinstance(error, (app_commands.CommandNotFound, app_commands.CommandSignatureMismatch)):
        return texts.unknown_command
    return None


def _is_too_late(error: BaseException) -> bool:
    return isinstance(error, discord.HTTPException) and error.code in _TOO_LATE


async def _tell(interaction: discord.Interaction[Any], sentence: str) -> None:
    """Answer an interaction with a sentence that only its user sees, whatever it was answered with so far."""
    response = interaction.response
    if interaction.type is discord.InteractionType.autocomplete:
        return
    if not response.is_done():
        await response.send_message(sentence, ephemeral=True, allowed_mentions=NOBODY)
    elif response.type is discord.InteractionResponseType.deferred_channel_message:
        await edit(interaction, content=sentence, embeds=[], attachments=[], view=None)
    else:
        await interaction.followup.send(sentence, ephemeral=True, allowed_mentions=NOBODY)
