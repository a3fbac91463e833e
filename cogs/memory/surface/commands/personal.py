"""The `/memory` commands for everyone: see, take away and erase what is stored of oneself, and stay out."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import discord
from discord import app_commands
from discord.app_commands import locale_str
from discord.utils import format_dt

from cogs.memory.personal_data import export_files, export_messages, summarise
from cogs.memory.surface.answers import add, answer, think
from cogs.memory.surface.markup import cut, escape
from cogs.memory.surface.rights import guild_id_of

from .confirmation import Choice, Confirmation
from .memory_texts import memory_texts

if TYPE_CHECKING:
    from cogs.memory.erasure import ErasureReceipt
    from cogs.memory.personal_data import PersonalSummary
    from cogs.memory.surface.rights import Interaction

    from .command_services import CommandServices
    from .memory_texts import MemoryTexts

SHOWN_CHANNELS: Final = 10
FILE_MARGIN: Final = 65_536
"""Bytes left for the rest of a request that carries a file."""


class PersonalCommands:
    """What every member may do about their own messages.

    Args:
        services: what the commands work with.
    """

    def __init__(self, services: CommandServices) -> None:
        self._services = services

    def add_to(self, memory: app_commands.Group, forget: app_commands.Group) -> None:
        """Add the commands to ``/memory`` and ``/memory forget``."""
        slow = app_commands.checks.cooldown(3, 60.0)  # these read, or rewrite, the whole database
        memory.command(name="privacy", description=locale_str("What is stored about you, and how to get rid of it"))(
            self.privacy
        )
        slow(forget.command(name="me", description=locale_str("Erase all that is stored of you"))(self.forget_me))
        memory.command(name="opt-out", description=locale_str("Keep your new messages out of the memory"))(self.opt_out)
        memory.command(name="opt-in", description=locale_str("Let your new messages into the memory"))(self.opt_in)
        slow(memory.command(name="export", description=locale_str("All that is stored of you, as a file"))(self.export))

    async def privacy(self, interaction: Interaction) -> None:
        """Show what is stored of the asker, where, for whom and for how long."""
        await think(interaction)
        guild_id = guild_id_of(interaction)
        summary = await summarise(self._services.memory.store, guild_id, interaction.user.id)
        opted_out = await self._services.settings.is_opted_out(guild_id, interaction.user.id)
        days = (await self._services.settings.get(guild_id)).retention_days
        texts = memory_texts(interaction)
        embed = discord.Embed(title=texts.privacy_title)
        stored = _stored(texts, summary) + ([texts.privacy_opted_out] if opted_out else [])
        embed.add_field(name=texts.privacy_yours, value=cut("\n".join(stored), 1024), inline=False)
        embed.add_field(name=texts.privacy_what, value=texts.privacy_what_text, inline=False)
        embed.add_field(name=texts.privacy_where, value=await self._where(texts, guild_id), inline=False)
        embed.add_field(name=texts.privacy_who, value=texts.privacy_who_text, inline=False)
        long = texts.privacy_long_text if days is None else texts.privacy_long_days.format(days=texts.count_days(days))
        embed.add_field(name=texts.privacy_long, value=long, inline=False)
        embed.add_field(name=texts.privacy_delete, value=texts.privacy_delete_text, inline=False)
        await answer(interaction, embed=embed)

    async def forget_me(self, interaction: Interaction) -> None:
        """Erase all that is stored of the asker, after a confirmation."""
        await think(interaction)
        texts = memory_texts(interaction)
        summary = await summarise(self._services.memory.store, guild_id_of(interaction), interaction.user.id)
        messages = texts.count_messages(summary.messages)
        question = texts.forget_me_title.format(messages=messages) if summary.messages else texts.forget_me_nothing
        choices = [
            Choice(texts.forget_button, self._erase_me),
            Choice(texts.forget_and_opt_out_button, self._erase_me_and_opt_out),
        ]
        await Confirmation(interaction, choices, self._services.failures).ask(f"{question}\n{texts.forget_me_later}")

    async def opt_out(self, interaction: Interaction) -> None:
        """Store nothing new of the asker, and offer to erase the rest."""
        await think(interaction)
        texts = memory_texts(interaction)
        guild_id = guild_id_of(interaction)
        await self._services.settings.opt_out(guild_id, interaction.user.id)
        summary = await summarise(self._services.memory.store, guild_id, interaction.user.id)
        if not summary.messages:
            await answer(interaction, texts.opted_out)
            return
        stored = texts.opted_out_stored.format(messages=texts.count_messages(summary.messages))
        choice = Choice(texts.forget_button, self._erase_me_and_opt_out)
        await Confirmation(interaction, [choice], self._services.failures, unchanged=texts.opted_out).ask(
            f"{texts.opted_out}\n{stored}"
        )

    async def opt_in(self, interaction: Interaction) -> None:
        """Store what the asker writes from now on."""
        await think(interaction)
        await self._services.settings.opt_in(guild_id_of(interaction), interaction.user.id)
        await answer(interaction, memory_texts(interaction).opted_in)

    async def export(self, interaction: Interaction) -> None:
        """Send all that is stored of the asker as JSON."""
        await think(interaction)
        texts = memory_texts(interaction)
        guild_id, user_id = guild_id_of(interaction), interaction.user.id
        messages = await export_messages(self._services.memory.store, guild_id, user_id)
        judgements = [
            {"query": each.query, "message_id": str(each.message_id), "good": each.good}
            for each in await self._services.judgements.of(guild_id)
            if each.user_id == user_id
        ]
        if not messages and not judgements:
            await answer(interaction, texts.export_nothing)
            return
        about = {
            "server_id": str(guild_id),
            "user_id": str(user_id),
            "opted_out": await self._services.settings.is_opted_out(guild_id, user_id),
            "judgements": judgements,
        }
        limit = interaction.filesize_limit - FILE_MARGIN
        contents = await asyncio.to_thread(export_files, messages, about, limit=limit)
        first, *others = [discord.File(io.BytesIO(content), filename=name) for name, content in contents]
        await answer(interaction, texts.export_done.format(messages=texts.count_messages(len(messages))), files=[first])
        for file in others:
            await add(interaction, [file])

    async def _erase_me(self, interaction: Interaction) -> str:
        receipt = await self._services.erasure.forget_user(guild_id_of(interaction), interaction.user.id)
        texts = memory_texts(interaction)
        return f"{receipt_line(texts, receipt)}\n{texts.receipt_me}"

    async def _erase_me_and_opt_out(self, interaction: Interaction) -> str:
        await self._services.settings.opt_out(guild_id_of(interaction), interaction.user.id)
        receipt = await self._services.erasure.forget_user(guild_id_of(interaction), interaction.user.id)
        texts = memory_texts(interaction)
        return f"{receipt_line(texts, receipt)}\n{texts.receipt_opted_out}"

    async def _where(self, texts: MemoryTexts, guild_id: int) -> str:
        sentences = [texts.privacy_where_here]
        profile = self._services.memory.profile
        if profile.reranker == "remote":
            host = urlsplit(profile.reranker_url or "").hostname or "?"
            sentences.append(texts.privacy_where_remote.format(host=escape(host)))
        recipients = [await companion.sends_to(guild_id) for companion in self._services.companions]
        sentences += [texts.privacy_where_companion.format(recipient=escape(name)) for name in recipients if name]
        return " ".join(sentences) if len(sentences) > 1 else texts.privacy_where_local


def receipt_line(texts: MemoryTexts, receipt: ErasureReceipt) -> str:
    """Return what an erasure removed as a sentence."""
    traces = texts.receipt_traces.format(traces=f"{receipt.traces:,}") if receipt.traces else ""
    return texts.receipt.format(
        messages=texts.count_messages(receipt.messages), traces=traces, seconds=f"{receipt.seconds:.1f}"
    )


def _stored(texts: MemoryTexts, summary: PersonalSummary) -> list[str]:
    if summary.first is None or summary.last is None:
        return [texts.privacy_nothing]
    count = texts.privacy_count.format(
        messages=texts.count_messages(summary.messages),
        first=format_dt(summary.first, "D"),
        last=format_dt(summary.last, "D"),
    )
    channels = ", ".join(f"<#{channel_id}>" for channel_id in list(summary.channels)[:SHOWN_CHANNELS])
    if len(summary.channels) > SHOWN_CHANNELS:
        channels = texts.privacy_more_channels.format(channels=channels, count=len(summary.channels) - SHOWN_CHANNELS)
    names = ", ".join(escape(name) for name in summary.names)
    return [count, texts.privacy_channels.format(channels=channels), texts.privacy_names.format(names=cut(names, 300))]
