"""Reads what people export their servers with: DiscordChatExporter's JSON, one file per channel or thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cogs.memory.cleaning import clean_extra, clean_name, clean_text, embed_texts
from cogs.memory.exceptions import InvalidImport
from cogs.memory.json_stream import EndsTooEarly, members
from cogs.memory.mention_text import write_references_out
from cogs.memory.records import MAX_ID, ChannelInfo, StoredMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

SPOKEN = frozenset({"Default", "Reply"})
"""Message types that hold what somebody said; the others announce joins, pins, calls and threads."""
MAX_PROBLEMS = 20
"""Broken records described one by one; further ones are only counted."""
MEDIA_SUFFIX = "_Files"
"""DiscordChatExporter puts what was attached into folders of this name, beside the export."""


@dataclass(slots=True)
class Export:
    """One exported channel."""

    guild_id: int
    guild_name: str
    channels: list[ChannelInfo]
    """The channel and, for a thread, its parent."""
    messages: list[StoredMessage] = field(default_factory=list)
    skipped: int = 0
    """Records that are nobody's words: of bots, announcements, or without any text."""
    problems: list[str] = field(default_factory=list)
    """A sentence for each broken record, up to `MAX_PROBLEMS`."""
    broken: int = 0
    is_cut_off: bool = False
    """Whether the file ends in the middle; the messages are those before."""

    def report(self, problem: str) -> None:
        """Note a broken record."""
        self.broken += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def export_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files that are meant: those named, and in place of a folder every ``.json`` file in and under it.

    Raises:
        InvalidImport: a folder holds none.
    """
    files: list[Path] = []
    for path in paths:
        found = sorted(_exports_under(path)) if path.is_dir() else [path]
        if not found:
            raise InvalidImport(f"In the folder {path} there is no .json file.")
        files += found
    return list(dict.fromkeys(files))


def read_export(path: Path) -> Export:
    """Read an exported file; broken records are reported in the result and skipped.

    Of a file that ends in the middle, what is whole before is read.

    Raises:
        InvalidImport: the file as a whole cannot be read, is something else, or ends before the first message; the
            sentence says what.
    """
    try:
        with path.open("rb") as file:
            export = _read(path.name, members(file, "messages"))
    except IsADirectoryError as error:
        raise InvalidImport(f"{path} is a folder; name the JSON files in it.") from error
    except OSError as error:
        raise InvalidImport(f"{path} cannot be read: {error.strerror}.") from error
    except InvalidImport:
        raise
    except UnicodeDecodeError as error:
        raise InvalidImport(
            f"{path.name} is not a text file in UTF-8; export it again, with the format JSON."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidImport(
            f"{path.name} is cut off or is not JSON ({error}); export it again, with the format JSON."
        ) from error
    return export


def _exports_under(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*.json"):
        if path.is_file() and not any(part.endswith(MEDIA_SUFFIX) for part in path.relative_to(folder).parts[:-1]):
            yield path


def _read(name: str, parts: Iterator[tuple[str, Any]]) -> Export:
    """Read an export from its members, in whatever order they come; the exporter writes the messages last."""
    head: dict[str, Any] = {}
    early: list[Any] = []
    export: Export | None = None
    has_messages = False
    try:
        for key, value in parts:
            if key != "messages":
                head[key] = value
            elif isinstance(value, Iterator):
                has_messages = True
                if "guild" in head and "channel" in head:
                    export = export or _begun(name, head)
                    _take_in(export, name, value)
                else:
                    early += value
    except EndsTooEarly:
        if export is None or not export.messages:
            raise
        export.is_cut_off = True
    if not has_messages or not isinstance(head.get("guild"), dict) or not isinstance(head.get("channel"), dict):
        raise InvalidImport(
            f'{name} is not an export of DiscordChatExporter: it lacks "guild", "channel" or "messages". '
            "Export with the format JSON."
        )
    export = export or _begun(name, head)
    _take_in(export, name, early)
    return export


def _begun(name: str, head: dict[str, Any]) -> Export:
    """An export without its messages yet. Raises InvalidImport."""
    guild, channel = head["guild"], head["channel"]
    try:
        guild_id, channel_id = int(guild["id"]), _id(channel["id"])
        is_thread = "Thread" in str(channel.get("type", ""))
        parent_id = _id(channel["categoryId"]) if is_thread and channel.get("categoryId") else None
        channels = [ChannelInfo(channel_id, guild_id, clean_name(_text(channel.get("name"))), parent_id)]
        if parent_id is not None and channel.get("category"):
            channels.append(ChannelInfo(parent_id, guild_id, clean_name(_text(channel["category"]))))
        if guild_id == 0:
            raise InvalidImport(f"{name} is an export of direct messages; only servers can be imported.")
        return Export(_id(guild_id), clean_name(_text(guild.get("name"))), channels)
    except InvalidImport:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InvalidImport(f"{name}: the guild or the channel has no usable id.") from error


def _take_in(export: Export, name: str, records: Iterable[Any]) -> None:
    for number, record in enumerate(records, start=1):
        try:
            message = _message(export.guild_id, export.channels[0].id, record)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            export.report(f"{name}: record {number} is broken ({_what(error)})")
            continue
        if message is None:
            export.skipped += 1
        else:
            export.messages.append(message)


def _message(guild_id: int, channel_id: int, record: dict[str, Any]) -> StoredMessage | None:
    """Return what was said, or None for a record that is nobody's words."""
    if not isinstance(record, dict):
        raise TypeError("no JSON object")
    author, kind = record["author"], record.get("type", "Default")
    if author.get("isBot") or kind not in SPOKEN:
        return None
    attachments = tuple(clean_name(_text(file["fileName"])) for file in record.get("attachments") or ())
    content = clean_text(_readable(record["content"], record))
    extra = clean_extra([*attachments, *_beside(record)])
    if not content and not extra:
        return None
    name = clean_name(_text(author.get("nickname") or author["name"]))
    handle = clean_name(_text(author["name"]))
    reference = record.get("reference") or {}
    edited = record.get("timestampEdited")
    return StoredMessage(
        id=_id(record["id"]),
        guild_id=guild_id,
        channel_id=channel_id,
        author_id=_id(author["id"]),
        author_name=name,
        author_handle=handle if handle != name else "",
        content=content,
        extra=extra,
        attachments=attachments,
        created_at=_moment(record["timestamp"]),
        edited_at=_moment(edited) if edited else None,
        reply_to=_id(reference["messageId"]) if kind == "Reply" and reference.get("messageId") else None,
    )


