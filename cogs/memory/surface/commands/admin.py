"""The `/memory` commands for those who may manage the server: what is remembered, for how long, and erasing it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands
from discord.app_commands import locale_str
from discord.utils import format_dt

from cogs.memory.personal_data import summarise
from cogs.memory.surface.answers import answer, think
from cogs.memory.surface.guild_settings import MAX_RETENTION_DAYS, GuildSettings  # noqa: TC001 - discord.py reads annotations
from cogs.memory.surface.history.backfill_progress import describe
from cogs.memory.surface.history.backfill_texts import backfill_texts
from cogs.memory.surface.markup import cut
from cogs.memory.surface.recall.judgements import judged_questions
from cogs.memory.surface.retention import count_before, cutoff
from cogs.memory.surface.rights import guard, guild_id_of, require_guild_admin

from .confirmation import Choice, Confirmation
from .memory_texts import memory_texts
from .personal import receipt_line
from .reranker_status import reranker_lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from cogs.memory.erasure import ErasureReceipt
    from cogs.memory.records import StoreStats
    from cogs.memory.surface.rights import Interaction

    from .command_services import CommandServices
    from .memory_texts import MemoryTexts

_Place = app_commands.AppCommandChannel | app_commands.AppCommandThread


class _PlaceOption(app_commands.Transformer):
    """Offers what messages are written in, not categories; takes also what the bot does not see."""

    @property
    def type(self) -> discord.AppCommandOptionType:
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        return [kind for kind in discord.ChannelType if kind.name not in ("private", "group", "category")]

    async def transform(self, _: Interaction, value: _Place, /) -> _Place:
        return value


Place = app_commands.Transform[_Place, _PlaceOption]
SHOWN_CHANNELS: Final = 40
COUNTED: Final = 10_000
"""Messages counted before a retention begins: enough to know what one is about to do."""


class AdminCommands:
    """What those who may manage a server decide about its memory.

    Args:
        services: what the commands work with.
    """

    def __init__(self, services: CommandServices) -> None:
        self._services = services

    def add_to(self, memory: app_commands.Group, forget: app_commands.Group, channels: app_commands.Group) -> None:
        """Add the commands to ``/memory``, ``/memory forget`` and ``/memory channels``, each with its check."""
        guard(
            require_guild_admin,
            memory.command(name="status", description=locale_str("Admins: what is stored of this server"))(self.status),
            memory.command(name="retention", description=locale_str("Admins: how long messages are kept"))(
                self.retention
            ),
            memory.command(name="reset-settings", description=locale_str("Admins: undo all settings of this server"))(
                self.reset_settings
            ),
            channels.command(name="allow", description=locale_str("Admins: remember a channel"))(self.allow),
            channels.command(name="deny", description=locale_str("Admins: never remember a channel"))(self.deny),
            channels.command(name="clear", description=locale_str("Admins: remember all channels again"))(self.clear),
            channels.command(name="list", description=locale_str("Admins: which channels are remembered"))(
                self.list_channels
            ),
            forget.command(name="user", description=locale_str("Admins: erase all that is stored of a person"))(
                self.forget_user
            ),
            forget.command(name="channel", description=locale_str("Admins: erase all that is stored from a channel"))(
                self.forget_channel
            ),
            forget.command(name="server", description=locale_str("Admins: erase all that is stored of this server"))(
                self.forget_server
            ),
        )

    # --- what there is

    async def status(self, interaction: Interaction) -> None:
        """Show sizes, coverage, what waits and the settings."""
        await think(interaction)
        guild_id, texts, memory = guild_id_of(interaction), memory_texts(interaction), self._services.memory
        stats = await memory.stats(guild_id)
        embed = discord.Embed(title=texts.status_title)
        count = texts.status_messages_text.format(
            messages=texts.count_messages(stats.messages), authors=f"{stats.authors:,}", channels=f"{stats.channels:,}"
        )
        embed.add_field(name=texts.status_messages, value=count, inline=False)
        if stats.oldest is not None and stats.newest is not None:
            reach = texts.status_reach_text.format(
                oldest=format_dt(stats.oldest, "f"), newest=format_dt(stats.newest, "f")
            )
            embed.add_field(name=texts.status_reach, value=reach, inline=False)
        progress, how = await self._services.history(guild_id), backfill_texts(interaction.locale)
        history = how.never if progress is None else describe(progress, how)
        embed.add_field(name=texts.status_history, value=cut(history, 1024), inline=False)
        embed.add_field(name=texts.status_search, value=_coverage(texts, stats), inline=False)
        queue = texts.status_queue_text.format(waiting=f"{memory.queue.waiting:,}", rate=f"{memory.queue.rate:.0f}")
        embed.add_field(name=texts.status_queue, value=queue, inline=False)
        if problem := memory.queue.problem_of(guild_id):
            embed.add_field(name=texts.status_problem, value=cut(problem, 1024), inline=False)
        reranker = reranker_lines(texts, memory, await self._services.judgements.of(guild_id))
        embed.add_field(name=texts.status_reranker, value=cut("\n".join(reranker), 1024), inline=False)
        settings = "\n".join(await self._settings_lines(texts, guild_id))
        embed.add_field(name=texts.status_settings, value=cut(settings, 1024), inline=False)
        await answer(interaction, embed=embed)

    async def _settings_lines(self, texts: MemoryTexts, guild_id: int) -> list[str]:
        settings = await self._services.settings.get(guild_id)
        opted_out = await self._services.settings.opted_out(guild_id)
        judgements = await self._services.judgements.of(guild_id)
        lines = _channel_lines(texts, settings, shown=10)
        days = settings.retention_days
        lines.append(
            texts.status_retention.format(days=texts.count_days(days)) if days else texts.status_retention_none
        )
        lines.append(texts.status_on_join if settings.backfill_on_join else texts.status_not_on_join)
        if settings.instruction:
            lines.append(texts.status_instruction)
        lines.append(texts.status_opted_out.format(count=f"{len(opted_out):,}"))
        questions = len(judged_questions(judgements))
        lines.append(texts.status_judgements.format(count=f"{len(judgements):,}", questions=f"{questions:,}"))
        return lines

    # --- which channels

    @app_commands.describe(channel=locale_str("The channel, with its threads"))
    async def allow(self, interaction: Interaction, channel: Place) -> None:
        """Remember a channel: lift its denial, or else put it on the list outside of which nothing is remembered."""
        await think(interaction)

        def change(settings: GuildSettings) -> GuildSettings:
            if channel.id in settings.denied_channels and not settings.allowed_channels:
                return replace(settings, denied_channels=settings.denied_channels - {channel.id})
            return replace(
                settings,
                allowed_channels=settings.allowed_channels | {channel.id},
                denied_channels=settings.denied_channels - {channel.id},
            )

        settings = await self._services.settings.change(guild_id_of(interaction), change)
        texts = memory_texts(interaction)
        lines = [texts.channels_now_allowed.format(channel=channel.mention)]
        if settings.allowed_channels:
            channels = _mentions(texts, settings.allowed_channels, SHOWN_CHANNELS)
            lines.append(texts.channels_only_now.format(channels=channels))
        await answer(interaction, "\n".join(lines))

    @app_commands.describe(channel=locale_str("The channel, with its threads"))
    async def deny(self, interaction: Interaction, channel: Place) -> None:
        """Never remember a channel. It stays on the list of allowed ones: an empty list would allow all others."""
        await think(interaction)
        await self._services.settings.change(
            guild_id_of(interaction),
            lambda settings: replace(settings, denied_channels=settings.denied_channels | {channel.id}),
        )
        await answer(interaction, memory_texts(interaction).channels_now_denied.format(channel=channel.mention))

    async def clear(self, interaction: Interaction) -> None:
        """Remember all channels again."""
        await think(interaction)
        await self._services.settings.change(
            guild_id_of(interaction),
            lambda settings: replace(settings, allowed_channels=frozenset(), denied_channels=frozenset()),
        )
        await answer(interaction, memory_texts(interaction).channels_cleared)

    async def list_channels(self, interaction: Interaction) -> None:
        """Show which channels are remembered."""
        await think(interaction)
        settings = await self._services.settings.get(guild_id_of(interaction))
        await answer(interaction, "\n".join(_channel_lines(memory_texts(interaction), settings, shown=SHOWN_CHANNELS)))

    # --- for how long

    @app_commands.describe(days=locale_str("Days after which messages are deleted; 0 keeps them; empty shows"))
    async def retention(
        self, interaction: Interaction, days: app_commands.Range[int, 0, MAX_RETENTION_DAYS] | None = None
    ) -> None:
        """Show or set how long messages are kept; a shorter time is confirmed first, because it deletes."""
        await think(interaction)
        guild_id, texts = guild_id_of(interaction), memory_texts(interaction)
        settings = await self._services.settings.get(guild_id)
        if days is None:
            kept = settings.retention_days
            await answer(
                interaction, texts.retention_is.format(days=texts.count_days(kept)) if kept else texts.retention_none
            )
            return
        if days == 0:
            await self._services.settings.change(guild_id, lambda each: replace(each, retention_days=None))
            await answer(interaction, texts.retention_none)
            return
        moment = cutoff(days, datetime.now(UTC))
        doomed = await count_before(self._services.memory.store, guild_id, moment, limit=COUNTED + 1)
        messages = texts.count_messages(min(doomed, COUNTED))
        if doomed > COUNTED:
            messages = texts.retention_many.format(count=messages)
        new_days = days

        async def act(pressed: Interaction) -> str:
            await self._services.settings.change(guild_id, lambda each: replace(each, retention_days=new_days))
            deleted = await self._services.retention.sweep(guild_id)
            texts = memory_texts(pressed)
            return texts.retention_done.format(messages=texts.count_messages(deleted), days=texts.count_days(new_days))

        question = texts.retention_ask.format(days=texts.count_days(days), messages=messages)
        await self._confirm(interaction, question, texts.retention_button, act)

    async def reset_settings(self, interaction: Interaction) -> None:
        """Give the server the settings of one that decided nothing; the way out when they are damaged."""
        await think(interaction)
        guild_id, texts = guild_id_of(interaction), memory_texts(interaction)

        async def act(pressed: Interaction) -> str:
            lost = await self._services.settings.reset_all(guild_id)
            texts = memory_texts(pressed)
            return f"{texts.reset_done}\n{texts.reset_opt_outs_lost}" if lost else texts.reset_done

        await self._confirm(interaction, texts.reset_ask, texts.reset_button, act)

    # --- erasing

    @app_commands.describe(user=locale_str("The person; they need not be on the server any more"))
    async def forget_user(self, interaction: Interaction, user: discord.User) -> None:
        """Erase all that is stored of a person, after a confirmation."""
        await think(interaction)
        guild_id, texts = guild_id_of(interaction), memory_texts(interaction)
        stored = await summarise(self._services.memory.store, guild_id, user.id)
        question = texts.forget_user.format(user=user.mention, messages=texts.count_messages(stored.messages))
        await self._erase(interaction, question, lambda: self._services.erasure.forget_user(guild_id, user.id))

    @app_commands.describe(channel=locale_str("The channel, with its threads"))
    async def forget_channel(self, interaction: Interaction, channel: Place) -> None:
        """Erase all that is stored from a channel, after a confirmation."""
        await think(interaction)
        guild_id, texts = guild_id_of(interaction), memory_texts(interaction)
        question = texts.forget_channel.format(channel=channel.mention)
        await self._erase(interaction, question, lambda: self._services.erasure.forget_channel(guild_id, channel.id))

    async def forget_server(self, interaction: Interaction) -> None:
        """Erase all that is stored of the server, after a confirmation."""
        await think(interaction)
        guild_id, texts = guild_id_of(interaction), memory_texts(interaction)
        stats = await self._services.memory.stats(guild_id)
        question = texts.forget_server.format(
            messages=texts.count_messages(stats.messages), channels=f"{stats.channels:,}"
        )
        await self._erase(interaction, question, lambda: self._services.erasure.forget_guild(guild_id))

    async def _erase(
        self, interaction: Interaction, question: str, erase: Callable[[], Awaitable[ErasureReceipt]]
    ) -> None:
        async def act(pressed: Interaction) -> str:
            return receipt_line(memory_texts(pressed), await erase())

        await self._confirm(interaction, question, memory_texts(interaction).forget_button, act)

    async def _confirm(
        self, interaction: Interaction, question: str, label: str, act: Callable[[Interaction], Awaitable[str]]
    ) -> None:
        await Confirmation(interaction, [Choice(label, act)], self._services.failures, right=require_guild_admin).ask(
            question
        )


def _coverage(texts: MemoryTexts, stats: StoreStats) -> str:
    return texts.status_search_text.format(
        embedded=f"{stats.embedded:,}", messages=f"{stats.messages:,}", ready=f"{stats.index_ready:.0%}"
    )


def _channel_lines(texts: MemoryTexts, settings: GuildSettings, *, shown: int) -> list[str]:
    lines = []
    if settings.allowed_channels:
        lines.append(texts.channels_allowed.format(channels=_mentions(texts, settings.allowed_channels, shown)))
    else:
        lines.append(texts.channels_all)
    if settings.denied_channels:
        lines.append(texts.channels_denied.format(channels=_mentions(texts, settings.denied_channels, shown)))
    return lines


def _mentions(texts: MemoryTexts, channel_ids: Iterable[int], shown: int) -> str:
    ids = sorted(channel_ids)
    mentions = ", ".join(f"<#{channel_id}>" for channel_id in ids[:shown])
    more = texts.channels_too_many.format(count=len(ids) - shown)
    return mentions if len(ids) <= shown else f"{mentions} {more}"
