"""Reads what people export their servers with: DiscordChatExporter's JSON, one file per channel or thread."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cogs.memory.cleaning import clean_name, clean_text
from cogs.memory.exceptions import InvalidImport
from cogs.memory.records import ChannelInfo, StoredMessage

if TYPE_CHECKING:
    from pathlib import Path

SPOKEN = frozenset({"Default", "Reply"})
"""Message types that hold what somebody said; the others announce joins, pins, calls and threads."""
MAX_PROBLEMS = 20
"""Broken records described one by one; further ones are only counted."""


@dataclass(slots=True)
class Export:
    """One exported channel."""

    guild_id: int
    guild_name: str
    channels: list[ChannelInfo]
    """The channel and, for a thread, its parent."""
    messages: list[StoredMessage] = field(default_factory=list)
    skipped: int = 0
    """Records that are nobody's words: of bots, or announcements."""
    problems: list[str] = field(default_factory=list)
    """A sentence for each broken record, up to `MAX_PROBLEMS`."""
    broken: int = 0

    def report(self, problem: str) -> None:
        """Note a broken record."""
        self.broken += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def read_export(path: Path) -> Export:
    """Read an exported file; broken records are reported in the result and skipped.

    Raises:
        InvalidImport: the file as a whole cannot be read or is something else; the sentence says what.
    """
    data = _load(path)
    guild, channel = data["guild"], data["channel"]
    try:
        guild_id, channel_id = int(guild["id"]), int(channel["id"])
        is_thread = "Thread" in str(channel.get("type", ""))
        parent_id = int(channel["categoryId"]) if is_thread and channel.get("categoryId") else None
        channels = [ChannelInfo(channel_id, guild_id, clean_name(str(channel.get("name") or "")), parent_id)]
        if parent_id is not None and channel.get("category"):
            channels.append(ChannelInfo(parent_id, guild_id, clean_name(str(channel["category"]))))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidImport(f"{path.name}: the guild or the channel has no usable id.") from error
    if guild_id == 0:
        raise InvalidImport(f"{path.name} is an export of direct messages; only servers can be imported.")
    export = Export(guild_id, clean_name(str(guild.get("name") or "")), channels)
    for number, record in enumerate(data["messages"], start=1):
        try:
            message = _message(guild_id, channel_id, record)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            export.report(f"{path.name}: record {number} is broken ({type(error).__name__}: {error})")
            continue
        if message is None:
            export.skipped += 1
        else:
            export.messages.append(message)
    return export


def _load(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8-sig"))
    except IsADirectoryError as error:
        raise InvalidImport(f"{path} is a folder; name the JSON files in it.") from error
    except OSError as error:
        raise InvalidImport(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidImport(f"{path.name} is not a text file in UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidImport(f"{path.name} is cut off or is not JSON ({error}).") from error
    shape = {"guild": dict, "channel": dict, "messages": list}
    if not isinstance(data, dict) or any(not isinstance(data.get(key), kind) for key, kind in shape.items()):
        raise InvalidImport(
            f'{path.name} is not an export of DiscordChatExporter: it lacks "guild", "channel" or "messages". '
            "Export with the format JSON."
        )
    return data


def _message(guild_id: int, channel_id: int, record: dict[str, Any]) -> StoredMessage | None:
    """Return what was said, or None for a record that is nobody's words."""
    author = record["author"]
    if author.get("isBot") or record.get("type", "Default") not in SPOKEN:
        return None
    attachments = tuple(clean_name(str(a["fileName"])) for a in record.get("attachments") or ())
    embeds = [
        clean_text(str(e.get(part) or "")) for e in record.get("embeds") or () for part in ("title", "description")
    ]
    content = clean_text(str(record["content"]))
    extra = "\n".join(part for part in (*attachments, *embeds) if part)
    if not content and not extra:
        return None
    name = clean_name(str(author.get("nickname") or author["name"]))
    handle = clean_name(str(author["name"]))
    reference = record.get("reference") or {}
    edited = record.get("timestampEdited")
    return StoredMessage(
        id=int(record["id"]),
        guild_id=guild_id,
        channel_id=channel_id,
        author_id=int(author["id"]),
        author_name=name,
        author_handle=handle if handle != name else "",
        content=content,
        extra=extra,
        attachments=attachments,
        created_at=_moment(record["timestamp"]),
        edited_at=_moment(edited) if edited else None,
        reply_to=int(reference["messageId"]) if reference.get("messageId") else None,
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} has no time zone")
    return moment