def _beside(record: dict[str, Any]) -> Iterator[str]:
    """The searchable texts of a message beside its content and its files, in the order that live messages have them."""
    yield from (_text(sticker["name"]) for sticker in record.get("stickers") or ())
    forwarded = record.get("forwardedMessage")
    if forwarded:
        yield _readable(forwarded.get("content"), record)
        yield from (_text(file["fileName"]) for file in forwarded.get("attachments") or ())
    for embed in record.get("embeds") or ():
        fields = ((_text(part.get("name")), _text(part.get("value"))) for part in embed.get("fields") or ())
        yield from embed_texts(_text(embed.get("title")), _text(embed.get("description")), fields)


def _readable(text: object, record: dict[str, Any]) -> str:
    """A text with names for references: those are left in an export that was made with ``--markdown false``."""
    mentioned: Sequence[dict[str, Any]] = record.get("mentions") or ()

    def user(user_id: int) -> str | None:
        known = next((each for each in mentioned if str(each.get("id")) == str(user_id)), None)
        return None if known is None else _text(known.get("nickname") or known.get("name"))

    return write_references_out(_text(text), user=user, role=lambda _: None, channel=lambda _: None)


def _text(value: object) -> str:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"a text was expected, not {type(value).__name__}")
    return value or ""


def _id(value: object) -> int:
    if not isinstance(value, int | str) or not 0 < int(value) <= MAX_ID:
        raise ValueError("an id was expected, a whole number below 2**63")
    return int(value)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} has no time zone")
    return moment


def _what(error: Exception) -> str:
    """What is wrong with a record, as a clause."""
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    return "something in it has the wrong form" if isinstance(error, AttributeError) else str(error)
