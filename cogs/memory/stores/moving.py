"""Moving a whole memory from one store to another: resumable after a kill, verified message by message.

What moves: messages with the vectors and sketches of the space in use, names of channels, settings, the marks of what
was deleted or forgotten, and which messages the bot's replies quote. Vectors of other spaces do not: they would be made
anew anyway.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from cogs.memory.exceptions import StoreError
from cogs.memory.records import Embedding, Scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from cogs.memory.records import QuotingReply, StoredMessage, StoredRow
    from cogs.memory.stores import MemoryStore

BATCH: Final = 500
_MARKER: Final = "move"
"""Setting of the target's own: where its contents come from, until they are whole."""
STORE: Final = -1
"""The "guild" of settings that are a store's own."""


@dataclass(frozen=True, slots=True)
class SpaceRow:
    """A space as a database knows it."""

    key: str
    dim: int
    sketch_dim: int


@dataclass(frozen=True, slots=True)
class Marks:
    """What a guild must never hold again."""

    tombstones: tuple[int, ...] = ()
    """Messages, in order."""
    erasures: tuple[tuple[int, int], ...] = ()
    """(author, the moment in microseconds since 1970 up to which all of his is refused), in order."""


@dataclass(frozen=True, slots=True)
class ReplyRow:
    """A reply of the bot as a database keeps it."""

    reply: QuotingReply
    is_stale: bool
    """Whether something it quotes is gone or says something else now."""
    sources: tuple[int, ...]
    """The messages that it quotes, in order."""


class End(Protocol):
    """One end of a move: an open store, and what its protocol does not tell."""

    @property
    def name(self) -> str:
        """Fit to be shown."""

    @property
    def store(self) -> MemoryStore:
        """The open store itself."""

    async def guilds(self) -> list[int]:
        """All guilds of which the store holds anything but settings, in order."""

    async def settings(self) -> dict[tuple[int, str], str]:
        """All settings by guild and key, without the store's own."""

    async def marks(self, guild_id: int) -> Marks:
        """What must never come back to a guild."""

    async def put_marks(self, guild_id: int, marks: Marks) -> None:
        """Add marks to those that are there."""

    async def replies(self, guild_id: int) -> list[ReplyRow]:
        """The bot's replies in a guild that quote messages, in order of id."""

    async def put_replies(self, guild_id: int, rows: Sequence[ReplyRow]) -> None:
        """Store replies as they stand; those that are there already are replaced."""

    async def last_space(self) -> SpaceRow | None:
        """The space used last."""

    async def take_space(self, space: SpaceRow, *, is_last: bool) -> None:
        """Use a space as if its embedder were there; only ``is_last`` needs it to be fit for searches."""


@dataclass
class MoveReport:
    """What was moved."""

    messages: int = 0
    vectors: int = 0
    tombstones: int = 0
    guilds: int = 0
    settings: int = 0
    replies: int = 0
    already: int = field(default=0)
    """Messages that an earlier, interrupted move had brought."""


