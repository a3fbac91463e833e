"""What the `/memory` commands work with, put together once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cogs.memory.erasure import Erasure
    from cogs.memory.memory_service import MemoryService

    from .backfill_progress import BackfillProgress
    from .discord_access import AccessRules
    from .failures import Failures
    from .guild_settings import GuildSettingsStore
    from .judgements import Judgements
    from .retention import RetentionSweep
    from .samples import Samples
    from .services import Companion
    from .verification import Verifies


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
