"""Where messages and their vectors live: one protocol, real engines behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from cogs.memory.records import (
        ChannelInfo,
        Embedding,
        Hit,
        Neighbours,
        QuotingReply,
        Scope,
        Space,
        StoredMessage,
        StoredRow,
        StoreStats,
        Surroundings,
        UpsertResult,
    )

CLOSED = "The message store is closed."


class MemoryStore(Protocol):
    """The truth about what was said. Every read carries a `Scope`; an empty channel set reads nothing.

    All methods but ``open`` raise `StoreError` (or a subclass) when the engine fails; a failed write
    changes nothing.
    """

    async def open(self) -> None:
        """Lock, migrate and open; start to rebuild what is derived. Raises the `StoreError` family."""

    async def close(self) -> None:
        """Finish what runs and let go; may be called twice."""

    async def use_space(self, space: Space) -> None:
        """Make ``space`` the current one: vectors of others turn invisible and their messages await embedding."""

    async def upsert(self, messages: Sequence[StoredMessage]) -> UpsertResult:
        """Store new messages and replace changed ones, in one transaction. Durable when it returns."""

    async def put_channels(self, channels: Iterable[ChannelInfo]) -> None:
        """Store or rename channels."""

    async def channels(self, guild_id: int) -> list[ChannelInfo]:
        """All channels of a guild that hold messages or were named, by id."""

    async def delete(self, guild_id: int, message_ids: Iterable[int]) -> int:
        """Remove messages everywhere and leave tombstones (also for ids never seen). Returns how many were stored."""

    async def erase(self, guild_id: int, *, author_id: int | None = None, channel_id: int | None = None) -> int:
        """Remove all messages of an author, a channel or (neither given) the guild, so that no byte stays on disk.

        Leaves tombstones; for an author also a mark that refuses his older, not yet seen messages.
        Returns the number of messages removed.
        """

    async def claim_unembedded(self, limit: int) -> list[StoredMessage]:
        """Messages without a vector of the current space, newest first."""

    async def put_embeddings(self, embeddings: Sequence[Embedding]) -> int:
        """Store vectors of the current space; those whose text has changed or gone are refused.

        Returns how many were stored. Raises ValueError for a non-finite or wrongly shaped vector.
        """

    async def dense(self, scope: Scope, vector: NDArray[np.float32], limit: int) -> list[Hit]:
        """The ``limit`` messages in scope nearest to ``vector`` (dim,), best first; score = cosine."""

    async def lexical(self, scope: Scope, terms: Sequence[str], limit: int) -> list[Hit]:
        """The ``limit`` best keyword matches in scope for any of ``terms``, best first; scores are positive.

        They depend on nothing but what lies in the scope: other messages change neither score nor order. Raises
        StoreTimeout when that takes longer than a question may wait.
        """

    async def neighbours(self, scope: Scope, message_ids: Sequence[int]) -> dict[int, Neighbours]:
        """The messages before and after, the one replied to and the first reply, all in the same channel, by id."""

    async def surroundings(self, scope: Scope, hits: Sequence[int], widened: int) -> Surroundings:
        """What stands around the hits of a search, best first, with the token sketches of all that.

        The messages before and after each of the first ``widened`` hits, and the first answer to it, are looked at like
        hits themselves, as far as they lie in the whole scope.
        """

    async def load(self, scope: Scope, message_ids: Sequence[int]) -> dict[int, StoredRow]:
        """The rows in the scope's *channels* (its other filters do not apply: neighbours are context)."""

    async def filter(self, scope: Scope, message_ids: Sequence[int]) -> set[int]:
        """Those of the ids that exist and lie in the whole scope: its channels, authors, times and ``has``."""

    async def authors(self, guild_id: int) -> dict[int, tuple[str, ...]]:
        """Every author's known names (shown and account names), newest first, by author id."""

    async def oldest(self, scope: Scope) -> datetime | None:
        """When the oldest message in the scope's channels was written; None if there is none."""

    async def stats(self, guild_id: int | None = None) -> StoreStats:
        """Sizes, of one guild or of all."""

    def iterate(self, guild_id: int, *, author_id: int | None = None) -> AsyncIterator[StoredMessage]:
        """All messages of a guild (or of one author in it) in order of id, for export and verification."""
        ...

    async def put_reply(self, reply: QuotingReply, sources: Sequence[StoredMessage]) -> None:
        """Store which messages a reply of the bot quotes; once more with the same first message adds to that."""

    async def stale_replies(self, limit: int) -> list[QuotingReply]:
        """Replies that quote a message which was deleted or erased, or whose content has changed, oldest first."""

    async def drop_reply(self, guild_id: int, reply_id: int) -> None:
        """Forget a reply, by its first message: it has been taken back, or is gone."""

    async def get_setting(self, guild_id: int, key: str) -> str | None:
        """A stored setting or checkpoint of a guild (0: of the bot)."""

    async def put_setting(self, guild_id: int, key: str, value: str | None) -> None:
        """Store a setting; ``None`` removes it."""
