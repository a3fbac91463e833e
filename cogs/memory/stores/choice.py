"""Which engine keeps the memory: the embedded one, PostgreSQL, or several servers of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from cogs.memory.stores import MemoryStore


def choose_store(
    folder: Path,
    databases: Sequence[str] = (),
    *,
    executor: Executor | None = None,
    key: str | None = None,
    schema: str | None = None,
) -> MemoryStore:
    """Make the store that the settings ask for, not open yet.

    Args:
        folder: of the embedded engine.
        databases: addresses of PostgreSQL servers; none for the embedded engine.
        executor: the worker thread that the embedded engine's vector index works in.
        key: the embedded engine's passphrase, if it is to be encrypted.
        schema: the schema of the servers; None for the usual one.
    """
    if not databases:
        from cogs.memory.stores.sqlite import SqliteStore

        return SqliteStore(folder, executor=executor, key=key)
    from cogs.memory.stores.postgres import PostgresStore
    from cogs.memory.stores.postgres_migrations import SCHEMA
    from cogs.memory.stores.routed import RoutedStore

    stores = [PostgresStore(address, schema=schema or SCHEMA) for address in databases]
    return stores[0] if len(stores) == 1 else RoutedStore(stores)
