"""Joins a bot, a memory and the cogs; what ``load_extension("cogs.memory")`` does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cogs.memory.erasure import Erasure
from cogs.memory.exceptions import MemoryCogError
from cogs.memory.memory_service import MemoryService
from cogs.memory.model_loading import model_sources
from cogs.memory.surface.cog import MemoryCog
from cogs.memory.surface.commands.memory_commands import MemoryCommands
from cogs.memory.surface.discord_access import AccessRules
from cogs.memory.surface.event_line import EventLine
from cogs.memory.surface.failures import Failures
from cogs.memory.surface.guild_settings import GuildSettingsStore
from cogs.memory.surface.history.history_sync import HistorySync
from cogs.memory.surface.listeners import MemoryListeners
from cogs.memory.surface.operation.metrics import MetricsEndpoint
from cogs.memory.surface.recall.judgements import Judgements
from cogs.memory.surface.recall.recent_queries import RecentQueries
from cogs.memory.surface.services import SERVICES, SurfaceServices
from cogs.memory.surface.translator import MemoryTranslator
from profiles import choose_profile, load_settings

if TYPE_CHECKING:
    from cogs.memory.surface.services import Bot
    from profiles import MemoryProfile, Settings


STALE: Final = (
    "bot.memory is no MemoryService of the code that is loaded now: discord.py imports an extension anew when it is "
    "reloaded. Make a new one from cogs.memory.memory_service before, or leave it to the extension to make one."
)


async def connect(bot: Bot) -> SurfaceServices:
    """Open the memory, unless the bot brings one, and add the cogs. Raises what ``cogs.memory.setup`` raises."""
    memory: MemoryService | None = getattr(bot, "memory", None)
    owns_memory = memory is None
    if memory is not None and not isinstance(memory, MemoryService):
        raise MemoryCogError(STALE)
    if memory is None:
        settings = load_settings(is_shared=True)
        profile, folder = await asyncio.to_thread(_choose, bot, settings)  # it may import torch to look for a GPU
        memory = MemoryService.on_folder(
            profile,
            folder,
            databases=settings.databases,
            sources=model_sources(settings),
            key=settings.database_key(),
            named=lambda name: choose_profile(settings, name).profile,
        )
        await memory.start()
    services = _services(bot, memory, owns_memory=owns_memory)
    setattr(bot, SERVICES, services)
    try:
        if bot.tree.translator is None:
            await bot.tree.set_translator(MemoryTranslator())
        services.access.listen()
        commands = MemoryCommands(services)
        for cog in (MemoryListeners(services), MemoryCog(services), commands):
            await bot.add_cog(cog)
        if owns_memory:
            services.metrics = await _serve_metrics(services, commands)
        services.history.start()
    except BaseException:
        await disconnect(bot)
        raise
    return services


async def disconnect(bot: Bot) -> None:
    """Take the cogs away and close what `connect` opened; may be called twice."""
    services: SurfaceServices | None = getattr(bot, SERVICES, None)
    if services is None:
        return
    setattr(bot, SERVICES, None)
    if services.metrics is not None:
        await services.metrics.close()
    await services.history.close()  # notes how far events were applied, so the event line must still run
    for cog in (MemoryCommands, MemoryCog, MemoryListeners):
        await bot.remove_cog(cog.__cog_name__)
    services.access.close()
    if isinstance(bot.tree.translator, MemoryTranslator):
        await bot.tree.set_translator(None)
    if services.owns_memory:
        await services.memory.close()


async def _serve_metrics(services: SurfaceServices, commands: MemoryCommands) -> MetricsEndpoint | None:
    """Serve metrics where the settings ask for it: they speak for a memory that was made after them."""
    settings = load_settings(is_shared=True)
    if settings.metrics_port is None:
        return None
    metrics = MetricsEndpoint(services, commands.services.samples.lag, settings.metrics_host, settings.metrics_port)
    await metrics.start()
    return metrics


def _services(bot: Bot, memory: MemoryService, *, owns_memory: bool) -> SurfaceServices:
    settings, failures = GuildSettingsStore(memory.store), Failures()
    access, judgements, recent = AccessRules(bot), Judgements(memory.store), RecentQueries()
    erasure = Erasure(memory, [judgements, recent])

    def read_again(guild_id: int) -> None:
        guild = bot.get_guild(guild_id)
        if guild is not None:
            history.lost_events(guild)

    events = EventLine(erasure, settings, on_lost=read_again)
    history = HistorySync(bot, erasure, settings, access, failures=failures, drained=events.drained)
    erasure.keepers += [history, events]
    return SurfaceServices(
        bot=bot,
        memory=memory,
        erasure=erasure,
        access=access,
        settings=settings,
        events=events,
        history=history,
        judgements=judgements,
        failures=failures,
        recent=recent,
        owns_memory=owns_memory,
    )


def _choose(bot: Bot, settings: Settings) -> tuple[MemoryProfile, Path]:
    """What the bot brings, else what the settings say."""
    profile: MemoryProfile | None = getattr(bot, "memory_profile", None)
    folder: Path | None = getattr(bot, "memory_folder", None)
    return profile or choose_profile(settings).profile, folder or Path(settings.memory_data)
