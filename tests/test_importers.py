"""Exports are read whole; what is broken in them is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cogs.memory.exceptions import InvalidImport
from cogs.memory.importers import MAX_PROBLEMS, export_files, read_export

SAMPLE = Path(__file__).parents[1] / "data" / "sample"


def record(number: int, **changes: Any) -> dict[str, Any]:
    author = {"id": "7", "name": "mlindt", "nickname": "Mia", "isBot": False}
    base = {"id": str(number), "type": "Default", "timestamp": "2025-03-01T18:00:00+00:00", "timestampEdited": None}
    return {**base, "content": f"message {number}", "author": author, "attachments": [], "embeds": [], **changes}


def write(folder: Path, *records: Any, channel: dict[str, Any] | None = None) -> Path:
    path = folder / "export.json"
    channel = channel or {"id": "20", "type": "GuildTextChat", "categoryId": "2", "category": "Town", "name": "general"}
    path.write_text(json.dumps({"guild": {"id": "10", "name": "Kettle"}, "channel": channel, "messages": records}))
    return path


def test_the_sample_server_is_read_completely() -> None:
    exports = [read_export(path) for path in sorted(SAMPLE.glob("kettle-*.json"))]
    assert sum(len(export.messages) for export in exports) == 800
    assert sum(export.skipped for export in exports) == 12
    assert sum(export.broken for export in exports) == 0
    [thread] = [e for e in exports if e.channels[0].name == "campaign night"]
    assert thread.channels[1].name == "board-games"
    assert thread.channels[0].parent_id == thread.channels[1].id


def test_replies_edits_attachments_and_embeds_are_kept(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        record(
            1,
            type="Reply",
            reference={"messageId": "99"},
            timestampEdited="2025-03-02T18:00:00+00:00",
            attachments=[{"fileName": "plan.pdf"}],
            embeds=[{"title": "A page", "description": "about tea"}],
        ),
    )
    [message] = read_export(path).messages
    assert (message.author_name, message.author_handle, message.reply_to) == ("Mia", "mlindt", 99)
    assert message.attachments == ("plan.pdf",)
    assert message.extra == "plan.pdf\nA page\nabout tea"
    assert message.edited_at is not None


def test_bots_announcements_and_empty_records_are_skipped(tmp_path: Path) -> None:
    bot = {"id": "8", "name": "bot", "isBot": True}
    path = write(
        tmp_path, record(1, author=bot), record(2, type="ChannelPinnedMessage"), record(3, content=""), record(4)
    )
    export = read_export(path)
    assert [m.id for m in export.messages] == [4]
    assert export.skipped == 3


def test_broken_records_are_reported_and_the_rest_lands(tmp_path: Path) -> None:
    broken = [
        "not a record",
        record(2, id="abc"),
        record(3, timestamp="yesterday"),
        record(4, author=None),
        record(5, id=str(2**63)),
        {**record(6), "timestamp": "2025-03-01T18:00:00"},
        None,
        record(7, id="-5"),
        record(8, id=1.5),
        record(9, timestamp="9999-12-31T23:59:59-12:00"),
        record(10, timestampEdited="0001-01-01T00:00:00+12:00"),
        record(11, author={}),
        record(12, content={"a": 1}),
        record(13, embeds="x"),
        record(14, attachments=[{"url": "x"}]),
        record(15, type="Reply", reference={"messageId": "abc"}),
    ]
    export = read_export(write(tmp_path, record(1), *broken, record(99)))
    assert [m.id for m in export.messages] == [1, 99]
    assert export.broken == len(export.problems) == len(broken)
    assert all(problem.startswith("export.json: record ") for problem in export.problems)


def test_stickers_forwarded_messages_and_embeds_read_as_they_do_when_they_come_live(tmp_path: Path) -> None:
    forwarded = {"content": "plum dumplings", "attachments": [{"fileName": "plums.pdf"}], "embeds": [], "stickers": []}
    tide = {"title": "Tides", "description": "x" * 999, "fields": [{"name": "harbour", "value": "mole"}]}
    path = write(
        tmp_path,
        record(1, content="", stickers=[{"id": "5", "name": "dancing-otter"}]),
        record(2, content="", reference={"type": "Forward", "messageId": "55"}, forwardedMessage=forwarded),
        record(3, content=None, embeds=[tide]),
    )
    sticker, forward, embed = read_export(path).messages
    assert sticker.extra == "dancing-otter"
    assert (forward.extra, forward.reply_to) == ("plum dumplings\nplums.pdf", None)
    assert embed.extra == f"Tides\n{'x' * 300}\nharbour mole"
    assert embed.content == ""


def test_references_of_an_export_without_markdown_become_names(tmp_path: Path) -> None:
    text = "<@7> or <@!8> or <@9>, <@&44> in <#98> <a:blobcat:123> <t:1700000000:R>"
    mentions = [{"id": "7", "name": "mlindt", "nickname": "Mia"}, {"id": "8", "name": "joe"}]
    [message] = read_export(write(tmp_path, record(1, content=text, mentions=mentions))).messages
    assert message.content == "@Mia or @joe or @somebody, @role in #channel :blobcat: 2023-11-14 22:13 UTC"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_exports_that_an_editor_or_a_shell_wrote_anew_are_read(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, record(1, content="Käse 🧀"))
    path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False), encoding)
    assert [m.content for m in read_export(path).messages] == ["Käse 🧀"]


def test_messages_may_stand_before_guild_and_channel(tmp_path: Path) -> None:
    path = write(tmp_path, record(1), record(2, author=None))
    data = json.loads(path.read_text())
    path.write_text(json.dumps({"messages": data["messages"], **data}))
    export = read_export(path)
    assert ([m.id for m in export.messages], export.broken, export.channels[0].name) == ([1], 1, "general")


def test_a_folder_means_the_exports_in_it_but_not_what_people_attached(tmp_path: Path) -> None:
    for name in ("b.json", "town/a.json", "town/a.json_Files/config.json", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert export_files([tmp_path, tmp_path / "b.json"]) == [tmp_path / "b.json", tmp_path / "town" / "a.json"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidImport, match=r"no \.json file"):
        export_files([tmp_path / "empty"])


def test_problems_are_listed_up_to_a_limit_and_counted_beyond(tmp_path: Path) -> None:
    export = read_export(write(tmp_path, *["x"] * 100))
    assert (export.broken, len(export.problems)) == (100, MAX_PROBLEMS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_of_a_file_that_is_cut_off_anywhere_lands_what_is_whole_before(tmp_path: Path, encoding: str) -> None:
    whole = {"guild": {"id": "10", "name": "Kettle"}, "channel": {"id": "20", "type": "GuildTextChat"}}
    texts = ['Käse \u2028 "quoted" 🧀', "back\\slash\t", "last"]
    records = [record(number, content=text, isPinned=True, size=12) for number, text in enumerate(texts, start=1)]
    text = json.dumps({**whole, "messages": records, "messageCount": 3}, ensure_ascii=False, indent=1)
    text = text.replace("\u2028", "\\u2028")
    content, path = text.encode(encoding), tmp_path / "export.json"
    ends = [len(text[: text.index(f'"size": 12{chr(10)}  }}', start) + 14].encode(encoding)) for start in starts(text)]
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        landed = sum(end <= cut for end in ends)
        if not landed:
            with pytest.raises(InvalidImport):
                read_export(path)
            continue
        export = read_export(path)
        assert [message.id for message in export.messages] == list(range(1, landed + 1)), cut
        assert (export.is_cut_off, export.broken) == (True, 0), cut
    path.write_bytes(content)
    assert not read_export(path).is_cut_off


def starts(text: str) -> list[int]:
    return [text.index(f'"id": "{number}"') for number in (1, 2, 3)]


@pytest.mark.parametrize("mend", [("}", ")"), ('"id"', "id"), (",", ";"), ("}", "}\0\0")])
def test_what_is_damaged_in_its_middle_is_refused_whole(tmp_path: Path, mend: tuple[str, str]) -> None:
    path = write(tmp_path, record(1), record(2), record(3))
    head, middle, tail = path.read_text().partition('"content": "message 2"')
    path.write_text(head + middle + tail.replace(*mend, 1))
    with pytest.raises(InvalidImport, match="is not JSON"):
        read_export(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"guild": {"id": "1"', "cut off or is not JSON"),
        (b"[1, 2]", "not an export of DiscordChatExporter"),
        (b'{"messages": []}', "not an export of DiscordChatExporter"),
        (b"\xff\xfe\x00", "cut off or is not JSON"),
        (b'{"a": "\xff"}', "not a text file"),
        (b"", "cut off or is not JSON"),
        (b"[" * 100_000, "cut off or is not JSON"),
        (b"\x1f\x8b\x08\x00 packed", "not a text file"),
        (b"<!DOCTYPE html><html></html>", "cut off or is not JSON"),
        (b'{"guild": {"id": "0", "name": ""}, "channel": {"id": "5"}, "messages": []}', "direct messages"),
        (b'{"guild": {"name": ""}, "channel": {"id": "5"}, "messages": []}', "no usable id"),
        (b'{"guild": {"id": 1e999}, "channel": {"id": "5"}, "messages": []}', "no usable id"),
        (b'{"guild": {"id": "-4"}, "channel": {"id": "5"}, "messages": []}', "no usable id"),
        (b'{"guild": {"id": "4"}, "channel": {"id": "9223372036854775808"}, "messages": []}', "no usable id"),
        (b'{"guild": {"id": "4"}, "channel": {"id": "5"}, "messages": {}}', "not an export of DiscordChatExporter"),
        (b'{"guild": {"id": "4"}, "channel": {"id": "5"}, "messages": [{"id": "7", ', "cut off or is not JSON"),
    ],
)
def test_a_foreign_file_is_refused_with_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(InvalidImport, match=sentence):
        read_export(path)


def test_a_missing_file_and_a_folder_are_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidImport, match="cannot be read"):
        read_export(tmp_path / "missing.json")
    with pytest.raises(InvalidImport, match="is a folder"):
        read_export(tmp_path)
