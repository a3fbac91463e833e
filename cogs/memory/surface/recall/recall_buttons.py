"""The buttons under an answer: pages, conversations, sharing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

import discord

from cogs.memory.exceptions import InvalidQuery
from cogs.memory.relevance import RELEVANT
from cogs.memory.surface.answers import NOBODY, edit
from cogs.memory.surface.presenter import conversation_embed, heading, query_in, result_embeds
from cogs.memory.surface.recall.judge_buttons import JudgeButton, JudgeMenu
from cogs.memory.surface.recall.memory_button import MemoryButton, query_of
from cogs.memory.surface.recall.search_state import ID, STATE, Search, encode_id
from cogs.memory.surface.texts import texts_for, texts_of

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

    from cogs.memory.recall_records import RecalledMessage
    from cogs.memory.surface.cog import MemoryCog
    from cogs.memory.surface.page import Page
    from cogs.memory.surface.recall.recall_flow import Conversation
    from cogs.memory.surface.texts import Texts

    Interaction = discord.Interaction[Any]


class PageButton(MemoryButton, template=rf"memory:page:(?P<place>[a-z]):(?P<state>{STATE})"):
    """Turns to another page of the same answer."""

    def __init__(self, search: Search, *, label: str, place: str, disabled: bool = False) -> None:
        custom_id = f"memory:page:{place}:{search.encode()}"
        super().__init__(discord.ui.Button(label=label, custom_id=custom_id, disabled=disabled, row=0))
        self.search = search

    @classmethod
    async def from_custom_id(cls, interaction: Interaction, item: discord.ui.Item[Any], match: re.Match[str]) -> Self:
        """Make the button again from what Discord sends."""
        search = Search.decode(match["state"], query_of(interaction))
        return cls(search, label=getattr(item, "label", None) or "…", place=match["place"])

    async def pressed(self, interaction: Interaction, cog: MemoryCog) -> None:
        """Put the other page in the place of this one."""
        _require_query(interaction, self.search)
        await interaction.response.defer()
        await cog.show_page(interaction, self.search)


class ShareButton(MemoryButton, template=rf"memory:share:(?P<state>{STATE})"):
    """Shows a page to everybody in the channel, as far as everybody may see it."""

    def __init__(self, search: Search, *, label: str) -> None:
        custom_id = f"memory:share:{search.encode()}"
        style = discord.ButtonStyle.success
        super().__init__(discord.ui.Button(label=label, custom_id=custom_id, style=style, row=0))
        self.search = search

    @classmethod
    async def from_custom_id(cls, interaction: Interaction, item: discord.ui.Item[Any], match: re.Match[str]) -> Self:
        """Make the button again from what Discord sends."""
        search = Search.decode(match["state"], query_of(interaction))
        return cls(search, label=getattr(item, "label", None) or "…")

    async def pressed(self, interaction: Interaction, cog: MemoryCog) -> None:
        """Ask again on behalf of everybody here, and send that."""
        _require_query(interaction, self.search)
        _require_writing(interaction)
        await _answer_first(interaction)
        texts = texts_of(interaction)
        page = await cog.flow.page(interaction, self.search)
        allowed = await cog.flow.for_everybody(interaction, [result.message for result in page.results])
        # How often the same was said elsewhere is nobody else's business.
        shown = [replace(result, duplicates=0) for result in page.results if result.message.channel_id in allowed]
        hidden = [result for result in page.results if result.message.channel_id not in allowed]
        if not shown or (_is_relevant(hidden) and not _is_relevant(shown)):  # what is left is not what was asked for
            await edit(interaction, content=texts.not_shareable)
            return
        public = texts_for(interaction.guild_locale)
        head = public.shared_by.format(user=interaction.user.mention)
        if self.search.related_to is None:
            head = f"{head}\n{heading(page.search, public)}"
        # Of a message that others may not read not even the words are marked: only a question typed in is shown.
        embeds = result_embeds(shown, page.faces, public, query=self.search.query)
        await _send_publicly(interaction, head, embeds)
        told = texts.shared_some.format(count=len(shown), total=len(page.results))
        await edit(interaction, content=texts.shared if len(shown) == len(page.results) else told)


class AroundButton(MemoryButton, template=rf"memory:around:(?P<id>{ID})"):
    """Shows what was said around a result."""

    def __init__(self, message_id: int, *, label: str, row: int = 1) -> None:
        custom_id = f"memory:around:{encode_id(message_id)}"
        super().__init__(discord.ui.Button(label=label, custom_id=custom_id, row=row, emoji="💬"))
        self.message_id = message_id

    @classmethod
    async def from_custom_id(cls, interaction: Interaction, item: discord.ui.Item[Any], match: re.Match[str]) -> Self:
        """Make the button again from what Discord sends."""
        return cls(int(match["id"], 36), label=getattr(item, "label", None) or "…")

    async def pressed(self, interaction: Interaction, cog: MemoryCog) -> None:
        """Show the conversation, to this user alone."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        texts = texts_of(interaction)
        found = await cog.flow.conversation(interaction, self.message_id)
        if found is None:
            await edit(interaction, content=texts.gone)
            return
        query = query_of(interaction)
        await edit(
            interaction,
            content=heading(Search(query), texts) if query else None,
            embed=conversation_embed(found.around, found.centre, found.face, texts),
            view=conversation_view(found, query, texts),
        )


