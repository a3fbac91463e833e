"""The bundled sample server is what its README says: a consistent export and a question file that fits it."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

SAMPLE = Path(__file__).parent.parent / "data" / "sample"
DISCORD_EPOCH_MS = 1_420_070_400_000
SPOKEN = {"Default", "Reply"}
CATEGORIES = {"fact", "who", "when", "how-to", "decision", "cross", "other-language"}

Json = dict[str, Any]


def load(path: Path) -> Json:
    document: Json = json.loads(path.read_text(encoding="utf-8"))
    return document


EXPORTS: list[Json] = [load(path) for path in sorted(SAMPLE.glob("kettle-*.json"))]
MESSAGES: list[Json] = [message for export in EXPORTS for message in export["messages"]]
EVALUATION: list[Json] = load(SAMPLE / "questions.json")["channels"]
QUESTIONS: list[tuple[Json, Json]] = [
    (channel, question) for channel in EVALUATION for question in channel["questions"]
]


def milliseconds(timestamp: str) -> int:
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)


def words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > 3}


def is_remembered(message: Json) -> bool:
    """Whether a person wrote it and it has text: what the evaluation file holds."""
    return message["type"] in SPOKEN and bool(message["content"]) and not message["author"]["isBot"]


def test_it_is_as_large_as_promised() -> None:
    people = {message["author"]["id"] for message in MESSAGES if not message["author"]["isBot"]}
    text_channels = [export for export in EXPORTS if export["channel"]["type"] == "GuildTextChat"]
    months = {message["timestamp"][:7] for message in MESSAGES}
    assert sum(map(is_remembered, MESSAGES)) >= 600
    assert len(text_channels) >= 6
    assert len(people) >= 10
    assert len(months) >= 14


def test_all_files_export_one_guild_and_count_their_messages() -> None:
    assert len({export["guild"]["id"] for export in EXPORTS}) == 1
    assert len({export["channel"]["id"] for export in EXPORTS}) == len(EXPORTS)
    assert [export["messageCount"] for export in EXPORTS] == [len(export["messages"]) for export in EXPORTS]


def test_the_thread_hangs_under_a_channel_of_the_export_that_announces_it() -> None:
    (thread,) = [export for export in EXPORTS if export["channel"]["type"] == "GuildPublicThread"]
    (parent,) = [export for export in EXPORTS if export["channel"]["id"] == thread["channel"]["categoryId"]]
    (notice,) = [message for message in parent["messages"] if message["type"] == "ThreadCreated"]
    assert thread["channel"]["category"] == parent["channel"]["name"]
    assert notice["reference"]["channelId"] == thread["channel"]["id"]


def test_ids_encode_the_timestamps() -> None:
    for message in MESSAGES:
        assert (int(message["id"]) >> 22) + DISCORD_EPOCH_MS == milliseconds(message["timestamp"])


def test_ids_are_unique_and_rise_with_time_in_every_channel() -> None:
    for export in EXPORTS:
        ids = [int(message["id"]) for message in export["messages"]]
        assert all(earlier < later for earlier, later in pairwise(ids))
    assert len({message["id"] for message in MESSAGES}) == len(MESSAGES)


def test_edits_and_the_export_come_after_what_they_change_or_hold() -> None:
    for export in EXPORTS:
        exported = milliseconds(export["exportedAt"])
        for message in export["messages"]:
            edited = message["timestampEdited"] or message["timestamp"]
            assert milliseconds(message["timestamp"]) <= milliseconds(edited) < exported


def test_replies_point_to_earlier_messages_of_their_own_channel() -> None:
    replies = 0
    for export in EXPORTS:
        seen: set[str] = set()
        for message in export["messages"]:
            if message["type"] == "Reply":
                replies += 1
                assert message["reference"]["messageId"] in seen
                assert message["reference"]["channelId"] == export["channel"]["id"]
            seen.add(message["id"])
    assert replies >= 100


def test_an_author_has_one_name_and_one_nickname() -> None:
    names: dict[str, set[tuple[str, str]]] = {}
    for message in MESSAGES:
        author = message["author"]
        names.setdefault(author["id"], set()).add((author["name"], author["nickname"]))
    assert all(len(pairs) == 1 for pairs in names.values())
    assert sum(handle != nickname for ((handle, nickname),) in names.values()) >= 8


def test_it_holds_what_an_importer_must_cope_with() -> None:
    assert sum(message["author"]["isBot"] for message in MESSAGES) >= 4
    assert {"GuildMemberJoin", "ChannelPinnedMessage", "ThreadCreated"} <= {message["type"] for message in MESSAGES}
    assert any(not message["content"] and message["attachments"] for message in MESSAGES)
    for part in ("attachments", "embeds", "reactions", "mentions", "inlineEmojis", "timestampEdited"):
        assert sum(bool(message[part]) for message in MESSAGES) >= 5, part
    assert sum("```" in message["content"] for message in MESSAGES) >= 8
    assert sum(len(message["content"].split()) == 1 for message in MESSAGES) >= 20


def test_it_speaks_more_than_english() -> None:
    (german,) = [export for export in EXPORTS if export["channel"]["name"] == "stammtisch"]
    common = re.compile(r"\b(ich|ist|und|der|die|das|nicht|ein|hab|mit|zu)\b", re.IGNORECASE)
    assert sum(bool(common.search(message["content"])) for message in german["messages"]) >= 40
    assert sum(bool(re.search(r"[\u3040-\u30ff]", message["content"])) for message in MESSAGES) >= 5


def test_links_lead_to_reserved_domains_only() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in SAMPLE.glob("*.json"))
    hosts = set(re.findall(r"https?://([^/\s\"\\:]+)", text)) - {"127.0.0.1"}
    assert hosts
    assert [host for host in hosts if not re.search(r"(^|\.)example\.(org|com)$", host)] == []


def test_the_evaluation_file_holds_exactly_the_messages_of_people() -> None:
    exported = {
        export["channel"]["id"]: [
            {
                "id": message["id"],
                "author": message["author"]["nickname"],
                "content": message["content"],
                "timestamp": message["timestamp"],
            }
            | ({"reply_to": message["reference"]["messageId"]} if message["type"] == "Reply" else {})
            for message in filter(is_remembered, export["messages"])
        ]
        for export in EXPORTS
    }
    assert {channel["id"]: channel["messages"] for channel in EVALUATION} == exported


@pytest.mark.parametrize("channel", EVALUATION, ids=lambda channel: str(channel["id"]))
def test_every_label_is_a_message_of_its_channel(channel: Json) -> None:
    ids = {message["id"] for message in channel["messages"]}
    assert len(channel["questions"]) >= 10
    for question in channel["questions"]:
        relevant = question["relevant"]
        assert relevant, question["query"]
        assert len(set(relevant)) == len(relevant), question["query"]
        assert set(relevant) <= ids, question["query"]


def test_questions_are_many_distinct_and_of_every_category() -> None:
    queries = Counter((channel["id"], question["query"].casefold()) for channel, question in QUESTIONS)
    categories = Counter(question["category"] for _, question in QUESTIONS)
    assert len(QUESTIONS) >= 150
    assert max(queries.values()) == 1
    assert set(categories) == CATEGORIES
    assert min(categories.values()) >= 10
    assert all(len(q["relevant"]) >= 2 for _, q in QUESTIONS if q["category"] == "cross")


def test_most_questions_do_not_repeat_the_words_of_their_answer() -> None:
    paraphrases = 0
    for channel, question in QUESTIONS:
        relevant = set(question["relevant"])
        answer = words(" ".join(message["content"] for message in channel["messages"] if message["id"] in relevant))
        asked = words(question["query"])
        paraphrases += len(asked & answer) <= len(asked) / 3
    assert paraphrases / len(QUESTIONS) >= 0.6
