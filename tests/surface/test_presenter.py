"""What is sent is always within Discord's limits, and honest about how it was found."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import discord
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.memory.recall_records import Recall, RecalledMessage, RecallTrace
from cogs.memory.records import MAX_ID, StoredMessage
from cogs.memory.surface.console_text import console_text
from cogs.memory.surface.page import Face, Page, footer, score_bar
from cogs.memory.surface.presenter import conversation_embed, heading, page_embeds, query_in, terms_of
from cogs.memory.surface.recall.recall_buttons import page_view
from cogs.memory.surface.recall.search_state import MAX_PAGE_SIZE, STATE, Search
from cogs.memory.surface.recall.turns import Turns
from cogs.memory.surface.texts import ENGLISH, Texts, texts_for
from cogs.memory.surface.texts_german import GERMAN
from tests.conftest import said

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TRACE = RecallTrace((), 319, 319, 319, "structure", 17.6, reaches_back_to=datetime(2024, 3, 1, tzinfo=UTC))

ids = st.integers(1, MAX_ID)
moments = st.datetimes(datetime(2016, 1, 1), datetime(2030, 1, 1)).map(lambda d: d.replace(tzinfo=UTC, microsecond=0))  # noqa: DTZ001
words = st.text(st.sampled_from("tea *_`|<>[]#@\n🫖") | st.characters(codec="utf-8"), max_size=2000)
searches = st.builds(
    Search,
    query=st.text(max_size=300).map(lambda text: " ".join(text.split())),
    author_id=st.none() | ids,
    channel_id=st.none() | ids,
    after=st.none() | moments,
    before=st.none() | moments,
    has=st.none() | st.sampled_from(["link", "file", "image", "code"]),
    page=st.integers(0, 49),
    page_size=st.integers(1, MAX_PAGE_SIZE),
    related_to=st.none() | ids,
    related_in=st.none() | ids,
    anyway=st.booleans(),
)


def found(message: StoredMessage, rank: int = 1, *, relevance: float = 0.7, duplicates: int = 0) -> RecalledMessage:
    return RecalledMessage(message, rank, relevance, relevance, duplicates=duplicates)


def page(*results: RecalledMessage, search: Search | None = None, trace: RecallTrace = TRACE) -> Page:
    return Page(search or Search("tea"), results, trace)


def labels(view: discord.ui.View) -> list[str | None]:
    items = [item.item for item in view.children if isinstance(item, discord.ui.DynamicItem)]
    return [item.label for item in items if isinstance(item, discord.ui.Button)]


def check_limits(embeds: list[discord.Embed]) -> None:
    assert 1 <= len(embeds) <= 10
    assert sum(len(embed) for embed in embeds) <= 6000
    for embed in embeds:
        assert 1 <= len(embed.description or "") <= 4096
        assert len(embed.title or "") <= 256
        assert len(embed.author.name or "") <= 256
        assert len(embed.footer.text or "") <= 2048


@given(st.lists(words, min_size=1, max_size=10), st.sampled_from([ENGLISH, GERMAN]), words)
@settings(derandomize=True, max_examples=60, deadline=None)
def test_every_page_is_within_the_limits(contents: list[str], texts: Texts, name: str) -> None:
    author = (name or "?")[:100]
    results = [
        found(replace(said(number, content), author_name=author, edited_at=NOW), number, duplicates=number)
        for number, content in enumerate(contents, start=1)
    ]
    check_limits(page_embeds(page(*results), texts))


def test_five_hits_of_two_thousand_characters_fit_into_six_thousand() -> None:
    hits = [found(said(number, "*_tea_* " * 250), number) for number in range(1, 6)]
    embeds = page_embeds(page(*hits), ENGLISH)
    check_limits(embeds)
    assert len(embeds) == 5
    assert all(len(embed.description or "") > 500 for embed in embeds)


def test_a_short_hit_leaves_its_room_to_a_long_one() -> None:
    hits = [found(said(1, "tea"), 1), found(said(2, "tea and so on, " * 130), 2)]
    assert len(page_embeds(page(*hits), ENGLISH)[1].description or "") > 1000


@given(searches)
@settings(derandomize=True, max_examples=200)
def test_a_search_survives_its_button(search: Search) -> None:
    state = search.encode()
    assert len(f"memory:share:{state}") <= 100
    assert re.fullmatch(STATE, state)
    assert Search.decode(state, search.query) == search


@pytest.mark.parametrize("state", ["", "1.2.3", "a.b.c.d.e.f.g.h.i.j.k", "é.........", "zzzzzzzzzzzzzzzzzzzzzzzzzz"])
def test_a_made_up_state_is_refused(state: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        Search.decode(state)


@given(st.text(max_size=900).map(lambda text: " ".join(text.split())))
@settings(derandomize=True, max_examples=200)
def test_the_question_can_be_read_back_from_its_heading(query: str) -> None:
    shown = heading(Search(query), ENGLISH)
    assert len(shown) <= 2000
    assert query_in(shown) == query


def test_a_question_that_is_not_shown_whole_is_not_read_back_and_has_no_pages() -> None:
    search = Search("tea " * 500)
    assert query_in(heading(search, ENGLISH)) is None
    view = page_view(replace(page(found(said(1, "tea"))), search=search, has_more=True), ENGLISH)
    assert view is not None
    assert labels(view) == ["Around 1"]


@given(searches, st.integers(0, 10), st.booleans(), st.booleans())
@settings(derandomize=True, max_examples=100, deadline=None)
async def test_every_view_is_within_the_limits(search: Search, count: int, more: bool, weak: bool) -> None:
    hits = [found(said(MAX_ID - number, "tea", minutes=number), number) for number in range(count)]
    view = page_view(replace(page(*hits, search=search), has_more=more, is_weak=weak), GERMAN)
    if view is None:
        return
    rows = [component["components"] for component in view.to_components()]
    assert 1 <= len(rows) <= 5
    assert all(1 <= len(row) <= 5 for row in rows)
    custom_ids = [button["custom_id"] for row in rows for button in row]
    assert len(custom_ids) == len(set(custom_ids))
    assert all(len(custom_id) <= 100 for custom_id in custom_ids)
    menus = [item for row in rows for item in row if "options" in item]
    buttons = [item for row in rows for item in row if "options" not in item]
    assert all(1 <= len(button["label"]) <= 80 for button in buttons)
    assert all(1 <= len(menu["options"]) <= 25 for menu in menus)
    assert all(len(option[name]) <= 100 for menu in menus for option in menu["options"] for name in ("label", "value"))


def test_the_footer_says_how_it_was_found() -> None:
    assert footer(page(), ENGLISH) == (
        "late interaction + structure, 319 candidates, 18 ms · memory reaches back to 2024-03-01"
    )
    assert footer(replace(page(), is_indexing=True), ENGLISH).endswith("new messages are still being indexed")


def test_the_footer_says_what_was_not_done() -> None:
    trace = replace(TRACE, reranker="Qwen3-Reranker-0.6B", reranked=12, rerank_of=50, degraded=("The deadline came.",))
    shown = footer(page(trace=trace), ENGLISH)
    assert "Qwen3-Reranker-0.6B: 12 of 50 reranked" in shown
    assert "The deadline came." in shown


def test_nothing_relevant_is_one_sentence_with_a_footer() -> None:
    for each in (page(), replace(page(found(said(1, "x"), relevance=0.1)), is_weak=True)):
        [embed] = page_embeds(each, ENGLISH)
        assert embed.description == ENGLISH.nothing_relevant
        assert "319 candidates" in (embed.footer.text or "")


def test_a_conversation_is_within_the_limits() -> None:
    around = [replace(said(number, "*tea* " * 400), author_name="*" * 100) for number in range(1, 12)]
    embed = conversation_embed(around, around[5], Face("ada"), ENGLISH)
    check_limits([embed])
    assert (embed.description or "").count("▸") == 1


@pytest.mark.parametrize(
    ("query", "word", "expected"),
    [
        ("teapots", "teapot", True),
        ("broken samovar", "Samovar's", True),
        ("when is tea", "is", False),
        ("tea", "team", False),
    ],
)
def test_words_of_the_question_are_marked_in_their_forms(query: str, word: str, expected: bool) -> None:
    assert terms_of(query)(word) is expected


@pytest.mark.parametrize(("share", "bar"), [(-1, "▱▱▱▱▱▱▱▱"), (0.5, "▰▰▰▰▱▱▱▱"), (7, "▰▰▰▰▰▰▰▰")])
def test_the_bar_stays_a_bar(share: float, bar: str) -> None:
    assert score_bar(share) == bar


def test_an_attachment_without_words_is_named() -> None:
    message = replace(said(1, ""), extra="menu.pdf", attachments=("menu.pdf",))
    assert "attached: menu.pdf" in (page_embeds(page(found(message)), ENGLISH)[0].description or "")


def test_the_console_shows_the_same() -> None:
    hits = (found(said(1, "tea is at five " * 60, author="Mia"), 1), found(said(2, "no tea"), 2))
    shown = console_text(Recall("tea", hits, TRACE), {20: "kitchen"}, neighbours=True)
    assert "1. Mia in #kitchen, 2025-03-01 18:01" in shown
    assert "319 candidates" in shown
    assert shown.endswith("\n")
    assert max(map(len, shown.splitlines())) <= 110
    assert "Nothing relevant" in console_text(Recall("tea", (), TRACE), {})


def test_every_text_is_translated_with_the_same_blanks() -> None:
    blanks = re.compile(r"\{\w+\}")
    for each in fields(Texts):
        english, german = getattr(ENGLISH, each.name), getattr(GERMAN, each.name)
        assert sorted(blanks.findall(english)) == sorted(blanks.findall(german)), each.name
        if each.name not in ("milliseconds", "reranked_of", "in_channel"):
            assert english != german, each.name
    assert texts_for(discord.Locale.german) is GERMAN
    assert texts_for("ja") is ENGLISH


def test_turns_come_back_with_time() -> None:
    now = 0.0
    turns = Turns(2, 10.0, clock=lambda: now)
    for _ in range(2):
        with turns.take(1, ENGLISH):
            pass
    with pytest.raises(Exception, match="Ask again in 10 s"), turns.take(1, ENGLISH):
        pass
    with turns.take(2, ENGLISH):
        pass
    now = 10.1
    with turns.take(1, ENGLISH):
        assert timedelta(seconds=now)
