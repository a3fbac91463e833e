"""What the memory holds of one person: a summary for the curious, and a file to take away."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cogs.memory.records import StoredMessage
    from cogs.memory.stores import MemoryStore

FORMAT = "memory-export/1"


@dataclass(frozen=True, slots=True)
class PersonalSummary:
    """How much is stored of one person on one server."""

    messages: int = 0
    first: datetime | None = None
    last: datetime | None = None
    names: tuple[str, ...] = ()
    """Shown and account names that are stored with the messages."""
    channels: Mapping[int, int] = field(default_factory=dict)
    """Messages by channel id, most first."""


async def summarise(store: MemoryStore, guild_id: int, user_id: int) -> PersonalSummary:
    """Count what is stored of a person on a server. Raises StoreError."""
    channels: Counter[int] = Counter()
    names: dict[str, None] = {}
    first = last = None
    async for message in store.iterate(guild_id, author_id=user_id):
        channels[message.channel_id] += 1
        names.update(dict.fromkeys(name for name in (message.author_name, message.author_handle) if name))
        first = min(first or message.created_at, message.created_at)
        last = max(last or message.created_at, message.created_at)
    return PersonalSummary(channels.total(), first, last, tuple(names), dict(channels.most_common()))


async def export_messages(store: MemoryStore, guild_id: int, user_id: int) -> list[dict[str, Any]]:
    """Return everything stored of a person's messages on a server, oldest first, as JSON objects. Raises StoreError."""
    channels = {channel.id: channel.name for channel in await store.channels(guild_id)}
    return [_as_json(message, channels) async for message in store.iterate(guild_id, author_id=user_id)]


def export_files(
    messages: Sequence[dict[str, Any]], about: Mapping[str, Any], *, limit: int
) -> list[tuple[str, bytes]]:
    """Return an export as (name, content) of as few files as stay within ``limit`` bytes each, oldest first.

    One that would be too large is compressed, and split in halves if that is not enough.
    """
    contents: list[tuple[str, bytes]] = []
    pending = [list(messages)]
    while pending:
        part = pending.pop()
        suffix, content = _packed(part, about, limit)
        if len(content) > limit and len(part) > 1:
            middle = len(part) // 2
            pending += [part[middle:], part[:middle]]
        else:
            contents.append((suffix, content))
    if len(contents) == 1:
        [(suffix, content)] = contents
        return [(f"my-messages{suffix}", content)]
    return [(f"my-messages-{n}{suffix}", content) for n, (suffix, content) in enumerate(contents, start=1)]


def _packed(messages: Sequence[dict[str, Any]], about: Mapping[str, Any], limit: int) -> tuple[str, bytes]:
    data = {"format": FORMAT, **about, "messages": list(messages)}
    content = json.dumps(data, ensure_ascii=False, indent=1).encode()
    return (".json", content) if len(content) <= limit else (".json.gz", gzip.compress(content, mtime=0))


def _as_json(message: StoredMessage, channels: Mapping[int, str]) -> dict[str, Any]:
    return {
        "id": str(message.id),  # beyond 2**53 many a JSON reader rounds numbers
        "channel_id": str(message.channel_id),
        "channel": channels.get(message.channel_id, ""),
        "name": message.author_name,
        "account_name": message.author_handle,
        "created_at": message.created_at.isoformat(),
        "edited_at": message.edited_at.isoformat() if message.edited_at else None,
        "reply_to": str(message.reply_to) if message.reply_to else None,
        "content": message.content,
        "extra": message.extra,
        "attachments": list(message.attachments),
    }
