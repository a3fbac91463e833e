"""`Backfill`: reads what was said before the bot came, by command or when it joins."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from cogs.memory.exceptions import Busy, MemoryCogError

from .backfill_progress import BackfillProgress, RunState
from .backfill_record import RECORD_KEY, BackfillRecord, checkpoint_key, read_record, write_record
from .backfill_run import BackfillRun

if TYPE_CHECKING:
    from collections.abc import Collection

    import discord

    from .tools import HistoryTools

log = logging.getLogger(__name__)


class NothingToDo(MemoryCogError):
    """There is no back-fill to pause, resume or cancel."""


class Backfill:
    """The back-fills of all guilds; one at a time in each.

    Args:
        tools: what history is read with.
    """

    def __init__(self, tools: HistoryTools) -> None:
        self._tools = tools
        self._runs: dict[int, BackfillRun] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._beginning = asyncio.Lock()

    async def start(
        self, guild: discord.Guild, *, owner_id: int | None = None, only: int | None = None, again: bool = False
    ) -> BackfillProgress:
        """Begin to read a guild's history, or one channel's with its threads, and return at once.

        Args:
            guild: whose history.
            owner_id: who asked for it.
            only: the one channel or thread to read.
            again: somebody asks for it. So what was closed to the bot is tried at once, what lies before an erasure is
                read (but for what was stored then), and with ``only`` also what was read to the end.

        Raises:
            Busy: a back-fill of the guild is running.
            StoreError: the store failed.
        """
        async with self._beginning:
            if self.is_running(guild.id):
                raise Busy("The history of this server is being read already; pause or cancel that first.")
            if again:
                await self._tools.intake.let_in(guild.id, only)
            before = await self._record(guild.id)
            complete = before is not None and before.complete
            record = BackfillRecord(state=RunState.RUNNING, owner_id=owner_id, only=only, complete=complete)
            await self._write(guild.id, record)
            return self._begin(guild, record, again=again).progress()

    async def resume_stored(self, guild: discord.Guild) -> bool:
        """Take up, with a new session's objects, a back-fill that was running or paused. Raises StoreError."""
        async with self._beginning:
            await self.suspend(guild.id)
            record = await self._record(guild.id)
            if record is None or record.state.is_over:
                return False
            run = self._begin(guild, record)
            if record.state is RunState.PAUSED:
                run.pause()
            return True

    async def retry(self, guild: discord.Guild) -> None:
        """Look again into channels that were closed to the bot, for the last back-fill. Raises StoreError."""
        async with self._beginning:
            record = await self._record(guild.id)
            if record is not None and record.state is RunState.DONE and not self.is_running(guild.id):
                self._begin(guild, replace(record, state=RunState.RUNNING))

    async def pause(self, guild_id: int) -> None:
        """Pause; it stays so after a restart. Raises NothingToDo or StoreError."""
        run = self._running(guild_id)
        await self._write(guild_id, replace(run.record, state=RunState.PAUSED))
        run.pause()

    async def resume(self, guild_id: int) -> None:
        """Go on after a pause. Raises NothingToDo or StoreError."""
        run = self._running(guild_id)
        await self._write(guild_id, replace(run.record, state=RunState.RUNNING))
        run.resume()

    async def cancel(self, guild_id: int) -> None:
        """End it; what was read stays, and the next one goes on from there. Raises NothingToDo or StoreError."""
        run = self._running(guild_id)
        await self.suspend(guild_id)
        run.state = RunState.CANCELLED
        await self._write(guild_id, replace(run.record, state=RunState.CANCELLED))

    async def suspend(self, guild_id: int) -> None:
        """Stop without a trace in the store: `resume_stored` goes on. For outages, removals and the end."""
        task = self._tasks.pop(guild_id, None)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def close(self) -> None:
        """Suspend all."""
        for guild_id in list(self._tasks):
            await self.suspend(guild_id)

    async def reopen(self, guild: discord.Guild, place_ids: Collection[int]) -> None:
        """Read places again that were closed to the bot, in a guild that was ever back-filled. Raises StoreError."""
        async with self._beginning:
            record = await self._record(guild.id)
            if record is None:
                return
            for place_id in place_ids:
                await self._tools.memory.store.put_setting(guild.id, checkpoint_key(place_id), None)
            if self.is_running(guild.id):
                await self._runs[guild.id].reopen(place_ids)
            elif record.state is RunState.DONE:
                self._begin(guild, replace(record, state=RunState.RUNNING, only=None))

    async def forget(self, guild_id: int, channel_id: int | None) -> None:
        """End what is being read in of a channel or (None) of a guild that is about to be erased. Raises StoreError."""
        if channel_id is None:
            if self.is_running(guild_id):
                await self.cancel(guild_id)
        elif guild_id in self._runs:
            await self._runs[guild_id].end_in(channel_id)

    async def begin_anew(self, guild_id: int) -> None:
        """Forget that there ever was a back-fill. Raises StoreError."""
        await self.suspend(guild_id)
        self._runs.pop(guild_id, None)
        await self._tools.memory.store.put_setting(guild_id, RECORD_KEY, None)

    async def idle(self, guild_id: int) -> None:
        """Wait until no page is being read: for the end or a pause of a running back-fill."""
        task = self._tasks.get(guild_id)
        if task is not None:
            paused = asyncio.create_task(self._runs[guild_id].paused())
            try:
                await asyncio.wait({task, paused}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                paused.cancel()

    async def finished(self, guild_id: int) -> None:
        """Wait for the end of a running back-fill."""
        task = self._tasks.get(guild_id)
        if task is not None:
            await asyncio.wait({task})

    def is_running(self, guild_id: int) -> bool:
        """Whether a back-fill is running, waiting or paused."""
        task = self._tasks.get(guild_id)
        return task is not None and not task.done()

    def retry_s(self, guild_id: int) -> float | None:
        """Seconds until channels that were closed to the bot may be tried again; None if there are none."""
        run = self._runs.get(guild_id)
        return run.retry_s if run is not None and run.state is RunState.DONE else None

    async def is_complete(self, guild_id: int) -> bool:
        """Whether the guild's whole history was ever read to the end. Raises StoreError."""
        record = await self._record(guild_id)
        return record is not None and record.complete

    async def is_unfinished(self, guild_id: int) -> bool:
        """Whether the guild's history is being read, or will be read on, for the first time. Raises StoreError."""
        record = await self._record(guild_id)
        return record is not None and not record.complete and record.state is not RunState.CANCELLED

    async def progress(self, guild_id: int) -> BackfillProgress | None:
        """Return how far the guild's latest back-fill has come; None if there never was one. Raises StoreError."""
        run = self._runs.get(guild_id)
        if run is not None:
            return run.progress()
        record = await self._record(guild_id)
        return BackfillProgress(state=record.state, owner_id=record.owner_id) if record is not None else None

    def _running(self, guild_id: int) -> BackfillRun:
        if not self.is_running(guild_id):
            raise NothingToDo("No history is being read at the moment.")
        return self._runs[guild_id]

    def _begin(self, guild: discord.Guild, record: BackfillRecord, *, again: bool = False) -> BackfillRun:
        run = BackfillRun(guild, record, self._tools, again=again)
        self._runs[guild.id] = run
        task = asyncio.create_task(self._run(guild.id, run), name=f"backfill {guild.id}")
        self._tasks[guild.id] = task
        return run

    async def _run(self, guild_id: int, run: BackfillRun) -> None:
        log.info("The back-fill of guild %d begins", guild_id)
        try:
            await run.run()
            complete = run.record.complete or run.record.only is None
            await self._write(guild_id, replace(run.record, state=RunState.DONE, complete=complete))
        except MemoryCogError as error:
            run.state, run.problem = RunState.FAILED, str(error)
            log.error("The back-fill of guild %d stopped, to go on after a restart: %s", guild_id, error)
        except Exception:
            run.state, run.problem = RunState.FAILED, "It met an error; the bot's log has the details."
            log.exception("The back-fill of guild %d stopped, to go on after a restart", guild_id)
        else:
            log.info("The back-fill of guild %d is done: %d messages", guild_id, run.progress().messages)

    async def _record(self, guild_id: int) -> BackfillRecord | None:
        return await read_record(self._tools.memory.store, guild_id)

    async def _write(self, guild_id: int, record: BackfillRecord) -> None:
        await write_record(self._tools.memory.store, guild_id, record)
