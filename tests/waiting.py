"""Waiting for what has to come true, on a machine of any speed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S: Final = 60.0
"""Beyond it a test has failed; no test should come near it."""


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds that nothing signals. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 # as the first line says
            await asyncio.sleep(0.002)
