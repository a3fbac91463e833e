"""Buttons that must be pressed before something is done that cannot be undone."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import discord

from cogs.memory.exceptions import MemoryCogError
from cogs.memory.surface.answers import NOBODY, answer

from .memory_texts import memory_texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from cogs.memory.surface.failures import Failures
    from cogs.memory.surface.rights import Interaction

    Right = Callable[[Interaction], Awaitable[bool]]

log = logging.getLogger(__name__)

TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Choice:
    """A button: what it says, and what it does; the returned text takes the place of the question."""

    label: str
    act: Callable[[Interaction], Awaitable[str]]
    style: discord.ButtonStyle = discord.ButtonStyle.danger


class Confirmation(discord.ui.View):
    """A question with some choices and "Cancel", for the asker alone; the first press counts.

    Args:
        asked: the interaction that the question answers.
        choices: what may be done.
        failures: tells what goes wrong.
        right: checked again when a choice is pressed; rights may have changed since the question.
        unchanged: what to say when nothing is chosen.
    """

    def __init__(
        self,
        asked: Interaction,
        choices: Sequence[Choice],
        failures: Failures,
        *,
        right: Right | None = None,
        unchanged: str | None = None,
    ) -> None:
        super().__init__(timeout=TIMEOUT_S)
        texts = memory_texts(asked)
        self._asked = asked
        self._failures = failures
        self._right = right
        self._cancelled = unchanged or texts.cancelled
        self._expired = unchanged or texts.expired
        self._decided = False
        for choice in choices:
            self.add_item(_ChoiceButton(choice))
        self.add_item(_ChoiceButton(Choice(texts.cancel, self._cancel, discord.ButtonStyle.secondary)))

    async def ask(self, content: str, *, embed: discord.Embed | None = None) -> None:
        """Show the question as the answer to the interaction."""
        await answer(self._asked, content, embed=embed, view=self)

    async def decide(self, interaction: Interaction, choice: Choice) -> None:
        """Carry out what was chosen, once, and show what came of it."""
        if self._decided or interaction.user.id != self._asked.user.id:
            await interaction.response.defer()
            return
        if self._right is not None:
            await self._right(interaction)
        self._decided = True
        self.stop()
        working = memory_texts(interaction).working
        await interaction.response.edit_message(content=working, embed=None, view=None, allowed_mentions=NOBODY)
        try:
            outcome = await choice.act(interaction)
        except MemoryCogError as error:
            outcome = str(error)
        await answer(interaction, outcome)

    async def _cancel(self, _: Interaction) -> str:
        return self._cancelled

    async def on_timeout(self) -> None:
        """Take the buttons away."""
        try:
            await answer(self._asked, self._expired)
        except discord.HTTPException as error:
            log.info("An unanswered question could not be withdrawn (%s)", type(error).__name__)

    async def on_error(self, interaction: Interaction, error: Exception, _: discord.ui.Item[Any]) -> None:
        """Tell the failure as those of commands are told."""
        await self._failures.report(interaction, error)


class _ChoiceButton(discord.ui.Button["Confirmation"]):
    def __init__(self, choice: Choice) -> None:
        super().__init__(label=choice.label, style=choice.style)
        self._choice = choice

    async def callback(self, interaction: Interaction) -> None:
        if self.view is not None:
            await self.view.decide(interaction, self._choice)
