"""👍 and 👎 under a result: what people say answers a question becomes the server's own set of judged questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import discord

from cogs.memory.exceptions import InvalidQuery
from cogs.memory.surface.answers import edit
from cogs.memory.surface.recall.judgements import Judgement
from cogs.memory.surface.recall.memory_button import MemoryButton, query_of, take_turn
from cogs.memory.surface.recall.search_state import ID, encode_id
from cogs.memory.surface.texts import texts_of

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

    from cogs.memory.surface.cog import MemoryCog
    from cogs.memory.surface.texts import Texts

    Interaction = discord.Interaction[Any]

_EMOJI: Final = {"g": "👍", "b": "👎"}


class JudgeButton(MemoryButton, template=rf"memory:judge:(?P<verdict>[gb]):(?P<id>{ID})"):
    """Says whether a message answers the question that stands above it."""

    def __init__(self, message_id: int, *, good: bool, label: str) -> None:
        self.message_id = message_id
        self.good = good
        verdict = "g" if good else "b"
        custom_id = f"memory:judge:{verdict}:{encode_id(message_id)}"
        super().__init__(discord.ui.Button(label=label, custom_id=custom_id, emoji=_EMOJI[verdict]))

    @classmethod
    async def from_custom_id(cls, _: Interaction, item: discord.ui.Item[Any], match: re.Match[str]) -> Self:
        """Make the button again from what Discord sends."""
        return cls(int(match["id"], 36), good=match["verdict"] == "g", label=getattr(item, "label", None) or "…")

    async def pressed(self, interaction: Interaction, cog: MemoryCog) -> None:
        """Note the verdict."""
        await _judge(interaction, cog, self.message_id, good=self.good)


class JudgeMenu(discord.ui.DynamicItem[discord.ui.Select[Any]], template=r"memory:judge-one"):
    """Says of one of the results on a page whether it answers the question above."""

    def __init__(self, menu: discord.ui.Select[Any]) -> None:
        super().__init__(menu)

    @classmethod
    def of(cls, message_ids: Sequence[int], first_rank: int, texts: Texts) -> Self:
        """Return the menu for the results of a page, the first of which has the rank ``first_rank``."""
        options = [
            discord.SelectOption(
                label=f"{rank} · {label}", value=f"{verdict}{encode_id(message_id)}", emoji=_EMOJI[verdict]
            )
            for rank, message_id in enumerate(message_ids, start=first_rank)
            for verdict, label in (("g", texts.good), ("b", texts.bad))
        ]
        return cls(discord.ui.Select(custom_id="memory:judge-one", placeholder=texts.judge, options=options, row=3))

    @classmethod
    async def from_custom_id(cls, _: Interaction, item: discord.ui.Item[Any], __: re.Match[str]) -> Self:
        """Make the menu again from what Discord sends."""
        return cls(item if isinstance(item, discord.ui.Select) else discord.ui.Select())

    async def callback(self, interaction: Interaction) -> Any:
        """Take a turn and note the verdict."""
        await take_turn(interaction, self._chosen)

    async def _chosen(self, interaction: Interaction, cog: MemoryCog) -> None:
        verdict, message_id = self.item.values[0][0], self.item.values[0][1:]
        await _judge(interaction, cog, int(message_id, 36), good=verdict == "g")


async def _judge(interaction: Interaction, cog: MemoryCog, message_id: int, *, good: bool) -> None:
    """Note a verdict, if the user may still read the message."""
    query = query_of(interaction)
    texts = texts_of(interaction)
    if not query or interaction.guild_id is None:
        raise InvalidQuery(texts.ask_again)
    await interaction.response.defer(ephemeral=True, thinking=True)
    found = await cog.flow.conversation(interaction, message_id)
    if found is None:
        raise InvalidQuery(texts.gone)
    judgement = Judgement(query, message_id, found.centre.channel_id, interaction.user.id, good)
    count = await cog.services.judgements.add(interaction.guild_id, judgement)
    await edit(interaction, content=texts.judged.format(count=f"{count:,}"))
