"""Which providers there are, and which one writes a guild's replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from cogs.chat.providers.extractive import ExtractiveProvider
from cogs.chat.providers.factory import create_provider
from cogs.chat.providers.local import LocalModels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cogs.chat.chat_settings import ChatSettings
    from cogs.chat.providers import ReplyProvider
    from cogs.memory.memory_service import MemoryService
    from profiles import Settings


class ProviderChoice:
    """The providers that the bot's owner has set up. Guilds choose among them.

    Args:
        quoting: the one that needs no model and keeps everything on this machine.
        others: further ones, each with a name of its own.
    """

    def __init__(self, quoting: ExtractiveProvider, others: Iterable[ReplyProvider] = ()) -> None:
        self.quoting = quoting
        self._providers = {provider.name: provider for provider in (quoting, *others)}

    @classmethod
    def from_settings(cls, settings: Settings, memory: MemoryService) -> Self:
        """Return the quoting provider and the one that the settings name; a local model shares the memory's thread.

        Raises:
            ProviderNotAllowed: the settings lack what the provider needs; the sentence says what.
        """
        quoting = ExtractiveProvider()
        if settings.chat_provider == quoting.name:
            return cls(quoting)
        return cls(quoting, [create_provider(settings, models=LocalModels.of(memory))])

    @property
    def owners(self) -> ReplyProvider:
        """The one that the bot's owner has named, wherever it is."""
        return list(self._providers.values())[-1]

    @property
    def names(self) -> list[str]:
        """The names, the quoting one's first."""
        return list(self._providers)

    def get(self, name: str) -> ReplyProvider | None:
        """Return the provider of a name; None if there is none."""
        return self._providers.get(name)

    def of(self, settings: ChatSettings) -> ReplyProvider:
        """Return who writes a guild's replies.

        A guild that chose none has the owner's, unless that one is remote: nothing leaves the machine before an admin
        has agreed. A choice that is not there any more counts as the quoting one.
        """
        if settings.provider is not None:
            return self._providers.get(settings.provider, self.quoting)
        here = [provider for provider in self._providers.values() if not provider.remote]
        return here[-1]

    async def close(self) -> None:
        """Close all of them; may be called twice."""
        for provider in self._providers.values():
            await provider.close()
