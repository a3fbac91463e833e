"""Signs of life without an open port: a file for ``bot.py health``, and messages to systemd where it listens."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from discord.ext import commands

NAME: Final = "heartbeat.json"
"""The file in the data folder."""
INTERVAL_S: Final = 10.0
STALE_S: Final = 60.0
"""Age of the file from which the bot counts as stuck or gone."""
SPARE_S: Final = 120.0
"""How long the gateway may be away: discord.py connects again by itself."""

log = logging.getLogger(__name__)


class Heartbeat:
    """Writes every few seconds, from the event loop, that the bot is there and whether Discord is.

    Args:
        bot: whose connection.
        folder: the data folder.
        interval_s: seconds between two beats.
    """

    def __init__(self, bot: commands.AutoShardedBot, folder: Path, *, interval_s: float = INTERVAL_S) -> None:
        self._bot = bot
        self._path = folder / NAME
        self._interval_s = interval_s
        self._connected_at = time.monotonic()
        self._failed = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the data folder is there by then."""
        notify_systemd("READY=1")
        self._task = asyncio.create_task(self._run(), name="heartbeat")

    async def close(self) -> None:
        """Stop, and leave no file that says otherwise."""
        if self._task is None:
            return
        notify_systemd("STOPPING=1")
        self._task.cancel()
        await asyncio.wait({self._task})
        self._task = None
        await asyncio.to_thread(self._path.unlink, missing_ok=True)

    async def _run(self) -> None:
        while True:
            now = time.monotonic()
            if self._bot.is_ready() and not any(shard.is_closed() for shard in self._bot.shards.values()):
                self._connected_at = now
            notify_systemd("WATCHDOG=1")
            await asyncio.to_thread(self._write, connected=now - self._connected_at <= SPARE_S)
            await asyncio.sleep(self._interval_s)

    def _write(self, *, connected: bool) -> None:
        fresh = self._path.with_suffix(".new")
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump({"time": time.time(), "connected": connected}, file)
            fresh.replace(self._path)
        except OSError as error:
            if not self._failed:
                log.warning("The heartbeat cannot be written (%s)", error.strerror)
            self._failed = True
        else:
            self._failed = False


def health_problem(folder: Path, now: float | None = None) -> str | None:
    """Return what is wrong with the bot on a data folder, as a sentence; None if it is well.

    Args:
        folder: its data folder.
        now: Unix time; None for the present.
    """
    try:
        beat = json.loads((folder / NAME).read_text())
        age, connected = (time.time() if now is None else now) - float(beat["time"]), bool(beat["connected"])
    except FileNotFoundError:
        return "The bot is not running on this data folder."
    except (OSError, ValueError, TypeError, KeyError) as error:
        return f"The bot's heartbeat cannot be read ({type(error).__name__})."
    if age > STALE_S:
        return f"The bot gave no sign of life for {age:,.0f} s."
    return None if connected else "The bot runs, but Discord cannot be reached."


def notify_systemd(state: str) -> None:
    """Tell systemd something, if it started this process with ``Type=notify``."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notifier:
        try:
            notifier.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
        except OSError as error:
            log.debug("systemd was not told (%s)", error.strerror)
