"""Starting a bot against the loopback Discord: in this process, or the real program as a child."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import redirect as redirect_module
from .awake import PATIENCE_S
from .redirect import READY_TIMEOUT, redirect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    import discord

    from .server import LoopbackDiscord

ROOT = Path(__file__).resolve().parents[2]

_SITECUSTOMIZE = """\
import importlib.util

spec = importlib.util.spec_from_file_location("loopback_redirect", {path!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.redirect_on_import({address!r})
"""


@contextmanager
def patched_discord(server: LoopbackDiscord) -> Iterator[None]:
    """Let discord.py in this process talk to the loopback inside the ``with`` block."""
    undo = redirect(server.address)
    try:
        yield
    finally:
        undo()


@asynccontextmanager
async def running(server: LoopbackDiscord, bot: discord.Client) -> AsyncIterator[None]:
    """Run a bot in this process until the end of the block; inside it is ready.

    Raises:
        Exception: whatever made the bot stop before it was ready.
    """
    bot._connection.guild_ready_timeout = READY_TIMEOUT
    with patched_discord(server):
        task = asyncio.create_task(bot.start(server.token))
        try:
            await server.until(lambda: task.done() or bot.is_ready(), what="the bot's start")
            if task.done():
                await task
            yield
        finally:
            await bot.close()
            await asyncio.wait({task})


class BotProcess:
    """The unmodified ``bot.py`` as a child process that talks to the loopback.

    ``async with BotProcess(discord, tmp_path) as bot:`` starts it and waits until it is connected. The child's
    `sitecustomize` redirects discord.py before the bot's own code runs, so the bot knows nothing of it.
    """

    def __init__(
        self,
        server: LoopbackDiscord,
        folder: Path,
        *,
        arguments: Sequence[str] = ("--profile", "embedded"),
        program: Path = ROOT / "bot.py",
        environment: Mapping[str, str] | None = None,
        shards: int = 1,
    ) -> None:
        self.server = server
        self.data = folder / "data"
        """The child's data folder; it survives restarts."""
        self.lines: list[str] = []
        """What the child printed, standard output and error together, over all its starts."""
        self.returncode: int | None = None
        self._folder = folder
        self._command = [sys.executable, str(program), "--data", str(self.data), *arguments]
        self._environment = dict(environment or {})
        self._shards = shards
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._running().pid

    @property
    def output(self) -> str:
        """All that the child printed."""
        return "\n".join(self.lines)

    async def start(self, *, within: float = PATIENCE_S, wait: bool = True) -> None:
        """Start the child and (unless `wait` is False) wait until all its shards are connected.

        Raises:
            RuntimeError: the child ended before; the message has its last lines.
            TimeoutError: it did not connect in time.
        """
        site = self._folder / "site"
        site.mkdir(parents=True, exist_ok=True)
        source = _SITECUSTOMIZE.format(path=redirect_module.__file__, address=self.server.address)
        (site / "sitecustomize.py").write_text(source)
        paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONUNBUFFERED": "1",
            "DISCORD_TOKEN": self.server.token,
            "HF_HUB_OFFLINE": "1",
        }
        self.returncode = None
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=ROOT,
            env=environment | self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._reader = asyncio.create_task(self._read(self._process))
        if wait:
            await self.connected(within=within)

    async def connected(self, *, within: float = PATIENCE_S) -> None:
        """Wait until all shards have a session and have read what was sent; fail at once if the child ends."""
        live = self.server.gateway
        await self.server.until(
            lambda: len(live.live) >= self._shards or self._ended(), within=within, what="the bot's connection"
        )
        if self._ended():
            raise RuntimeError("the bot ended before it was connected:\n" + "\n".join(self.lines[-30:]))
        await live.barrier()

    async def line(self, pattern: str, *, within: float = PATIENCE_S) -> str:
        """Wait until the child prints a line that matches; returns the first such line.

        Raises:
            TimeoutError: it did not in time.
        """
        expression = re.compile(pattern)
        await self.server.until(lambda: self._first(expression), within=within, what=f"a line like {pattern!r}")
        return self._first(expression) or ""

    async def terminate(self, *, within: float = PATIENCE_S) -> int:
        """Send SIGTERM and return the exit code."""
        return await self._end(signal.SIGTERM, within)

    async def kill(self) -> int:
        """Kill the child at once, as ``kill -9``, and return the exit code."""
        return await self._end(signal.SIGKILL, PATIENCE_S)

    async def wait(self, *, within: float = PATIENCE_S) -> int:
        """Wait until the child ends by itself and return the exit code."""
        return await self._end(None, within)

    async def restart(self) -> None:
        """Kill the child if it still runs, and start it again with the same data."""
        if not self._ended():
            await self.kill()
        await self.start()

    async def __aenter__(self) -> BotProcess:
        try:
            await self.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and not self._ended():
            await self.kill()

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the bot was not started")
        return self._process

    def _ended(self) -> bool:
        return self._process is None or self._process.returncode is not None

    def _first(self, expression: re.Pattern[str]) -> str | None:
        return next((line for line in self.lines if expression.search(line)), None)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is not None:
            async for line in process.stdout:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))

    async def _end(self, signal_number: signal.Signals | None, within: float) -> int:
        process = self._running()
        if signal_number is not None and process.returncode is None:
            process.send_signal(signal_number)
        async with asyncio.timeout(within):
            self.returncode = await process.wait()
        if self._reader is not None:
            await self._reader
        await self.server.until(lambda: not self.server.gateway.live, what="the end of the bot's connections")
        return self.returncode
