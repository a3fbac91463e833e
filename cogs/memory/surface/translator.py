"""The texts of commands in the languages of those who use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from cogs.memory.surface import texts_german
from cogs.memory.surface.commands import memory_texts_german
from cogs.memory.surface.history import backfill_texts

if TYPE_CHECKING:
    from collections.abc import Mapping

_GERMAN: Mapping[str, str] = {
    **backfill_texts.COMMAND_TEXTS,
    **memory_texts_german.COMMAND_TEXTS,
    **texts_german.COMMAND_TEXTS,
}


class MemoryTranslator(app_commands.Translator):
    """Gives Discord the translations of command names, descriptions and choices."""

    def __init__(self) -> None:
        self._german = dict(_GERMAN)

    def add_german(self, texts: Mapping[str, str]) -> None:
        """Take in the texts of another extension's commands, by their English."""
        self._german.update(texts)

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        """Return the translation of one text, ``None`` where there is none."""
        return self._german.get(string.message) if locale is discord.Locale.german else None
