"""`/chat`: what those who may manage a server decide about the bot's replies."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands
from discord.app_commands import locale_str
from discord.ext import commands

from cogs.chat.chat_settings import (  # noqa: TC001 - discord.py reads annotations
    MAX_PERSONA,
    MAX_REPLIES,
    MAX_TOKENS,
    MIN_TOKENS,
)
from cogs.chat.texts import chat_texts
from cogs.memory.surface.answers import answer, think
from cogs.memory.surface.commands.admin import Place  # noqa: TC001 - discord.py reads annotations
from cogs.memory.surface.commands.confirmation import Choice, Confirmation
from cogs.memory.surface.markup import cut, escape
from cogs.memory.surface.rights import guard, guild_id_of, require_guild_admin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from cogs.chat.chat_settings import ChatSettings
    from cogs.chat.providers import ReplyProvider
    from cogs.chat.services import ChatServices
    from cogs.chat.texts import ChatTexts
    from cogs.memory.surface.rights import Interaction

log = logging.getLogger(__name__)

SHOWN: Final = 20
"""Channels listed."""
ANY_NUMBER: Final = -1


class ChatCommands(commands.Cog):
    """Adds `/chat` to the bot.

    Args:
        services: the chat's settings and providers.
    """

    def __init__(self, services: ChatServices) -> None:
        self._services = services
        self._tree = services.memory.bot.tree
        self._group = self._build()
        self._group.error(self._failed)

    async def cog_load(self) -> None:
        """Register the group."""
        self._tree.add_command(self._group)

    async def cog_unload(self) -> None:
        """Take the group back."""
        self._tree.remove_command(self._group.name)

    def _build(self) -> app_commands.Group:
        chat = app_commands.Group(
            name="chat",
            description=locale_str("How the bot replies on this server"),
            guild_only=True,
            default_permissions=discord.Permissions(manage_guild=True),
        )
        memory = app_commands.Group(
            name="memory", description=locale_str("Whether replies may draw on the memory"), parent=chat
        )
        provider: app_commands.Command[Any, ..., None] = chat.command(
            name="provider", description=locale_str("Who writes the replies")
        )(self.provider)
        provider.autocomplete("name")(self.suggest)
        guard(
            require_guild_admin,
            provider,
            chat.command(name="channel", description=locale_str("When the bot replies in a channel"))(self.channel),
            chat.command(name="persona", description=locale_str("How the bot speaks"))(self.persona),
            memory.command(name="on", description=locale_str("Let replies draw on the memory"))(self.memory_on),
            memory.command(name="off", description=locale_str("Keep the memory out of replies"))(self.memory_off),
            chat.command(name="budget", description=locale_str("How much a reply may cost"))(self.budget),
            chat.command(name="status", description=locale_str("How replies are set up here"))(self.status),
            chat.command(name="reset", description=locale_str("Undo all chat settings of this server"))(self.reset),
        )
        return chat

    @app_commands.describe(
        channel=locale_str("The channel, with its threads; empty for this one"),
        mode=locale_str("To every message, when spoken to, or never"),
    )
    @app_commands.choices(
        mode=[
            app_commands.Choice(name=locale_str("always: to every message"), value="always"),
            app_commands.Choice(name=locale_str("mention: when mentioned or replied to"), value="mention"),
            app_commands.Choice(name=locale_str("never"), value="never"),
        ]
    )
    async def channel(self, interaction: Interaction, mode: str, channel: Place | None = None) -> None:
        """Set when the bot replies in a channel."""
        await think(interaction)
        channel_id = channel.id if channel else interaction.channel_id
        if channel_id is None or mode not in ("always", "mention", "never"):
            return
        when: Any = mode
        await self._change(interaction, lambda each: each.with_channel(channel_id, when))
        texts = chat_texts(interaction)
        sentence = {"always": texts.channel_always, "mention": texts.channel_mention, "never": texts.channel_never}
        await answer(interaction, sentence[mode].format(channel=f"<#{channel_id}>"))

    @app_commands.describe(name=locale_str("The provider; empty shows the present one"))
    async def provider(self, interaction: Interaction, name: str | None = None) -> None:
        """Show or choose who writes the replies; one that is not on this machine is confirmed first."""
        await think(interaction)
        texts, providers = chat_texts(interaction), self._services.providers
        names = ", ".join(f"`{each}`" for each in providers.names)
        if name is None:
            present = providers.of(await self._services.settings.get(guild_id_of(interaction)))
            await answer(interaction, texts.provider_is.format(provider=escape(present.name), names=names))
            return
        chosen = providers.get(name)
        if chosen is None:
            await answer(interaction, texts.provider_unknown.format(names=names))
        elif chosen.remote:
            await self._confirm(
                interaction,
                texts.provider_ask.format(provider=escape(chosen.name)),
                texts.provider_button,
                lambda pressed: self._choose(pressed, chosen),
            )
        else:
            await answer(interaction, await self._choose(interaction, chosen))

    @app_commands.check(require_guild_admin)  # the command's own checks are not asked while one types
    async def suggest(self, _: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        """Offer the providers that there are."""
        names = [name for name in self._services.providers.names if typed.casefold() in name.casefold()]
        return [app_commands.Choice(name=cut(name, 100), value=name) for name in names if len(name) <= 100][:25]

    async def _choose(self, interaction: Interaction, provider: ReplyProvider) -> str:
        await self._change(interaction, lambda settings: replace(settings, provider=provider.name))
        return chat_texts(interaction).provider_set.format(provider=escape(provider.name))

    @app_commands.describe(
        text=locale_str("Who the bot is and how it speaks; empty shows it"),
        reset=locale_str("Go back to the bot's own way"),
    )
    async def persona(
        self,
        interaction: Interaction,
        text: app_commands.Range[str, 1, MAX_PERSONA] | None = None,
        reset: bool = False,
    ) -> None:
        """Show or set how the bot speaks."""
        await think(interaction)
        texts = chat_texts(interaction)
        if text is None and not reset:
            persona = (await self._services.settings.get(guild_id_of(interaction))).persona
            await answer(interaction, _quoted(texts.persona_is, persona) if persona else texts.persona_none)
            return
        persona = "" if reset or text is None else " ".join(text.split())
        settings = await self._change(interaction, lambda each: replace(each, persona=persona))
        lines = [_quoted(texts.persona_set, persona) if persona else texts.persona_cleared]
        used = self._services.providers.of(settings)
        if persona and used is self._services.providers.quoting:
            lines.append(texts.persona_unread.format(provider=escape(used.name)))
        await answer(interaction, cut("\n".join(lines), 2000))

    async def memory_on(self, interaction: Interaction) -> None:
        """Let replies draw on the memory."""
        await think(interaction)
        await self._change(interaction, lambda settings: replace(settings, memory=True))
        await answer(interaction, chat_texts(interaction).memory_is_on)

    async def memory_off(self, interaction: Interaction) -> None:
        """Keep the memory out of replies."""
        await think(interaction)
        await self._change(interaction, lambda settings: replace(settings, memory=False))
        await answer(interaction, chat_texts(interaction).memory_is_off)

    @app_commands.describe(
        tokens=locale_str("Tokens of quotes that a reply is given"),
        replies=locale_str("Replies a day that the provider may write; -1 for any number"),
    )
    async def budget(
        self,
        interaction: Interaction,
        tokens: app_commands.Range[int, MIN_TOKENS, MAX_TOKENS] | None = None,
        replies: app_commands.Range[int, ANY_NUMBER, MAX_REPLIES] | None = None,
    ) -> None:
        """Show or set how many tokens a reply is given, and how many replies a day a model may write."""
        await think(interaction)

        def change(settings: ChatSettings) -> ChatSettings:
            settings = settings if tokens is None else replace(settings, memory_tokens=tokens)
            if replies is None:
                return settings
            return replace(settings, replies_a_day=None if replies == ANY_NUMBER else replies)

        settings = await self._change(interaction, change)
        await answer(interaction, self._budget_text(chat_texts(interaction), guild_id_of(interaction), settings))

    async def status(self, interaction: Interaction) -> None:
        """Show the settings, and what replies have cost since the start."""
        await think(interaction)
        guild_id, texts = guild_id_of(interaction), chat_texts(interaction)
        settings = await self._services.settings.get(guild_id)
        provider = self._services.providers.of(settings)
        name = escape(provider.name)
        embed = discord.Embed(title=texts.status_title)
        shown = texts.status_provider_remote.format(provider=name) if provider.remote else name
        embed.add_field(name=texts.status_provider, value=cut(shown, 1024), inline=False)
        memory = texts.memory_is_on if settings.memory else texts.memory_is_off
        embed.add_field(name=texts.status_memory, value=memory, inline=False)
        embed.add_field(name=texts.status_budget, value=self._budget_text(texts, guild_id, settings), inline=False)
        embed.add_field(name=texts.status_channels, value=_channels_text(texts, settings), inline=False)
        persona = escape(cut(settings.persona, 400)) or texts.persona_none
        embed.add_field(name=texts.status_persona, value=persona, inline=False)
        embed.add_field(name=texts.status_times, value=self._times_text(texts, guild_id), inline=False)
        await answer(interaction, embed=embed)

    async def reset(self, interaction: Interaction) -> None:
        """Give the server the chat settings of one that decided nothing; the way out when they are damaged."""
        await think(interaction)
        texts = chat_texts(interaction)

        async def act(pressed: Interaction) -> str:
            await self._services.settings.reset(guild_id_of(pressed))
            return chat_texts(pressed).reset_done

        await self._confirm(interaction, texts.reset_ask, texts.reset_button, act)

    def _budget_text(self, texts: ChatTexts, guild_id: int, settings: ChatSettings) -> str:
        tokens = texts.budget_is.format(tokens=f"{settings.memory_tokens:,}")
        used = f"{self._services.counters.begun_today(guild_id):,}"
        if settings.replies_a_day is None:
            return f"{tokens} {texts.budget_no_limit.format(used=used)}"
        provider = escape(self._services.providers.of(settings).name)
        return f"{tokens} " + texts.budget_replies.format(
            provider=provider, count=f"{settings.replies_a_day:,}", used=used
        )

    def _times_text(self, texts: ChatTexts, guild_id: int) -> str:
        tally = self._services.counters.of(guild_id)
        median = tally.percentile(50)
        if median is None:
            return texts.status_nothing_yet
        return texts.status_times_text.format(
            replies=f"{tally.replies:,}",
            median=f"{median:,.0f}",
            read=f"{tally.tokens_read:,}",
            written=f"{tally.tokens_written:,}",
        )

    async def _change(self, interaction: Interaction, change: Callable[[ChatSettings], ChatSettings]) -> ChatSettings:
        return await self._services.settings.change(guild_id_of(interaction), change)

    async def _confirm(
        self, interaction: Interaction, question: str, label: str, act: Callable[[Interaction], Awaitable[str]]
    ) -> None:
        failures = self._services.memory.failures
        await Confirmation(interaction, [Choice(label, act)], failures, right=require_guild_admin).ask(question)

    async def _failed(self, interaction: Interaction, error: app_commands.AppCommandError) -> None:
        await self._services.memory.failures.report(interaction, error)


def _quoted(sentence: str, persona: str) -> str:
    return cut(sentence.format(persona=escape(persona)), 1900)


def _channels_text(texts: ChatTexts, settings: ChatSettings) -> str:
    lines = []
    if settings.always:
        lines.append(texts.status_always.format(channels=_mentions(settings.always)))
    if settings.never:
        lines.append(texts.status_never.format(channels=_mentions(settings.never)))
    return cut("\n".join([*lines, texts.status_mention]), 1024)


def _mentions(channel_ids: Iterable[int]) -> str:
    ids = sorted(channel_ids)
    more = f" +{len(ids) - SHOWN}" if len(ids) > SHOWN else ""
    return ", ".join(f"<#{channel_id}>" for channel_id in ids[:SHOWN]) + more
