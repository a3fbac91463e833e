"""Any sequence of writes, vectors, searches and restarts leaves what a dict would hold."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from cogs.memory.stores.postgres import PostgresStore
from cogs.memory.stores.sqlite import SqliteStore
from cogs.memory.stores.sqlite_copies import require_whole
from cogs.memory.stores.sqlite_engine import SqliteEngine
from tests.postgres_server import TEST_SCHEMA
from tests.stores.samples import (
    GUILD,
    OTHER_SPACE,
    SPACE,
    START,
    check_counts,
    embedding,
    emptied,
    message,
    scope,
    vector,
)
from tests.stores.sqlite_folder import check_integrity

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from cogs.memory.records import Embedding, Space, StoredMessage
    from cogs.memory.stores import MemoryStore

KEY = "correct horse battery staple"
IDS = st.integers(1, 12)
CHANNELS = (10, 11)
AUTHORS = (100, 200)
WORDS = ("apple", "pear", "fig", "猫の手")


@dataclass
class Live:
    """What the store should hold of one message."""

    message: StoredMessage
    embedded_in: Space | None = None


class StoreMachine(RuleBasedStateMachine):
    """The store beside its model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="discord-memory-"))
        self.runner = asyncio.Runner()
        self.store: MemoryStore = self.make_store()
        self.live: dict[int, Live] = {}
        self.dead: set[int] = set()
        self.forgotten: set[int] = set()
        self.space = SPACE
        self.clock = 0
        self.is_open = False

    def make_store(self) -> MemoryStore:
        return SqliteStore(self.folder)

    async def check_entries(self) -> None:
        """As many entries of the word index as messages."""
        assert isinstance(self.store, SqliteStore)
        [[count]] = await self.store._connections.read("SELECT count(*) FROM message_search_docsize")
        assert count == len(self.live)

    def check_file(self) -> None:
        """The file is sound."""
        check_integrity(self.folder)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @initialize()
    def start(self) -> None:
        self.run(self.store.open())
        self.run(self.store.use_space(self.space))
        self.is_open = True

    @rule(
        ids=st.lists(IDS, min_size=1, max_size=5),
        word=st.sampled_from(WORDS),
        author=st.sampled_from(AUTHORS),
        edit=st.booleans(),
    )
    def upsert(self, ids: list[int], word: str, author: int, edit: bool) -> None:
        self.clock += 1
        moment = START.replace(microsecond=self.clock) if edit else None
        batch = [
            message(i, word, channel_id=CHANNELS[i % 2], author_id=author, author_name=f"n{author}", edited_at=moment)
            for i in ids
        ]
        self.run(self.store.upsert(batch))
        for new in batch:
            self._apply(new)

    def _apply(self, new: StoredMessage) -> None:
        known = self.live.get(new.id)
        if new.id in self.dead or (known is None and new.author_id in self.forgotten):
            return
        if known is None:
            self.live[new.id] = Live(new)
        elif new.edited_at is not None or known.message.edited_at is None:
            same_text = known.message.content_hash == new.content_hash
            self.live[new.id] = Live(new, known.embedded_in if same_text else None)

    @rule(ids=st.lists(IDS, max_size=4))
    def delete(self, ids: list[int]) -> None:
        self.run(self.store.delete(GUILD, ids))
        self.dead |= set(ids)
        for i in ids:
            self.live.pop(i, None)

    @rule(author=st.sampled_from(AUTHORS))
    def erase(self, author: int) -> None:
        his = {i for i, live in self.live.items() if live.message.author_id == author}
        assert self.run(self.store.erase(GUILD, author_id=author)) == len(his)
        self.forgotten.add(author)
        self.dead |= his
        for i in his:
            del self.live[i]

    @rule(channel=st.sampled_from(CHANNELS))
    def purge(self, channel: int) -> None:
        there = {i for i, live in self.live.items() if live.message.channel_id == channel}
        assert self.run(self.store.erase(GUILD, channel_id=channel)) == len(there)
        self.dead |= there
        for i in there:
            del self.live[i]

    @rule(limit=st.integers(1, 5))
    def embed(self, limit: int) -> None:
        claimed = self.run(self.store.claim_unembedded(limit))
        assert [m.id for m in claimed] == self._waiting()[:limit]
        assert self._put([embedding(m) for m in claimed]) == len(claimed)
        for m in claimed:
            self.live[m.id].embedded_in = self.space

    @rule(i=IDS)
    def embed_what_is_no_longer_true(self, i: int) -> None:
        assert self._put([embedding(message(i, "a text it never had"))]) == 0

    @rule(space=st.sampled_from([SPACE, OTHER_SPACE]))
    def use_space(self, space: Space) -> None:
        self.space = space
        self.run(self.store.use_space(space))

    @rule(crash=st.booleans())
    def reopen(self, crash: bool) -> None:
        if crash:  # what the disk holds at this moment is what is opened
            copy = Path(tempfile.mkdtemp(prefix="discord-memory-"))
            shutil.copytree(self.folder, copy, dirs_exist_ok=True)
        self.run(self.store.close())
        if crash:
            shutil.rmtree(self.folder)
            self.folder = copy
        self.store = self.make_store()
        self.run(self.store.open())
        self.run(self.store.use_space(self.space))

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        if self.is_open:
            self.run(self._compare())

    async def _compare(self) -> None:
        store = self.store
        stored = [m async for m in store.iterate(GUILD)]
        assert stored == [self.live[i].message for i in sorted(self.live)]
        embedded = {i for i, live in self.live.items() if live.embedded_in == self.space}
        async with asyncio.timeout(60):
            while (await store.stats()).index_ready < 1:  # noqa: ASYNC110  # the protocol has nothing to wait for
                await asyncio.sleep(0.001)
        assert {hit.message_id for hit in await store.dense(scope(*CHANNELS), vector(0), 99)} == embedded
        for word in WORDS:
            hits = {hit.message_id for hit in await store.lexical(scope(*CHANNELS), [word], 99)}
            expected = {i for i, live in self.live.items() if live.message.content == word}
            if word.isascii():
                expected |= {i for i in self.live if self._before(i) == word}
            assert hits == expected
        await self.check_entries()

    def teardown(self) -> None:
        self.run(self.store.close())
        if (self.folder / "memory.db").exists():
            self.check_file()
        self.runner.close()
        shutil.rmtree(self.folder)

    def _before(self, i: int) -> str | None:
        earlier = [j for j in self.live if j < i and j % 2 == i % 2]
        return self.live[max(earlier)].message.content if earlier else None

    def _waiting(self) -> list[int]:
        return sorted((i for i, live in self.live.items() if live.embedded_in != self.space), reverse=True)

    def _put(self, embeddings: list[Embedding]) -> int:
        return int(self.run(self.store.put_embeddings(embeddings)))


