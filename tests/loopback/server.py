"""`LoopbackDiscord`: the server that tests start, with everything they do to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from .awake import PATIENCE_S, awake
from .backend import Backend
from .gateway import Gateway
from .rest import build_application
from .users import UserActions
from .wire import call_pattern
from .world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from .commands import Commands
    from .faults import Faults
    from .wire import Call

TOKEN = "loopback.bot.token"
"""The bot's token. It appears nowhere else, so a test can look for it in logs."""


class LoopbackDiscord(UserActions):
    """A Discord on 127.0.0.1 for one bot.

    ``async with LoopbackDiscord() as discord:`` listens on a free port; `world` can be filled before and after.
    """

    def __init__(self, world: World | None = None, *, token: str = TOKEN) -> None:
        self.world = world or World()
        self.token = token
        self.gateway = Gateway(self.world, token)
        self.backend = Backend(self.world, self.gateway, token)
        self.address = ""
        """Where it listens, e.g. ``http://127.0.0.1:43567``."""
        self._runner: web.AppRunner | None = None

    @property
    def faults(self) -> Faults:
        """Orders for failing requests."""
        return self.backend.faults

    @property
    def commands(self) -> Commands:
        """The registered application commands."""
        return self.backend.commands

    @property
    def requests(self) -> list[Call]:
        """All REST requests the bot has made, oldest first."""
        return self.backend.requests

    def calls(self, method: str, path: str) -> list[Call]:
        """The requests to a path; ``*`` stands for one segment, ``**`` for any number."""
        pattern = call_pattern(path)
        return [each for each in self.requests if each.method == method and pattern.fullmatch(each.path)]

    @property
    def invalid_requests(self) -> int:
        """Requests answered 401, 403 or 429: 10,000 in ten minutes would ban the bot's address."""
        return sum(call.status in (401, 403, 429) for call in self.requests)

    async def until(self, condition: Callable[[], object], *, within: float = PATIENCE_S, what: str = "") -> None:
        """Wait until a condition on the world, the requests or the bot holds.

        Raises:
            TimeoutError: it does not come true in time.
        """
        deadline = awake() + within
        while not condition():  # conditions look into the bot too, which signals nothing
            if awake() > deadline:
                raise TimeoutError(f"{what or 'the condition'} did not come true within {within:g} s")
            await asyncio.sleep(0.005)

    async def connected(self, *, shards: int = 1, within: float = PATIENCE_S) -> None:
        """Wait until the bot has a session for each of its shards and has read all that was sent."""
        await self.until(lambda: len(self.gateway.live) >= shards, within=within, what=f"{shards} gateway sessions")
        await self.gateway.barrier()

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        self._runner = web.AppRunner(build_application(self.backend), access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = self.world.cdn = f"http://{host}:{port}"
        self.gateway.url = f"ws://{host}:{port}/gateway/"

    async def stop(self) -> None:
        """Close all connections and stop listening."""
        await self.gateway.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> LoopbackDiscord:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
