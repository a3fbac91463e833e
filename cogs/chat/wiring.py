"""Joins a bot, its memory and the chat; what ``load_extension("cogs.chat")`` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogs.chat.chat_settings import ChatSettingsStore
from cogs.chat.cog import ChatCog
from cogs.chat.commands import ChatCommands
from cogs.chat.counters import ReplyCounters
from cogs.chat.provider_choice import ProviderChoice
from cogs.chat.retraction import Retraction
from cogs.chat.services import CHAT_SERVICES, ChatServices
from cogs.chat.texts_german import COMMAND_TEXTS
from cogs.memory.exceptions import MemoryCogError
from cogs.memory.surface.services import SERVICES, SurfaceServices
from cogs.memory.surface.translator import MemoryTranslator
from profiles import load_settings

if TYPE_CHECKING:
    from cogs.memory.surface.services import Bot

NO_MEMORY: Final = (
    "cogs.chat replies out of the memory: load cogs.memory before it, and when cogs.memory is reloaded, reload "
    "cogs.chat after it."
)


async def connect(bot: Bot) -> ChatServices:
    """Add the chat to a bot that has a memory. Raises what ``cogs.chat.setup`` raises."""
    surface = getattr(bot, SERVICES, None)
    if not isinstance(surface, SurfaceServices):
        raise MemoryCogError(NO_MEMORY)
    providers: ProviderChoice | None = getattr(bot, "chat_providers", None)
    settings = load_settings(is_shared=True)
    if providers is None:
        providers = ProviderChoice.from_settings(settings, surface.memory)
    counters = ReplyCounters()
    services = ChatServices(
        memory=surface,
        settings=ChatSettingsStore(surface.memory.store),
        providers=providers,
        retraction=Retraction(surface, counters.withdraw),
        counters=counters,
        direct_messages=settings.chat_direct_messages,
    )
    setattr(bot, CHAT_SERVICES, services)
    surface.companions.append(services)
    try:
        if isinstance(bot.tree.translator, MemoryTranslator):
            bot.tree.translator.add_german(COMMAND_TEXTS)
        for cog in (ChatCog(services), ChatCommands(services)):
            await bot.add_cog(cog)
    except BaseException:
        await disconnect(bot)
        raise
    return services


async def disconnect(bot: Bot) -> None:
    """Take away what `connect` added; may be called twice."""
    services: ChatServices | None = getattr(bot, CHAT_SERVICES, None)
    if services is None:
        return
    setattr(bot, CHAT_SERVICES, None)
    if services in services.memory.companions:
        services.memory.companions.remove(services)
    for cog in (ChatCommands, ChatCog):
        await bot.remove_cog(cog.__cog_name__)
    await services.providers.close()
