"""`MemoryCog`: `/recall` and "Find related"."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.ext import commands

from cogs.memory.context_builder import estimate_tokens
from cogs.memory.exceptions import InvalidQuery
from cogs.memory.memory_service import check_query
from cogs.memory.natural_dates import parse_span
from cogs.memory.surface.answers import edit
from cogs.memory.surface.conversion import to_stored
from cogs.memory.surface.presenter import heading, page_embeds
from cogs.memory.surface.recall.memory_button import COG_NAME
from cogs.memory.surface.recall.recall_buttons import BUTTONS, page_view
from cogs.memory.surface.recall.recall_flow import RecallFlow, question_from
from cogs.memory.surface.recall.recent_queries import MAX_SUGGESTION
from cogs.memory.surface.recall.search_state import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, Search
from cogs.memory.surface.reply_context import ReplyContexts
from cogs.memory.surface.texts import texts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cogs.memory.context_builder import MemoryContext
    from cogs.memory.surface.services import SurfaceServices

    Interaction = discord.Interaction[Any]

log = logging.getLogger(__name__)

_ = app_commands.locale_str
MAX_CHOICES = 25


class MemoryCog(commands.Cog, name=COG_NAME):
    """Finds what was said, for whoever asks, in what he may read.

    Args:
        services: the memory and what stands between it and Discord.
    """

    def __init__(self, services: SurfaceServices) -> None:
        self.services = services
        self.flow = RecallFlow(services)
        self._contexts = ReplyContexts(services)
        services.erasure.keepers.append(self.flow)
        self._menu = app_commands.ContextMenu(name=_("Find related"), callback=self.find_related)
        self._menu.guild_only = True
        self._menu.allowed_installs = app_commands.AppInstallationType(guild=True, user=False)
        self._menu.error(self._menu_failed)

    async def cog_load(self) -> None:
        """Register what a cog does not register by itself."""
        self.services.bot.tree.add_command(self._menu)
        self.services.bot.add_dynamic_items(*BUTTONS)

    async def cog_unload(self) -> None:
        """Take back what `cog_load` registered."""
        self.services.bot.tree.remove_command(self._menu.name, type=self._menu.type)
        self.services.bot.remove_dynamic_items(*BUTTONS)

    async def build_context(
        self,
        message: discord.Message,
        *,
        query: str | None = None,
        token_budget: int = 1000,
        per_author: int | None = None,
        count_tokens: Callable[[str], int] = estimate_tokens,
        gate: bool = True,
        exclude: Iterable[int] = (),
    ) -> MemoryContext:
        """Return what a reply to a message should know, as fenced quotes: for other cogs of the same bot.

        Only what *everybody who reads the message's channel* may see is quoted, checked again when it was found. The
        context is empty, and its ``reason`` says why, when the message needs no memory, nothing relevant is known, its
        author opted out, or it was not said on a server.

        Args:
            message: what the reply answers; it is never quoted itself.
            query: what to look for; None for what the message says.
            token_budget: tokens of the text, fence included.
            per_author: how many messages of one author at most; None lets nobody take more than 70 % of the room.
            count_tokens: the reply model's tokenizer.
            gate: whether to look only when the message seems to need memory.
            exclude: ids of messages that the reply knows already.

        Raises:
            InvalidQuery: there is nothing to look for, and no gate.
            MemoryCogError: the memory failed; its text is fit for users.
        """
        return await self._contexts.build(
            message,
            query=query,
            token_budget=token_budget,
            per_author=per_author,
            count_tokens=count_tokens,
            gate=gate,
            exclude=exclude,
        )

    @app_commands.command(name=_("recall"), description=_("Find what was said on this server"))
    @app_commands.describe(
        query=_("What you are looking for, in your own words"),
        author=_("Only what this person wrote"),
        channel=_("Only in this channel and its threads"),
        after=_("Only since then: yesterday, last week, 2025-03-01"),
        before=_("Only before then: yesterday, last week, 2025-03-01"),
        has=_("Only messages with this in them"),
        limit=_("Results on a page"),
    )
    @app_commands.choices(
        has=[
            app_commands.Choice(name=_("link"), value="link"),
            app_commands.Choice(name=_("file"), value="file"),
            app_commands.Choice(name=_("picture"), value="image"),
            app_commands.Choice(name=_("code"), value="code"),
        ]
    )
    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def recall(  # noqa: PLR0917 - the options of the command
        self,
        interaction: Interaction,
        query: str,
        author: discord.User | None = None,
        channel: app_commands.AppCommandChannel | app_commands.AppCommandThread | None = None,
        after: str | None = None,
        before: str | None = None,
        has: str | None = None,
        limit: app_commands.Range[int, 1, MAX_PAGE_SIZE] | None = None,
    ) -> None:
        """Show the asker, and nobody else, what was said."""
        with self.services.turns.take(interaction.user.id, texts_of(interaction)):
            await interaction.response.defer(ephemeral=True, thinking=True)
            start = end = None
            if after or before:
                start, end = await asyncio.to_thread(parse_span, after, before)  # the first one loads a library
            search = Search(
                query=" ".join(check_query(query).split()),
                author_id=author.id if author else None,
                channel_id=channel.id if channel else None,
                after=start,
                before=end,
                has=has,
                page_size=limit or min(self.services.memory.profile.recall_limit, MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE,
            )
            if interaction.guild_id is not None:
                self.services.recent.note(interaction.guild_id, interaction.user.id, search.query)
            await self.show_page(interaction, search)

    @recall.autocomplete("query")
    async def suggest(self, interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        """Offer what the user asked before."""
        asked = self.services.recent.like(interaction.guild_id or 0, interaction.user.id, typed[:MAX_SUGGESTION])
        choices = [app_commands.Choice(name=query, value=query) for query in asked[:MAX_CHOICES]]
        try:
            await interaction.response.autocomplete(choices)
        except discord.HTTPException as error:
            await self.services.failures.report(interaction, error)
            # Or else discord.py answers once more, and logs with a traceback that nobody waits any longer.
            interaction.response._response_type = discord.InteractionResponseType.autocomplete_result
        return choices

    async def find_related(self, interaction: Interaction, message: discord.Message) -> None:
        """Show the asker what was said on the same matter as a message."""
        texts = texts_of(interaction)
        with self.services.turns.take(interaction.user.id, texts):
            await interaction.response.defer(ephemeral=True, thinking=True)
            stored = to_stored(message)
            text = question_from(stored.text if stored else message.content)
            if not text:
                raise InvalidQuery(texts.no_text)
            page_size = min(self.services.memory.profile.recall_limit, MAX_PAGE_SIZE)
            search = Search(text, related_to=message.id, related_in=message.channel.id, page_size=page_size)
            await self.show_page(interaction, search)

    async def show_page(self, interaction: Interaction, search: Search) -> None:
        """Fill the answer, which is deferred already, with a page."""
        texts = texts_of(interaction)
        page = await self.flow.page(interaction, search)
        await edit(
            interaction,
            content=heading(page.search, texts, interaction.guild_id),
            embeds=page_embeds(page, texts),
            view=page_view(page, texts),
        )

    async def cog_app_command_error(self, interaction: Interaction, error: app_commands.AppCommandError) -> None:
        """Tell what went wrong."""
        await self.services.failures.report(interaction, error)

    async def _menu_failed(self, interaction: Interaction, error: app_commands.AppCommandError) -> None:
        await self.services.failures.report(interaction, error)
