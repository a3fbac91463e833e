"""What a question is taken to ask for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cogs.memory.query_terms import AuthorNames, dates_in, parse_question

NAMES = AuthorNames(
    {1: ("Mia Lindt", "mlindt"), 2: ("dunk", "duncan.reid"), 3: ("Will",), 4: ("Tom A",), 5: ("Tom B",)}
)
SPAN = (datetime(2024, 5, 1, tzinfo=UTC), datetime(2025, 8, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "keywords"),
    [
        ("When is the next game night?", ("next", "game", "night")),
        ("what's Mia's wifi password", ("mia", "wifi", "password")),
        ("wo ist der Schlüssel vom Keller?", ("schlüssel", "keller")),
        ("where is it", ("where", "is", "it")),
        ("game GAME Game", ("game",)),
        ("🎉🎉", ()),
    ],
)
def test_keywords_are_the_words_worth_looking_for(text: str, keywords: tuple[str, ...]) -> None:
    assert parse_question(text).keywords == keywords


def test_the_kind_of_answer_is_recognised() -> None:
    assert parse_question("When did it break?").asks_when
    assert parse_question("at what time do we meet").asks_when
    assert parse_question("Who has the key?").asks_who
    assert parse_question("why is it slow").asks_why
    assert parse_question("Where is the key?").asks_where
    assert parse_question("and how many people come?").asks_how_many
    plain = parse_question("the key of the cellar")
    kinds = (plain.asks_when, plain.asks_who, plain.asks_why, plain.asks_where, plain.asks_how_many)
    assert not any(kinds)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("what did Mia say to dunk", [1, 2]),
        ("did duncan fix it", [2]),
        ("will it rain", []),
        ("what did Will cook", [3]),
        ("Will it rain?", []),
        ("where does tom live", [4, 5]),
        ("who knows miasma", []),
    ],
)
def test_people_are_named_by_any_word_of_their_names(text: str, named: list[int]) -> None:
    assert NAMES.named_in(parse_question(text)) == named


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("what happened on 3 March 2025", ["2025-03-03"]),
        ("what happened on March 3rd", ["2024-03-03", "2025-03-03"]),
        ("who wrote on 2025-03-04?", ["2025-03-04"]),
        ("plans in July 2024", ["2024-07-01"]),
        ("what was said in 2024", ["2024-01-01"]),
        ("30 February 2025", []),
        ("may I march in", []),
    ],
)
def test_dates_are_read_from_questions(text: str, starts: list[str]) -> None:
    assert [f"{found.start:%Y-%m-%d}" for found in dates_in(text, *SPAN)] == starts


def test_a_month_ends_where_the_next_begins_also_in_december() -> None:
    [found] = dates_in("plans in December 2024", *SPAN)
    assert found.end == datetime(2025, 1, 1, tzinfo=UTC)
