"""`SharedLock`: held by many at once, or by one alone."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class SharedLock:
    """Many hold it `shared` at once; ``async with`` holds it alone, and goes before all who come later."""

    def __init__(self) -> None:
        self._door = asyncio.Lock()
        self._holders = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold it together with others."""
        async with self._door:
            self._holders += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                self._empty.set()

    async def __aenter__(self) -> None:
        await self._door.acquire()
        try:
            await self._empty.wait()
        except BaseException:
            self._door.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._door.release()
