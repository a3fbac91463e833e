"""`HistorySync`: keeps the memory in step with what was said before, and while the bot was away.

For each guild one task does, in this order: read the gap, go on with the back-fill, sweep. It starts anew whenever
the guild comes into view: at the start, after a lost session, after an outage. A resumed session replays what was
missed, so nothing needs to be done then.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from discord.ext import commands

from cogs.memory.exceptions import MemoryCogError, StoreError
from cogs.memory.surface.failures import Failures

from .backfill import Backfill
from .backfill_command import EDIT_S, BackfillControls, add_backfill_command
from .catch_up import CatchUp
from .discord_requests import FIRST_BACKOFF_S
from .intake import HistoryIntake
from .message_search import MessageSearch
from .places import KnownPlaces, places_of
from .readable_places import ReadablePlaces
from .sweep import Sweep
from .sync_marks import SyncMarks
from .tools import POLITE_S, UNWELL_S, HistoryTools
from .verification import Verification
from .verified_ids import VerifiedIds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    import discord
    from discord import app_commands

    from cogs.memory.erasure import Erasure
    from cogs.memory.surface.discord_access import AccessRules
    from cogs.memory.surface.guild_settings import GuildSettingsStore

log = logging.getLogger(__name__)

FLUSH_S: Final = 15.0
"""Seconds between two notes of how far each guild was heard."""
RETRY_S: Final = 60.0
"""Pause after a failure of the store."""
LOOK_S: Final = 1.0
"""Seconds between two looks at what the bot may read: moving a role changes all of them."""
CLOSE_S: Final = 2.0
"""How long the end may wait for the last messages to be stored."""


class HistorySync:
    """Back-fill, catch-up, verification, sweep and Discord's search for all guilds of a bot.

    Args:
        bot: whose guilds.
        erasure: of a memory that is started by the time `start` is called.
        settings: what may be remembered.
        access: learns of archived threads.
        failures: tells what goes wrong with a button.
        drained: waits until the live events so far were handed to the memory.
        interval_s: seconds between two requests for one guild's history.
        first_backoff_s: pause before the first repetition of a failed request.
        unwell_s: how long a channel is left alone after Discord kept failing.
        edit_s: seconds between two edits of a progress message.
    """

    def __init__(
        self,
        bot: commands.Bot | commands.AutoShardedBot,
        erasure: Erasure,
        settings: GuildSettingsStore,
        access: AccessRules,
        *,
        failures: Failures | None = None,
        drained: Callable[[], Awaitable[None]] | None = None,
        interval_s: float = POLITE_S,
        first_backoff_s: float = FIRST_BACKOFF_S,
        unwell_s: float = UNWELL_S,
        edit_s: float = EDIT_S,
    ) -> None:
        self._bot = bot
        self._memory = memory = erasure.memory
        self._settings = settings
        self._drained = drained
        self._verified = VerifiedIds()
        self.tools = HistoryTools(
            memory=memory,
            intake=HistoryIntake(memory, settings, self._verified),
            places=KnownPlaces(memory, settings, access),
            verified=self._verified,
            interval_s=interval_s,
            first_backoff_s=first_backoff_s,
            unwell_s=unwell_s,
        )
        self.marks = SyncMarks(memory.store, self._settle)
        self.backfill = Backfill(self.tools)
        self.controls = BackfillControls(self.backfill, failures or Failures(), edit_s=edit_s)
        self.catch_up = CatchUp(self.marks, self.tools, erasure)
        self.verification = Verification(bot, self.tools)
        self.search = MessageSearch(self.tools, self.backfill)
        self.sweep = Sweep(self.tools)
        self._readable = ReadablePlaces()
        self._looking: dict[int, bool] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._synced: dict[int, asyncio.Event] = {}
        self._flusher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Follow the gateway until `close`; guilds that are in view already are taken up at once."""
        for event, listener in self._listeners().items():
            self._bot.add_listener(listener, f"on_{event}")
        self._bot.add_view(self.controls)
        self._flusher = asyncio.create_task(self._flush_marks(), name="sync marks")
        if self._bot.is_ready():
            for guild in self._bot.guilds:
                self._take_up(guild)

    async def close(self) -> None:
        """Stop, note how far each guild was heard, and leave the rest to the next start; may be called twice."""
        for event, listener in self._listeners().items():
            self._bot.remove_listener(listener, f"on_{event}")
        tasks = [*self._tasks.values(), *([self._flusher] if self._flusher else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        await self.controls.close()
        await self.backfill.close()
        await self.verification.close()
        if self._flusher is not None:
            self._flusher = None
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._flush()
            except TimeoutError:
                log.warning("How far the guilds were heard was not noted; more is read again at the next start")

    def add_commands(self, group: app_commands.Group) -> None:
        """Add ``backfill`` to the `/memory` group."""
        add_backfill_command(group, self.controls, self._settings)

    async def forget(self, guild_id: int, *, user_id: int | None = None, channel_id: int | None = None) -> int:
        """Read nothing in again that is about to be erased. Raises StoreError."""
        if user_id is None:  # of a user the store itself refuses what is older than the erasure
            await self.tools.intake.keep_out(guild_id, channel_id)
            await self.backfill.forget(guild_id, channel_id)
        return 0

    async def begin_anew(self, guild_id: int) -> None:
        """Treat a guild that was left and erased as a new one, should the bot come back. Raises StoreError."""
        await self.backfill.begin_anew(guild_id)
        await self.tools.intake.let_in(guild_id)

    async def caught_up(self, guild_id: int) -> None:
        """Wait until the guild's last gap was read."""
        await self._synced.setdefault(guild_id, asyncio.Event()).wait()

    def lost_events(self, guild: discord.Guild) -> None:
        """Treat the guild as after an absence: what was written since its last mark is read again."""
        self._doubt(guild.id)
        self._take_up(guild)

    # --- what the gateway tells

    def _listeners(self) -> dict[str, Callable[..., Coroutine[Any, Any, None]]]:
        sharded = isinstance(self._bot, commands.AutoShardedBot)
        return {
            ("shard_connect" if sharded else "connect"): self._on_new_session,
            "guild_available": self._on_guild_available,
            "guild_join": self._on_guild_available,
            "guild_unavailable": self._on_guild_gone,
            "guild_remove": self._on_guild_gone,
            "message": self._on_message,
            "guild_channel_update": self._on_rights,
            "guild_role_update": self._on_rights,
            "guild_role_delete": self._on_rights,
            "member_update": self._on_member,
            "thread_join": self._on_rights,
        }

    async def _on_new_session(self, shard_id: int | None = None) -> None:
        """Doubt everything at once: the guilds of the new session come into view only seconds later."""
        shards = self._bot.shard_count or 1
        for guild_id in self._verified.guilds():
            if shard_id is None or (guild_id >> 22) % shards == shard_id:
                self._doubt(guild_id)

    async def _on_guild_available(self, guild: discord.Guild) -> None:
        self._doubt(guild.id)
        self._take_up(guild)

    async def _on_guild_gone(self, guild: discord.Guild) -> None:
        self._doubt(guild.id)
        self._readable.forget(guild.id)
        task = self._tasks.pop(guild.id, None)
        if task is not None:
            task.cancel()
        await self.backfill.suspend(guild.id)

    async def _on_message(self, message: discord.Message) -> None:
        if message.guild is not None:
            self._verified.hear(message.guild.id, message.channel.id, message.id)
            self.marks.hear(message.guild.id, message.id)

    async def _on_member(self, before: discord.Member, after: discord.Member) -> None:
        if after.id == after.guild.me.id and before.roles != after.roles:
            await self._on_rights(after)

    async def _on_rights(
        self, *states: discord.abc.GuildChannel | discord.Role | discord.Thread | discord.Member
    ) -> None:
        """Look at once what has opened or closed, and once more after a while if rights went on changing."""
        guild_id = states[-1].guild.id
        if guild_id in self._looking:
            self._looking[guild_id] = True
            return
        self._looking[guild_id] = True
        try:
            while self._looking[guild_id]:
                self._looking[guild_id] = False
                await self._look(guild_id)
                await asyncio.sleep(LOOK_S)
        finally:
            del self._looking[guild_id]

    async def _look(self, guild_id: int) -> None:
        """Read what has opened to the bot from its newest message: none was heard while it was closed."""
        guild = self._bot.get_guild(guild_id)
        if guild is None or guild.unavailable:
            return
        opened = self._readable.look(guild)
        for place_id in opened:
            self._verified.doubt(guild_id, place_id)
        if opened:
            await self._persevere(guild, lambda: self.backfill.reopen(guild, opened))

    # --- one guild

    def _doubt(self, guild_id: int) -> None:
        self._verified.begin_epoch(guild_id)
        self.marks.distrust(guild_id)
        self._synced.setdefault(guild_id, asyncio.Event()).clear()

    def _take_up(self, guild: discord.Guild) -> None:
        earlier = self._tasks.pop(guild.id, None)
        if not self._bot.intents.message_content:
            log.error("Without the message content intent no history can be read.")
            return
        self._tasks[guild.id] = asyncio.create_task(self._keep_in_step(guild, earlier), name=f"sync {guild.id}")

    async def _keep_in_step(self, guild: discord.Guild, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            earlier.cancel()
            await asyncio.wait({earlier})
        await self.backfill.suspend(guild.id)
        self._readable.look(guild)
        # A gap that could not be noted must not be forgotten: nothing else is done before.
        newest = max((place.last_message_id or 0 for place in places_of(guild)), default=0)
        await self._persevere(guild, lambda: self.marks.open_gap(guild.id, newest))
        await self._persevere(guild, lambda: self._catch_up(guild))
        await self._persevere(guild, lambda: self._backfill(guild))
        await self.backfill.idle(guild.id)
        await self._persevere(guild, lambda: self.sweep.run(guild))
        await self.backfill.finished(guild.id)
        while (pause := self.backfill.retry_s(guild.id)) is not None:
            await asyncio.sleep(pause)
            await self._persevere(guild, lambda: self.backfill.retry(guild))
            await self.backfill.finished(guild.id)

    async def _persevere(self, guild: discord.Guild, step: Callable[[], Awaitable[object]]) -> None:
        """Do one step, again and again until the store lets it happen; anything unexpected ends the task."""
        while True:
            try:
                await step()
            except StoreError as error:
                log.error("Guild %d is out of step, trying again in %.0f s: %s", guild.id, RETRY_S, error)
                await asyncio.sleep(RETRY_S)
            except MemoryCogError as error:
                log.error("Guild %d stays out of step until the next start: %s", guild.id, error)
                return
            except Exception:
                log.exception("Guild %d stays out of step until the next start", guild.id)
                raise
            else:
                return

    async def _catch_up(self, guild: discord.Guild) -> None:
        await self.tools.places.recall_threads(guild)
        await self.catch_up.run(guild)
        self._synced.setdefault(guild.id, asyncio.Event()).set()

    async def _backfill(self, guild: discord.Guild) -> None:
        """Go on with an unfinished back-fill, or begin the first if the guild lets it begin by itself."""
        if await self.backfill.resume_stored(guild):
            return
        if await self.backfill.progress(guild.id) is None and (await self._settings.get(guild.id)).backfill_on_join:
            await self.backfill.start(guild)

    # --- marks

    async def _settle(self) -> None:
        if self._drained is not None:
            await self._drained()
        await self._memory.queue.stored()

    async def _flush_marks(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            await self._flush()

    async def _flush(self) -> None:
        try:
            await self.marks.flush()
        except StoreError as error:
            log.error("How far the guilds were heard could not be noted: %s", error)
