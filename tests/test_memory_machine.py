"""Any sequence of what people say, edit, delete and decide, with reloads and crashes, leaves what a dict would hold."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cogs.memory.erasure import Erasure
from cogs.memory.memory_service import MemoryService
from cogs.memory.surface.event_line import EventLine, Said, Unsaid
from cogs.memory.surface.guild_settings import GuildSettingsStore
from profiles import load_profile
from tests.faults.instant_embedding import InstantEncoder
from tests.stores.samples import GUILD, LOBBY, OTHER_SPACE, SPACE, START, message, scope
from tests.stores.sqlite_folder import check_integrity

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from cogs.memory.records import StoredMessage
    from profiles import MemoryProfile

IDS: Final = st.integers(1, 8)
AUTHORS: Final = st.sampled_from((100, 200))
WORDS: Final = ("apple", "pear", "fig")
SPACES: Final = {"one": SPACE, "other": OTHER_SPACE}
PROFILES: Final = {name: replace(load_profile("embedded"), name=name) for name in SPACES}
LATER: Final = START + timedelta(days=365 * 100)
"""When messages are written after their author was forgotten: what is older is refused."""


def load(profile: MemoryProfile) -> InstantEncoder:
    return InstantEncoder(SPACES[profile.name])


@dataclass
class Running:
    """A memory with all that stands between Discord and it."""

    memory: MemoryService
    settings: GuildSettingsStore
    events: EventLine
    erasure: Erasure

    async def settled(self) -> None:
        await self.events.drained()
        await self.memory.queue.embedded()


class MemoryMachine(RuleBasedStateMachine):
    """The memory beside its model."""

    key: str | None = None

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="discord-memory-"))
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.profile = PROFILES["one"]
        self.born: dict[int, StoredMessage] = {}
        self.live: dict[int, StoredMessage] = {}
        self.dead: set[int] = set()
        self.forgotten: set[int] = set()
        self.opted_out: set[int] = set()
        self.edits = 0
        self.running: Running | None = None

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @property
    def house(self) -> Running:
        assert self.running is not None
        return self.running

    @initialize()
    def open(self) -> None:
        self.run(self._open())

    async def _open(self) -> None:
        memory = MemoryService.on_folder(self.profile, self.folder, load=load, key=self.key)
        await self.stack.enter_async_context(memory)
        known, erasure = GuildSettingsStore(memory.store), Erasure(memory)
        events = EventLine(erasure, known)
        erasure.keepers.append(events)
        events.start()
        self.stack.push_async_callback(events.stop)
        self.running = Running(memory, known, events, erasure)

    @rule(i=IDS, word=st.sampled_from(WORDS), author=AUTHORS)
    def say(self, i: int, word: str, author: int) -> None:
        if i in self.live:  # told again after a reconnection, as it was first written
            self.house.events.put(Said(self.born[i], None))
            return
        written = LATER if author in self.forgotten else START
        self.born[i] = message(i, word, author_id=author, created_at=written)
        self.house.events.put(Said(self.born[i], None))
        if i not in self.dead and author not in self.opted_out:
            self.live[i] = self.born[i]

    @rule(i=IDS, word=st.sampled_from(WORDS))
    def edit(self, i: int, word: str) -> None:
        if i in self.live:
            self.edits += 1
            self.live[i] = replace(self.live[i], content=word, edited_at=LATER + timedelta(seconds=self.edits))
            self.house.events.put(Said(self.live[i], None, edited=True))

    @rule(ids=st.lists(IDS, min_size=1, max_size=3))
    def delete(self, ids: list[int]) -> None:
        self.house.events.put(Unsaid(GUILD, tuple(ids)))
        self.dead |= set(ids)
        for i in ids:
            self.live.pop(i, None)

    @rule(author=AUTHORS)
    def forget(self, author: int) -> None:
        his = {i for i, each in self.live.items() if each.author_id == author}
        receipt = self.run(self.house.erasure.forget_user(GUILD, author))
        assert receipt.messages == len(his)
        self.forgotten.add(author)
        self.dead |= his
        for i in his:
            del self.live[i]

    @rule(author=AUTHORS)
    def opt_out(self, author: int) -> None:
        self.run(self.house.events.drained())  # what was said before he decided is remembered
        self.run(self.house.settings.opt_out(GUILD, author))
        self.opted_out.add(author)

    @rule(author=AUTHORS)
    def opt_in(self, author: int) -> None:
        self.run(self.house.events.drained())
        self.run(self.house.settings.opt_in(GUILD, author))
        self.opted_out.discard(author)

    @rule(name=st.sampled_from(sorted(SPACES)), questions=st.integers(0, 3))
    def reload(self, name: str, questions: int) -> None:
        self.run(self._reload(PROFILES[name], questions))

    async def _reload(self, profile: MemoryProfile, questions: int) -> None:
        asked = [asyncio.create_task(self.house.memory.recall("apple or fig", scope(LOBBY))) for _ in range(questions)]
        await self.house.memory.reload(profile)
        self.profile = profile
        await asyncio.gather(*asked)

    @rule(crash=st.booleans())
    def reopen(self, crash: bool) -> None:
        self.run(self._reopen(crash))

    async def _reopen(self, crash: bool) -> None:
        await self.house.events.drained()
        await self.house.memory.queue.stored()
        if crash:  # what the disk holds at this moment is what is opened
            copy = Path(tempfile.mkdtemp(prefix="discord-memory-"))
            await asyncio.to_thread(shutil.copytree, self.folder, copy, dirs_exist_ok=True)
        await self.stack.aclose()
        if crash:
            shutil.rmtree(self.folder)
            self.folder = copy
        await self._open()

    @invariant()
    def the_memory_holds_and_finds_what_the_model_holds(self) -> None:
        if self.running is not None:
            self.run(self._compare())

    async def _compare(self) -> None:
        await self.house.settled()
        memory = self.house.memory
        assert {m.id: m.content async for m in memory.store.iterate(GUILD)} == {
            i: each.content for i, each in self.live.items()
        }
        assert (await memory.stats(GUILD)).awaiting == 0
        assert memory.embedding.space == SPACES[self.profile.name]
        for word in WORDS:
            found = await self._found(word)
            assert found <= self.live.keys()
            assert found >= {i for i, each in self.live.items() if each.content == word}

    async def _found(self, word: str) -> set[int]:
        """What a question finds that is answered in full: not while the index is rebuilt or the machine stands."""
        memory = self.house.memory
        while True:
            memory.forget_caches(GUILD)
            answer = await memory.recall(word, scope(LOBBY), limit=50, collapse=False)
            if not answer.trace.degraded:
                return {result.message.id for result in answer.results}
            await asyncio.sleep(0.01)

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.check_file()
        self.runner.close()
        shutil.rmtree(self.folder)

    def check_file(self) -> None:
        """The file is sound."""
        check_integrity(self.folder)


class EncryptedMemoryMachine(MemoryMachine):
    """The same in an encrypted database."""

    key = "correct horse battery staple"

    def check_file(self) -> None:
        assert not (self.folder / "memory.db").read_bytes().startswith(b"SQLite format")


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(
    max_examples=8, stateful_step_count=25, deadline=None, derandomize=True, print_blob=True
)
TestEncryptedMemoryMachine = EncryptedMemoryMachine.TestCase
TestEncryptedMemoryMachine.settings = settings(
    max_examples=3, stateful_step_count=20, deadline=None, derandomize=True, print_blob=True
)
