"""What the parts of the chat share. Made by ``setup``, once for each bot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogs.chat.chat_settings import ChatSettings, ChatSettingsStore
    from cogs.chat.counters import ReplyCounters
    from cogs.chat.provider_choice import ProviderChoice
    from cogs.chat.providers import ReplyProvider
    from cogs.chat.retraction import Retraction
    from cogs.chat.texts import ChatTexts
    from cogs.memory.surface.services import SurfaceServices

CHAT_SERVICES = "chat_services"
"""The attribute of the bot that holds its `ChatServices`."""


@dataclass(slots=True)
class ChatServices:
    """The chat of one bot; to the memory's commands it is a `Companion`."""

    memory: SurfaceServices
    settings: ChatSettingsStore
    providers: ProviderChoice
    retraction: Retraction
    counters: ReplyCounters
    direct_messages: bool = False
    """Whether direct messages are replied to: the owner's decision."""
    name: str = "Chat"

    def provider_of(
        self, guild_id: int, settings: ChatSettings, texts: ChatTexts
    ) -> tuple[ReplyProvider, tuple[str, ...]]:
        """Return who writes the next reply in a guild, and what is to be said of that under it."""
        chosen = self.providers.of(settings)
        if settings.provider is not None and chosen.name != settings.provider:
            return chosen, (texts.provider_gone.format(provider=settings.provider),)
        limit = settings.replies_a_day
        if chosen is not self.providers.quoting and limit is not None and self.counters.begun_today(guild_id) >= limit:
            return self.providers.quoting, (texts.budget_spent.format(provider=chosen.name),)
        return chosen, ()

    async def sends_to(self, guild_id: int) -> str | None:
        """Return the remote provider that a guild's replies are written by; None if they are written here."""
        provider = self.providers.of(await self.settings.get(guild_id))
        return provider.name if provider.remote else None

    async def guild_erased(self, guild_id: int) -> None:
        """Forget how replies were set up in a guild. Raises StoreError."""
        await self.settings.reset(guild_id)

    def figures(self) -> Mapping[str, float | int | str | None]:
        """Return the counters."""
        return self.counters.figures()
