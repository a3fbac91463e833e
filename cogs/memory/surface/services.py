"""What the cogs of the surface share. Made by ``setup``, once for each bot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cogs.memory.surface.recall.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from discord.ext import commands

    from cogs.memory.erasure import Erasure
    from cogs.memory.memory_service import MemoryService
    from cogs.memory.surface.discord_access import AccessRules
    from cogs.memory.surface.event_line import EventLine
    from cogs.memory.surface.failures import Failures
    from cogs.memory.surface.guild_settings import GuildSettingsStore
    from cogs.memory.surface.history.history_sync import HistorySync
    from cogs.memory.surface.operation.metrics import MetricsEndpoint
    from cogs.memory.surface.recall.judgements import Judgements
    from cogs.memory.surface.recall.recent_queries import RecentQueries

    Bot: TypeAlias = commands.Bot | commands.AutoShardedBot

SERVICES = "memory_services"
"""The attribute of the bot that holds its `SurfaceServices`."""


class Companion(Protocol):
    """Another extension that works with the memory: what `/memory` has to say of it."""

    name: str
    """What its figures stand under."""

    async def sends_to(self, guild_id: int) -> str | None:
        """Return whom it sends messages of a guild to, by a name for members; None if they stay on this machine."""

    async def guild_erased(self, guild_id: int) -> None:
        """Let go of what it keeps of a guild that was left and is a stranger again. Raises StoreError."""

    def figures(self) -> Mapping[str, float | int | str | None]:
        """Return its figures, by name; none while there is nothing to tell."""
        ...


@dataclass(slots=True)
class SurfaceServices:
    """The memory and what stands between it and Discord."""

    bot: Bot
    memory: MemoryService
    erasure: Erasure
    access: AccessRules
    settings: GuildSettingsStore
    events: EventLine
    history: HistorySync
    judgements: Judgements
    failures: Failures
    recent: RecentQueries
    owns_memory: bool = False
    """Whether whoever made this also closes the memory."""
    metrics: MetricsEndpoint | None = None
    """Served where the settings ask for it."""
    turns: Turns = field(default_factory=Turns)
    companions: list[Companion] = field(default_factory=list)
