"""What all tests share: the embedded model, loaded once, and memories that use it."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from cogs.memory import memory_service
from cogs.memory.embedders.minilm import MiniLMEncoder
from cogs.memory.memory_service import MemoryService
from cogs.memory.records import StoredMessage
from cogs.memory.stores.postgres import PostgresStore
from cogs.memory.stores.sqlite import SqliteStore
from cogs.memory.surface import discord_access
from cogs.memory.surface.history import message_search
from cogs.memory.surface.history.message_search import MessageSearch
from cogs.memory.surface.history.verification import Verification
from cogs.memory.surface.recall import recall_flow
from profiles import load_profile
from tests.postgres_server import NoPostgres, postgres_server
from tests.virtual_time import VirtualTime
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder
    from profiles import MemoryProfile

    OpenMemory = Callable[[], AbstractAsyncContextManager[MemoryService]]

GUILD = 10
CHANNEL = 20
START = datetime(2025, 3, 1, 18, 0, tzinfo=UTC)

settings.register_profile(
    "facts, whatever the machine is doing",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("facts, whatever the machine is doing")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    """The clock of a test `in_virtual_time`; whatever sleeps moves it."""
    clock = VirtualTime()
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


@pytest.fixture(autouse=True, scope="session")
def _a_machine_may_stand_still() -> Iterator[None]:
    """Go on without nothing: a test whose subject is one of these deadlines sets its own."""
    with pytest.MonkeyPatch.context() as patch:
        for made in (SqliteStore, PostgresStore):
            patch.setitem(defaults_of(made), "query_deadline_s", PATIENCE_S)
        for asker in (Verification, MessageSearch):
            patch.setitem(defaults_of(asker), "timeout_s", PATIENCE_S)
        patch.setattr(memory_service, "OVERTIME", PATIENCE_S)
        patch.setattr(message_search, "EMBED_S", PATIENCE_S)
        for module in (discord_access, recall_flow):
            patch.setattr(module, "LOOKUP_SECONDS", PATIENCE_S)
        yield


def defaults_of(made: type) -> dict[str, Any]:
    """The defaults of a class's keyword-only parameters."""
    defaults: dict[str, Any] = made.__init__.__kwdefaults__  # type: ignore[misc]
    return defaults


@pytest.fixture(scope="session")
def encoder() -> MiniLMEncoder:
    """The embedded model in float32, for the whole run; nobody closes it."""
    return MiniLMEncoder.load(dtype="float32", threads=1)


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """The address of a real PostgreSQL with pgvector, one for the whole run."""
    with ExitStack() as running:
        try:
            address = running.enter_context(postgres_server())
        except NoPostgres as reason:
            if os.environ.get("MEMORY_TESTS_NEED_POSTGRES"):
                raise
            pytest.skip(str(reason))
        yield address


@pytest.fixture(scope="session")
def load_shared(encoder: MiniLMEncoder) -> LoadEncoder:
    """What gives a service the shared model; its `close` frees nothing."""

    class Shared(MiniLMEncoder):
        def close(self) -> None:
            pass

    shared = object.__new__(Shared)
    shared.__dict__ = encoder.__dict__

    def load(_: MemoryProfile) -> MiniLMEncoder:
        return shared

    return load


@pytest.fixture
def open_memory(tmp_path: Path, load_shared: LoadEncoder) -> OpenMemory:
    """Opens a memory in this test's folder; a second time reopens it."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[MemoryService]:
        memory = MemoryService.on_folder(load_profile("embedded"), tmp_path / "memory", load=load_shared)
        async with memory:
            yield memory

    return opened


@pytest.fixture
async def memory(open_memory: OpenMemory) -> AsyncIterator[MemoryService]:
    """An empty memory."""
    async with open_memory() as opened:
        yield opened


def said(
    message_id: int,
    content: str,
    *,
    author: str = "Mia",
    channel_id: int = CHANNEL,
    guild_id: int = GUILD,
    reply_to: int | None = None,
    minutes: float | None = None,
) -> StoredMessage:
    """A message of somebody, a minute after the one with the id before."""
    return StoredMessage(
        id=message_id,
        guild_id=guild_id,
        channel_id=channel_id,
        author_id=1000 + sum(map(ord, author)),
        author_name=author,
        content=content,
        created_at=START + timedelta(minutes=message_id if minutes is None else minutes),
        reply_to=reply_to,
    )
