"""Messages as rows of a database and back: what both engines store of one."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from cogs.memory.records import MAX_ID, StoredMessage
from cogs.memory.stores.unspaced_scripts import segments

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

FLAGS = {"link": 1, "file": 2, "image": 4, "code": 8}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LINK = re.compile(r"https?://\S", re.IGNORECASE)
_CODE = re.compile(r"```|`[^`\n]+`")
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".avif", ".heic", ".svg")


class MessageRow(NamedTuple):
    """A row of table ``messages``, without the column that says where its vector stands."""

    id: int
    guild_id: int
    channel_id: int
    author_id: int
    created_us: int
    edited_us: int | None
    reply_to: int | None
    flags: int
    content_hash: bytes
    author_name: str
    author_handle: str
    content: str
    extra: str
    attachments: str
    segments: str


class PlacedVectors(NamedTuple):
    """Vectors of some messages, with their places."""

    message_ids: list[int]
    guild_ids: list[int]
    channel_ids: list[int]
    vectors: NDArray[np.float16]
    """(messages, dim)"""


READ_COLUMNS = (
    "m.id, m.guild_id, m.channel_id, m.author_id, m.created_us, m.edited_us, m.reply_to,"
    " m.author_name, m.author_handle, m.content, m.extra, m.attachments"
)
"""For ``SELECT … FROM messages m``: what `to_message` takes."""
READ_COUNT = READ_COLUMNS.count("m.")


def to_row(message: StoredMessage) -> MessageRow:
    """The row of a message.

    Raises:
        ValueError: a text holds lone surrogates, which no database stores.
    """
    texts = (message.author_name, message.author_handle, message.content, message.extra)
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"message {message.id} holds text that is not Unicode: clean it first") from error
    return MessageRow(
        id=message.id,
        guild_id=message.guild_id,
        channel_id=message.channel_id,
        author_id=message.author_id,
        created_us=to_microseconds(message.created_at),
        edited_us=None if message.edited_at is None else to_microseconds(message.edited_at),
        reply_to=message.reply_to if message.reply_to is not None and 0 < message.reply_to <= MAX_ID else None,
        flags=_flags(message),
        content_hash=message.content_hash,
        author_name=message.author_name,
        author_handle=message.author_handle,
        content=message.content,
        extra=message.extra,
        attachments=json.dumps(message.attachments),  # ASCII: survives any file name
        segments=segments("\n".join(texts)),
    )


def to_message(row: Sequence[Any]) -> StoredMessage:
    """The message of a row of `READ_COLUMNS`; more columns may follow."""
    id_, guild, channel, author, created, edited, reply_to, name, handle, content, extra, attachments = row[:READ_COUNT]
    return StoredMessage(
        id=id_,
        guild_id=guild,
        channel_id=channel,
        author_id=author,
        author_name=name,
        content=content,
        created_at=to_datetime(created),
        author_handle=handle,
        extra=extra,
        attachments=() if attachments == "[]" else tuple(json.loads(attachments)),
        reply_to=reply_to,
        edited_at=None if edited is None else to_datetime(edited),
    )


def latest_by_id(rows: Iterable[MessageRow]) -> dict[int, MessageRow]:
    """Of several rows with one id the one of the latest edit, and of those the last."""
    latest: dict[int, MessageRow] = {}
    for row in rows:
        known = latest.get(row.id)
        if known is None or edited(row) >= edited(known):
            latest[row.id] = row
    return latest


def edited(row: MessageRow) -> int:
    """When a message was edited, in microseconds since 1970; -1: never."""
    return -1 if row.edited_us is None else row.edited_us


def to_microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime."""
    return (moment - _EPOCH) // _MICROSECOND


def to_datetime(microseconds: int) -> datetime:
    """The datetime (UTC) of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=microseconds)


def require_ids(*ids: int) -> None:
    """Refuse numbers that cannot be ids.

    Raises:
        ValueError: one is not in 1..2**63-1.
    """
    for value in ids:
        if not 0 < value <= MAX_ID:
            raise ValueError(f"an id must be between 1 and 2**63 - 1, not {value}")


def wanted_flags(has: frozenset[str]) -> int:
    """The bits of column ``flags`` that a scope's ``has`` asks for.

    Raises:
        ValueError: it asks for something unknown.
    """
    unknown = has - FLAGS.keys()
    if unknown:
        raise ValueError(f"has must be of {', '.join(FLAGS)}, not {', '.join(sorted(unknown))}")
    return sum(FLAGS[name] for name in has)


def _flags(message: StoredMessage) -> int:
    text = message.text
    flags = 0
    if _LINK.search(text):
        flags |= FLAGS["link"]
    if _CODE.search(message.content):
        flags |= FLAGS["code"]
    if message.attachments:
        flags |= FLAGS["file"]
    if any(name.lower().endswith(_IMAGE_SUFFIXES) for name in message.attachments):
        flags |= FLAGS["image"]
    return flags
