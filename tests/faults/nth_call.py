"""Fails the n-th call of everything below the store and the memory: the database, the index, the files, the model."""

from __future__ import annotations

import asyncio
import errno
import functools
import inspect
import os
import sqlite3
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import aiosqlite.core

from cogs.memory.embedders.minilm import MiniLMEncoder
from cogs.memory.stores.sqlite_connections import Statements
from cogs.memory.stores.vector_index import VectorIndex
from tests.plugin_rerankers import WordReranker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLACES: Final[tuple[tuple[Any, str], ...]] = (
    (aiosqlite.core.Connection, "_execute"),
    (Statements, "execute"),
    (Statements, "executemany"),
    (VectorIndex, "add"),
    (VectorIndex, "remove"),
    (VectorIndex, "search"),
    (VectorIndex, "clear"),
    (MiniLMEncoder, "encode"),
    (MiniLMEncoder, "encode_query"),
    (MiniLMEncoder, "encode_queries"),
    (WordReranker, "token_counts"),
    (WordReranker, "score"),
    (os, "open"),
    (os, "fsync"),
    (Path, "open"),
    (Path, "replace"),
    (Path, "unlink"),
)
DATABASE: Final = frozenset({"_execute", "execute", "executemany"})
FILES: Final = frozenset({"open", "fsync", "replace", "unlink"})


def _engine_error(code: int, text: str) -> Exception:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


KINDS: Final[dict[str, Callable[[], BaseException]]] = {
    "disk full": lambda: _engine_error(sqlite3.SQLITE_FULL, "database or disk is full"),
    "disk failure": lambda: _engine_error(sqlite3.SQLITE_IOERR, "disk I/O error"),
    "no memory": MemoryError,
    "out of memory": lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"
    ),
    "cancelled": asyncio.CancelledError,
}


def _error(kind: str, name: str) -> BaseException:
    """What a place would raise: the database its own errors, a model its own out of memory."""
    if name in FILES and kind.startswith("disk"):
        return OSError(errno.ENOSPC if kind == "disk full" else errno.EIO, kind)
    if name in DATABASE or (kind == "out of memory" and name.startswith(("encode", "score"))):
        return MemoryError() if kind == "out of memory" and name in DATABASE else KINDS[kind]()
    return MemoryError()


class Countdown:
    """Counts calls and lets one of them fail."""

    def __init__(self, n: int, kind: str) -> None:
        self.calls = 0
        self.failed_at: str | None = None
        self._n = n
        self._kind = kind
        self._task = asyncio.current_task()

    def count(self, name: str) -> None:
        """Count a call; raise, or cancel the task of the story, if it is the one."""
        self.calls += 1
        if self.calls != self._n:
            return
        self.failed_at = name
        if self._kind == "cancelled":
            if self._task is not None:  # from whatever thread
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)
        else:
            raise _error(self._kind, name)


@contextmanager
def failing(n: int, kind: str) -> Iterator[Countdown]:
    """Have the n-th call fail, counted from here; use it inside the task that a cancellation is meant for."""
    countdown = Countdown(n, kind)
    with ExitStack() as patches:
        for owner, name in PLACES:
            patches.enter_context(patch.object(owner, name, _counted(getattr(owner, name), name, countdown)))
        yield countdown


def _counted(function: Any, name: str, countdown: Countdown) -> Any:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def counted_async(*arguments: Any, **options: Any) -> Any:
            countdown.count(name)
            return await function(*arguments, **options)

        return counted_async

    @functools.wraps(function)
    def counted(*arguments: Any, **options: Any) -> Any:
        countdown.count(name)
        return function(*arguments, **options)

    return counted