class ShareMessageButton(MemoryButton, template=rf"memory:share-one:(?P<id>{ID})"):
    """Shows a conversation to everybody in the channel, if everybody may see it."""

    def __init__(self, message_id: int, *, label: str) -> None:
        custom_id = f"memory:share-one:{encode_id(message_id)}"
        style = discord.ButtonStyle.success
        super().__init__(discord.ui.Button(label=label, custom_id=custom_id, style=style))
        self.message_id = message_id

    @classmethod
    async def from_custom_id(cls, interaction: Interaction, item: discord.ui.Item[Any], match: re.Match[str]) -> Self:
        """Make the button again from what Discord sends."""
        return cls(int(match["id"], 36), label=getattr(item, "label", None) or "…")

    async def pressed(self, interaction: Interaction, cog: MemoryCog) -> None:
        """Send the conversation."""
        _require_writing(interaction)
        await _answer_first(interaction)
        texts, public = texts_of(interaction), texts_for(interaction.guild_locale)
        found = await cog.flow.conversation(interaction, self.message_id)
        if found is None:
            await edit(interaction, content=texts.gone)
            return
        if not await cog.flow.for_everybody(interaction, [found.centre]):
            await edit(interaction, content=texts.not_shareable)
            return
        head = public.shared_by.format(user=interaction.user.mention)
        embed = conversation_embed(found.around, found.centre, found.face, public)
        await _send_publicly(interaction, head, [embed])
        await edit(interaction, content=texts.shared)


BUTTONS: Final = (PageButton, ShareButton, AroundButton, ShareMessageButton, JudgeButton, JudgeMenu)
"""All that a bot must know to answer presses."""


def page_view(page: Page, texts: Texts) -> discord.ui.View | None:
    """Return the buttons under a page; ``None`` if there is nothing to press."""
    search = page.search
    view = discord.ui.View(timeout=None)
    knows_query = query_in(heading(search, texts)) is not None
    if not knows_query and search.related_to is None:
        search_buttons: list[discord.ui.Item[Any]] = []  # a press would not know the whole question
    else:
        search_buttons = _search_buttons(page, texts)
    if not page.is_weak:
        for place, result in enumerate(page.results):
            label = texts.around.format(rank=search.first + place + 1)
            search_buttons.append(AroundButton(result.message.id, label=label, row=1 + place // 5))
        if page.results and knows_query and search.related_to is None:
            ids = [result.message.id for result in page.results]
            search_buttons.append(JudgeMenu.of(ids, search.first + 1, texts))
    for item in search_buttons:
        view.add_item(item)
    return view if search_buttons else None


def _search_buttons(page: Page, texts: Texts) -> list[discord.ui.Item[Any]]:
    search = page.search
    if page.is_weak:
        return [PageButton(replace(search, anyway=True), label=texts.show_anyway, place="w")]
    buttons: list[discord.ui.Item[Any]] = []
    if search.page:
        buttons.append(PageButton(search.on_page(search.page - 1), label=texts.back, place="b"))
    if page.has_more:
        buttons.append(PageButton(search.on_page(search.page + 1), label=texts.further, place="f"))
    if page.results:
        buttons.append(ShareButton(search, label=texts.share))
    return buttons


def conversation_view(found: Conversation, query: str, texts: Texts) -> discord.ui.View:
    """Return the buttons under a conversation; it can be judged when the question is known."""
    view = discord.ui.View(timeout=None)
    view.add_item(ShareMessageButton(found.centre.id, label=texts.share))
    if query:
        view.add_item(JudgeButton(found.centre.id, good=True, label=texts.good))
        view.add_item(JudgeButton(found.centre.id, good=False, label=texts.bad))
    return view


def _is_relevant(results: Sequence[RecalledMessage]) -> bool:
    return any(result.relevance >= RELEVANT for result in results)


def _require_query(interaction: Interaction, search: Search) -> None:
    if not search.query and search.related_to is None:
        raise InvalidQuery(texts_of(interaction).ask_again)


def _require_writing(interaction: Interaction) -> None:
    """Refuse to write for somebody where he may not write himself."""
    permissions = interaction.permissions
    in_thread = isinstance(interaction.channel, discord.Thread)
    may = permissions.send_messages_in_threads if in_thread else permissions.send_messages
    if not (may and permissions.view_channel):
        raise InvalidQuery(texts_of(interaction).may_not_write)


async def _answer_first(interaction: Interaction) -> None:
    """Answer the user alone: only what follows an answer can be for everybody, and nothing may delay that then."""
    await interaction.response.send_message("⏳", ephemeral=True, allowed_mentions=NOBODY)


async def _send_publicly(interaction: Interaction, content: str, embeds: list[discord.Embed]) -> None:
    await interaction.followup.send(content, embeds=embeds, ephemeral=False, allowed_mentions=NOBODY)
