"""A network between the bot and its database server that can be cut, slowed down, or made to swallow everything."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

DEFAULT_PORT = 5432


class UnreliableNetwork:
    """Forwards TCP connections to a PostgreSQL server; its address is `dsn`.

    Args:
        dsn: the server's own address, with a host or the folder of its socket.
    """

    def __init__(self, dsn: str) -> None:
        self._parts = urlsplit(dsn)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._passes = asyncio.Event()
        self._passes.set()
        self._lines: set[asyncio.Task[None]] = set()
        self.delay_s = 0.0
        """How much later everything arrives, each way."""
        self.swallowed = asyncio.Event()
        """Set as soon as something has been held back."""

    @property
    def dsn(self) -> str:
        """The address of the server behind this network."""
        user = f"{self._parts.netloc.rpartition('@')[0]}@" if "@" in self._parts.netloc else ""
        return f"postgresql://{user}127.0.0.1:{self._port}{self._parts.path}"

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def cut(self) -> None:
        """Drop every connection and take no new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for line in self._lines:
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def mend(self) -> None:
        """Take connections again, at the same address."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def swallow(self) -> None:
        """Let nothing through any more, and say nothing of it: connections stay, new ones are taken."""
        self.swallowed.clear()
        self._passes.clear()

    def let_through(self) -> None:
        """Deliver what was held back, and all that comes."""
        self._passes.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        if line is None:
            raise RuntimeError("a connection is served by a task")
        self._lines.add(line)
        try:
            with suppress(asyncio.CancelledError):  # cut: asyncio would log it as a failure of the server
                await self._forward(reader, writer)
        finally:
            self._lines.discard(line)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            with suppress(OSError):
                far_reader, far_writer = await self._reach()
                ends.append(far_writer)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pump(reader, far_writer))
                    both.create_task(self._pump(far_reader, writer))
        finally:
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await asyncio.sleep(self.delay_s)
                if not self._passes.is_set():
                    self.swallowed.set()
                    await self._passes.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        folder = parse_qs(self._parts.query).get("host", [""])[0]
        port = self._parts.port or DEFAULT_PORT
        if folder.startswith("/"):
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        return await asyncio.open_connection(self._parts.hostname or folder, port)


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds, however slow the machine is."""
    while not await holds():  # noqa: ASYNC110  # what it asks has no event
        await asyncio.sleep(0.05)
