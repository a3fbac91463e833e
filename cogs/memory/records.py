"""The plain values that travel through the memory: messages, scopes, spaces, candidates.

Nothing here knows Discord, a database or a model. Ids are Discord snowflakes (positive, below 2**63), so
within one channel the order of ids is the order of time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

MAX_ID = 2**63 - 1
_IDS = ("id", "guild_id", "channel_id", "author_id")
_YEARS = range(2, 9999)
"""Of times that stay in the calendar in every time zone, and with some days added."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message as the memory keeps it; text is already clean (see ``cleaning.clean_text``).

    Raises:
        ValueError: an id is not in 1..2**63-1, or a time carries no time zone or lies at an end of the calendar, where
            it could be stored but not be read again.
    """

    id: int
    guild_id: int
    channel_id: int
    author_id: int
    author_name: str
    """The name shown on the server when the message was written."""
    content: str
    created_at: datetime
    author_handle: str = ""
    """The account name, where it differs from ``author_name``: people are asked about by either."""
    extra: str = ""
    """Searchable text beside the content: files, stickers, polls, embeds, forwards; see `cleaning.clean_extra`."""
    attachments: tuple[str, ...] = ()
    """File names, for the ``has:`` filter and for display."""
    reply_to: int | None = None
    edited_at: datetime | None = None

    def __post_init__(self) -> None:
        ids = self.id, self.guild_id, self.channel_id, self.author_id
        if min(ids) < 1 or max(ids) > MAX_ID:
            name, value = next(each for each in zip(_IDS, ids, strict=True) if not 0 < each[1] <= MAX_ID)
            raise ValueError(f"{name} must be between 1 and 2**63 - 1, not {value}")
        for moment in (self.created_at, self.edited_at):
            if moment is not None and moment.tzinfo is None:
                raise ValueError("created_at and edited_at must carry a time zone")
            if moment is not None and moment.year not in _YEARS:
                raise ValueError(f"created_at and edited_at must lie in the years 2 to 9998, not in {moment.year}")

    @property
    def text(self) -> str:
        """Everything searchable that the author wrote or attached."""
        return f"{self.content}\n{self.extra}" if self.extra else self.content

    @property
    def content_hash(self) -> bytes:
        """16 bytes that change whenever the vectors of this message would change."""
        parts = (self.author_name, self.content, self.extra)
        return hashlib.blake2b("\x00".join(parts).encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """A channel or thread by name; ``parent_id`` is the channel a thread hangs under."""

    id: int
    guild_id: int
    name: str
    parent_id: int | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What one read may see. An empty ``channel_ids`` means *nothing*, never *everything*."""

    guild_id: int
    channel_ids: frozenset[int]
    author_ids: frozenset[int] | None = None
    """Only these authors; ``None`` for all."""
    after: datetime | None = None
    """Inclusive lower bound of ``created_at``."""
    before: datetime | None = None
    """Exclusive upper bound of ``created_at``."""
    has: frozenset[str] = frozenset()
    """Any of ``"link"``, ``"file"``, ``"image"``, ``"code"``: all must hold."""

    @property
    def is_filtered(self) -> bool:
        """Whether it narrows beyond the channels."""
        return bool(self.author_ids is not None or self.after or self.before or self.has)

    def admits(self, message: StoredMessage) -> bool:
        """Whether a message lies in it; ``has`` is not looked at, for only the store knows."""
        return (
            message.guild_id == self.guild_id
            and message.channel_id in self.channel_ids
            and (self.author_ids is None or message.author_id in self.author_ids)
            and (self.after is None or message.created_at >= self.after)
            and (self.before is None or message.created_at < self.before)
        )


@dataclass(frozen=True, slots=True)
class Space:
    """The fingerprint of vectors: only vectors of one space may be compared."""

    model: str
    revision: str
    dim: int
    dtype: str
    prompt: str = ""
    sketch_dim: int = 0
    """Dimensions of the token sketches, one bit each; 0 when the model gives none."""

    @property
    def key(self) -> str:
        """A stable, readable key for the database."""
        text = "\x00".join(map(str, (self.model, self.revision, self.dim, self.dtype, self.prompt, self.sketch_dim)))
        return f"{self.model}:{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vectors of one message, as the store keeps them."""

    message_id: int
    content_hash: bytes
    """Hash of the text that was embedded: the store refuses a vector of a text that has changed since."""
    vector: NDArray[np.float16]
    """(dim,), L2-normalised."""
    sketch: bytes
    """Packed sign bits of the token vectors, (tokens, sketch_dim / 8) row by row; may be empty."""
    guild_id: int | None = None
    """The guild of the message; a store that is spread by guild has to look it up where it is not given."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A message found by one leg of the search; higher is better."""

    message_id: int
    score: float


class Neighbours(NamedTuple):
    """The ids around a message in its own channel; ``None`` where there is none in scope.

    A tuple, because a question makes several hundred of them.
    """

    previous: int | None = None
    before_previous: int | None = None
    next: int | None = None
    reply_to: int | None = None
    """The message it replies to, if that is stored in the same channel."""
    answer: int | None = None
    """The first message that replies to it, if any."""

    def ids(self) -> tuple[int, ...]:
        """The ids that exist."""
        return tuple(i for i in self if i is not None)

    def without(self, message_ids: Collection[int]) -> Neighbours:
        """Return the same with ``None`` in place of these messages."""
        around = (self.previous, self.before_previous, self.next, self.reply_to, self.answer)
        if not any(i in message_ids for i in around):
            return self
        return Neighbours(*(None if i in message_ids else i for i in around))


class Surroundings(NamedTuple):
    """The hits of a search with what stands around them, as far as that lies in scope."""

    neighbours: dict[int, Neighbours]
    """Of each hit, and of each message beside one of the best hits: these are candidates too."""
    sketches: dict[int, bytes]
    """Token sketches of those and of all their neighbours; empty for a message that waits to be embedded."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A message with the vectors of one space; ``vector`` is None while it waits to be embedded."""

    message: StoredMessage
    vector: NDArray[np.float16] | None
    sketch: bytes


@dataclass(frozen=True, slots=True)
class QuotingReply:
    """A reply of the bot that quotes stored messages, by its own messages on Discord, at least one."""

    guild_id: int
    channel_id: int
    message_ids: tuple[int, ...]

    @property
    def id(self) -> int:
        """Its first message."""
        return self.message_ids[0]


@dataclass(frozen=True, slots=True)
class UpsertResult:
    """What an upsert did, by message id."""

    inserted: tuple[int, ...] = ()
    changed: tuple[int, ...] = ()
    unchanged: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()
    """Deleted or erased before (tombstones): never stored again."""


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Sizes of a store; ``awaiting`` counts messages without a vector of the current space."""

    messages: int
    embedded: int
    awaiting: int
    guild_ids: tuple[int, ...]
    """Of the guilds with messages."""
    channels: int
    authors: int
    tombstones: int
    bytes_on_disk: int
    oldest: datetime | None = None
    newest: datetime | None = None
    index_ready: float = 1.0
    """Share of the stored vectors that the vector index holds, 0–1."""
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def guilds(self) -> int:
        """How many guilds have messages."""
        return len(self.guild_ids)
