"""What the `/memory` commands work with, put together once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cogs.memory import erasure

from .failures import Failures

if TYPE_CHECKING:
    from cogs.memory.erasure import ErasureReceipt, KeepsTraces
    from cogs.memory.memory_service import MemoryService

    from .discord_access import AccessRules
    from .guild_settings import GuildSettingsStore
    from .judgements import Judgements
    from .retention import RetentionSweep
    from .samples import Samples


@dataclass(frozen=True, slots=True)
class CommandServices:
    """The parts of one bot's memory that commands need."""

    memory: MemoryService
    settings: GuildSettingsStore
    judgements: Judgements
    access: AccessRules
    samples: Samples
    retention: RetentionSweep
    failures: Failures = field(default_factory=Failures)
    traces: list[KeepsTraces] = field(default_factory=list)
    """What else keeps traces of people, beside the judgements: an erasure reaches all of these."""

    async def forget_user(self, guild_id: int, user_id: int) -> ErasureReceipt:
        """Erase a user on one server. Raises what `erasure.forget_user` raises."""
        return await erasure.forget_user(self.memory, guild_id, user_id, also=self._all_traces())

    async def forget_channel(self, guild_id: int, channel_id: int) -> ErasureReceipt:
        """Erase a channel and its threads. Raises what `erasure.forget_user` raises."""
        return await erasure.forget_channel(self.memory, guild_id, channel_id, also=self._all_traces())

    async def forget_guild(self, guild_id: int) -> ErasureReceipt:
        """Erase a server. Raises what `erasure.forget_user` raises."""
        return await erasure.forget_guild(self.memory, guild_id, also=self._all_traces())

    def _all_traces(self) -> list[KeepsTraces]:
        return [self.judgements, *self.traces]