class Move:
    """A move from ``source`` to ``target``, both open; the source is only read.

    Args:
        source: where the memory is; nobody may change it meanwhile.
        target: an empty store, or one that an interrupted move from the same source has begun to fill.
        progress: told the stage ("move" or "verify"), messages done and messages in all.
    """

    def __init__(
        self, source: End, target: End, *, progress: Callable[[str, int, int], None] = lambda *_: None
    ) -> None:
        self._source = source
        self._target = target
        self._progress = progress
        self._done = 0
        self._total = 0
        self._report = MoveReport()

    async def run(self) -> MoveReport:
        """Move, compare both ends, and return what was moved.

        Raises:
            StoreError: the target holds another memory, an end failed, or the two differ in the end.
        """
        await self._claim_target()
        self._total = (await self._source.store.stats()).messages
        space = await self._source.last_space()
        if space is not None:
            await self._source.take_space(space, is_last=False)
            await self._target.take_space(space, is_last=False)
        guilds = await self._source.guilds()
        for guild in guilds:
            await self._move_guild(guild)
        settings = await self._source.settings()
        for (guild, key), value in settings.items():
            await self._target.store.put_setting(guild, key, value)
        if space is not None:
            await self._target.take_space(space, is_last=True)
        await self._verify(guilds, settings)
        for guild in guilds:
            await self._target.store.put_setting(STORE, f"{_MARKER}:{guild}", None)
        await self._target.store.put_setting(STORE, _MARKER, None)
        self._report.guilds, self._report.settings = len(guilds), len(settings)
        return self._report

    async def _claim_target(self) -> None:
        store = self._target.store
        begun = await store.get_setting(STORE, _MARKER)
        if begun is None and ((await store.stats()).messages or await self._target.guilds()):
            raise StoreError(f"{self._target.name} holds a memory already: a move needs an empty one.")
        if begun not in (None, self._source.name):
            raise StoreError(f"{self._target.name} holds part of the memory of {begun}: finish that move first.")
        await store.put_setting(STORE, _MARKER, self._source.name)

    async def _move_guild(self, guild_id: int) -> None:
        source, target = self._source.store, self._target.store
        marks = await self._source.marks(guild_id)
        await self._target.put_marks(guild_id, marks)  # before the messages: a move cut off here lets nothing back in
        await target.put_channels([channel for channel in await source.channels(guild_id) if channel.name])
        marker = f"{_MARKER}:{guild_id}"
        reached = int(await target.get_setting(STORE, marker) or 0)
        async for batch in rows(source, guild_id):
            self._done += len(batch)
            if batch[-1].message.id > reached:
                await target.upsert([row.message for row in batch])
                await target.put_embeddings([_embedding(row) for row in batch if row.vector is not None])
                await target.put_setting(STORE, marker, str(batch[-1].message.id))
            else:
                self._report.already += len(batch)
            self._report.vectors += sum(row.vector is not None for row in batch)
            self._progress("move", self._done, self._total)
        replies = await self._source.replies(guild_id)
        await self._target.put_replies(guild_id, replies)
        self._report.tombstones += len(marks.tombstones)
        self._report.replies += len(replies)

    async def _verify(self, guilds: Sequence[int], settings: Mapping[tuple[int, str], str]) -> None:
        self._done = 0
        for guild in guilds:
            before = await self._digest(self._source, guild)
            after = await self._digest(self._target, guild)
            if before != after:
                raise StoreError(
                    f"{self._target.name} differs from {self._source.name} in guild {guild} "
                    f"({after[0]:,} of {before[0]:,} messages): was the source written to meanwhile? Nothing was taken "
                    "away from it; stop what writes to it, and run the command again on an empty target."
                )
            self._report.messages += before[0]
        moved = await self._target.settings()
        if {place: moved.get(place) for place in settings} != dict(settings):
            raise StoreError(f"{self._target.name} lacks settings of {self._source.name}.")

    async def _digest(self, end: End, guild_id: int) -> tuple[int, str]:
        """How many messages a guild has, and a checksum over everything of it."""
        digest, count = hashlib.blake2b(), 0
        async for batch in rows(end.store, guild_id):
            for row in batch:
                vector = b"" if row.vector is None else row.vector.tobytes()
                for part in (repr(row.message).encode("utf-8", "backslashreplace"), vector, row.sketch):
                    digest.update(len(part).to_bytes(8, "big") + part)
            count += len(batch)
            self._done += len(batch)
            self._progress("verify", self._done, 2 * self._total)
        digest.update(repr(await end.store.channels(guild_id)).encode("utf-8", "replace"))
        digest.update(repr((await end.marks(guild_id), await end.replies(guild_id))).encode())
        return count, digest.hexdigest()


async def rows(store: MemoryStore, guild_id: int) -> AsyncIterator[list[StoredRow]]:
    """All messages of a guild with their vectors in the space in use, in batches, in order of id."""
    scope = Scope(guild_id, frozenset(channel.id for channel in await store.channels(guild_id)))
    batch: list[StoredMessage] = []
    async for message in store.iterate(guild_id):
        batch.append(message)
        if len(batch) == BATCH:
            yield await _loaded(store, scope, batch)
            batch = []
    if batch:
        yield await _loaded(store, scope, batch)


async def _loaded(store: MemoryStore, scope: Scope, batch: Sequence[StoredMessage]) -> list[StoredRow]:
    found = await store.load(scope, [message.id for message in batch])
    return [found[message.id] for message in batch]


def _embedding(row: StoredRow) -> Embedding:
    if row.vector is None:
        raise ValueError("the message awaits its vector")
    message = row.message
    return Embedding(message.id, message.content_hash, row.vector, row.sketch, message.guild_id)
