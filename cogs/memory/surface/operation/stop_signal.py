"""SIGTERM and SIGINT: a wish to end, and an end to all wishes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from typing import Final, NoReturn

LAST_RESORT_S: Final = 4.6
"""Seconds after which a process that was told to stop ends, whatever still holds it: a model that is being loaded, a
disk that does not answer. What was acknowledged is on the disk by then; init systems lose patience soon after."""

log = logging.getLogger(__name__)


class StopSignal:
    """Is set by the first SIGTERM or SIGINT to this process. Made inside a running event loop.

    Args:
        last_resort_s: seconds from the signal to the unconditional end with exit code 0.
    """

    def __init__(self, last_resort_s: float = LAST_RESORT_S) -> None:
        self._last_resort_s = last_resort_s
        self._event = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._request)

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait for a signal."""
        await self._event.wait()

    def _request(self) -> None:
        if self.requested:
            return
        self._event.set()
        # A daemon: it outlives the event loop and waits with the interpreter for threads that do not end.
        timer = threading.Timer(self._last_resort_s, _end)
        timer.daemon = True
        timer.start()


def end_process() -> NoReturn:
    """End with exit code 0, at once: a thread that loads a model would abort an interpreter that takes its leave."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _end() -> None:
    log.error("Something did not let go in time; the process ends without it")
    end_process()