class EncryptedMachine(StoreMachine):
    """The same in an encrypted database."""

    def make_store(self) -> MemoryStore:
        return SqliteStore(self.folder, key=KEY)

    def check_file(self) -> None:
        assert require_whole(self.folder / "memory.db", SqliteEngine(KEY)) == len(self.live)
        assert not (self.folder / "memory.db").read_bytes().startswith(b"SQLite format")


class PostgresMachine(StoreMachine):
    """The same beside a server."""

    dsn = ""

    def make_store(self) -> MemoryStore:
        return PostgresStore(self.dsn, schema=TEST_SCHEMA)

    @initialize()
    def start(self) -> None:
        assert isinstance(self.store, PostgresStore)
        self.run(emptied(self.store))
        self.run(self.store.use_space(self.space))
        self.is_open = True

    async def check_entries(self) -> None:
        assert isinstance(self.store, PostgresStore)
        await check_counts(self.store)


def test_the_server_holds_what_the_model_holds(postgres_dsn: str) -> None:
    class Machine(PostgresMachine):
        dsn = postgres_dsn

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=4, stateful_step_count=20, deadline=None, derandomize=True, print_blob=True, database=None
        ),
    )


TestEncryptedMachine = EncryptedMachine.TestCase
TestEncryptedMachine.settings = settings(
    max_examples=5, stateful_step_count=20, deadline=None, derandomize=True, print_blob=True
)
TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=15, stateful_step_count=30, deadline=None, derandomize=True, print_blob=True
)
