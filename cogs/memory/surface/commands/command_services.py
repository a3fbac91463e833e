"""What the `/memory` commands work with, put together once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cogs.memory.erasure import Erasure
    from cogs.memory.memory_service import MemoryService
    from cogs.memory.surface.discord_access import AccessRules
    from cogs.memory.surface.failures import Failures
    from cogs.memory.surface.guild_settings import GuildSettingsStore
    from cogs.memory.surface.history.backfill_progress import BackfillProgress
    from cogs.memory.surface.history.verification import Verifies
    from cogs.memory.surface.operation.samples import Samples
    from cogs.memory.surface.recall.judgements import Judgements
    from cogs.memory.surface.retention import RetentionSweep
    from cogs.memory.surface.services import Companion


@dataclass(frozen=True, slots=True)
class CommandServices:
    """The parts of one bot's memory that commands need."""

    memory: MemoryService
    settings: GuildSettingsStore
    judgements: Judgements
    access: AccessRules
    verification: Verifies
    history: Callable[[int], Awaitable[BackfillProgress | None]]
    """Says how far the reading of a server's history has come."""
    samples: Samples
    retention: RetentionSweep
    erasure: Erasure
    failures: Failures
    companions: Sequence[Companion] = ()
