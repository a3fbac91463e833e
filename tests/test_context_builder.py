"""Context for replies: quoted, fenced, without copies, within its budget."""

from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.memory.context_builder import CLOSING, OPENING, MemoryContext, build_context, estimate_tokens
from cogs.memory.recall_records import RecalledMessage, RecallTrace
from cogs.memory.records import Scope
from tests.conftest import CHANNEL, GUILD, START, said
from tests.discord_reading import read
from tests.injection_corpus import NAMES, PAYLOADS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cogs.memory.memory_service import MemoryService

TRACE = RecallTrace((), 0, 0, 0, "structure", 1.0)
OTHER = CHANNEL + 1
HERE = Scope(GUILD, frozenset([CHANNEL]))


def recalled(
    message_id: int, content: str, relevance: float = 0.9, author: str = "Mia", **fields: Any
) -> RecalledMessage:
    return RecalledMessage(said(message_id, content, author=author, **fields), rank=1, score=1.0, relevance=relevance)


def context_of(
    *results: RecalledMessage,
    budget: int = 1000,
    per_author: int | None = None,
    count_tokens: Callable[[str], int] = estimate_tokens,
    **fields: Any,
) -> MemoryContext:
    context = build_context(
        results,
        TRACE,
        {CHANNEL: "general", OTHER: "garden"},
        token_budget=budget,
        least_relevance=0.5,
        per_author=per_author,
        count_tokens=count_tokens,
        **fields,
    )
    assert context.tokens <= budget
    assert context.tokens == (count_tokens(context.text) if context.text else 0)
    return context


def built(*results: RecalledMessage, **options: Any) -> str:
    return context_of(*results, **options).text


def lines(text: str) -> list[str]:
    return text.removeprefix(OPENING).removesuffix(CLOSING).splitlines()


def test_each_quote_says_who_where_and_when_in_order_of_time() -> None:
    text = built(recalled(7, "lemon cake then"), recalled(5, "allergic to nuts"))
    assert lines(text) == [
        "[1] Mia #general 1 Mar 2025: allergic to nuts",
        "[2] Mia #general 1 Mar 2025: lemon cake then",
    ]


def test_the_numbers_are_those_of_the_sources() -> None:
    context = context_of(recalled(7, "lemon cake then"), recalled(5, "allergic to nuts"))
    assert [source.message.id for source in context.sources] == [5, 7]
    assert context.reason == "found"


def test_todays_date_and_the_time_of_recent_messages_tell_their_age() -> None:
    old, new = recalled(1, "old"), recalled(2, "new", minutes=60 * 24 * 30)
    text = built(old, new, now=START + timedelta(days=30, hours=2))
    assert lines(text) == [
        "Today is 31 Mar 2025.",
        "[1] Mia #general 1 Mar 2025: old",
        "",
        "[2] Mia #general 31 Mar 2025 18:00: new",
    ]


def test_one_conversation_is_one_excerpt_whatever_the_rank() -> None:
    text = built(
        recalled(300, "much later"),
        recalled(2, "the kettle is in the shed", author="Tess"),
        recalled(4, "elsewhere", channel_id=OTHER),
        recalled(1, "where is the kettle?"),
    )
    assert [line.partition(": ")[2] for line in lines(text)] == [
        *("where is the kettle?", "the kettle is in the shed", ""),
        *("elsewhere", "", "much later"),
    ]


def test_a_reply_is_shown_with_what_it_replies_to() -> None:
    question = said(1, "who has the key?", author="Tess")
    answer = replace(recalled(90, "me", reply_to=1), replies=(question,))
    context = context_of(answer)
    assert lines(context.text) == [
        "[1] Tess #general 1 Mar 2025: who has the key?",
        "[2] Mia to [1] #general 1 Mar 2025: me",
    ]
    assert context.beside == {1}
    assert [source.relevance for source in context.sources] == [0.0, 0.9]


def test_what_was_said_beside_the_best_is_shown_if_it_belongs_to_the_conversation() -> None:
    near, far = said(4, "is it open?", author="Tess"), said(6, "unrelated", minutes=600)
    context = context_of(replace(recalled(5, "until eight"), before=(said(3, "x"), near), after=(far,)))
    assert [source.message.id for source in context.sources] == [4, 5]


def test_neighbours_outside_the_scope_are_not_shown() -> None:
    elsewhere = said(4, "the code is 4711", channel_id=OTHER)
    by_tess = said(6, "secret", author="Tess")
    result = replace(recalled(5, "what is the code?"), replies=(elsewhere,), after=(by_tess,))
    mia = result.message.author_id
    assert "4711" not in built(result, scope=HERE)
    assert "secret" in built(result, scope=HERE)
    assert "secret" not in built(result, scope=replace(HERE, author_ids=frozenset([mia])))
    assert "secret" not in built(result, scope=replace(HERE, before=by_tess.created_at))


def test_the_best_are_taken_while_the_budget_lasts() -> None:
    results = [recalled(n, f"message {n} " + "word " * 20, author=f"Mia{n}") for n in range(50, 0, -1)]
    text = built(*results, budget=300)
    assert "message 50 " in text
    assert "message 1 " not in text
    nothing = context_of(*results, budget=10)
    assert (nothing.text, nothing.reason) == ("", "no room")


def test_the_best_is_shortened_rather_than_left_out() -> None:
    text = built(
        recalled(1, "nothing here " * 60 + "the spare key is in the shed"), budget=130, keywords={"spare", "key"}
    )
    assert "spare key is in the shed" in text


def test_any_tokenizer_keeps_the_budget() -> None:
    def contrary(text: str) -> int:  # counts a whole higher than its parts
        return len(text) // 4 + text.count("\n") ** 2

    results = [recalled(n, f"message {n}", author=f"Mia{n}") for n in range(40)[1:]]
    assert context_of(*results, budget=400, count_tokens=contrary).sources


def test_without_a_relevant_result_there_is_nothing() -> None:
    context = context_of(recalled(1, "tea", relevance=0.4), recalled(2, "cake", relevance=0.1))
    assert (context.text, context.sources, context.reason) == ("", (), "nothing relevant")


def test_behind_a_relevant_result_only_noise_is_left_out() -> None:
    text = built(recalled(1, "tea"), recalled(2, "cake", relevance=0.1), recalled(3, "noise", relevance=0.01))
    assert "cake" in text
    assert "noise" not in text


def test_one_loud_author_leaves_room_for_others() -> None:
    loud = [recalled(n, f"opinion {n} about {chr(96 + n) * 5} " + "blah " * 9) for n in range(1, 26)]
    text = built(*loud, recalled(99, "tea", author="Tess"))
    assert "tea" in text
    capped = built(*loud, recalled(99, "tea", author="Tess"), per_author=2)
    assert capped.count("opinion") == 2
    assert "tea" in capped


@pytest.mark.parametrize("suffix", ["", " {n}", " {n}!!! 🎉"])
def test_fifty_copies_take_one_line(suffix: str) -> None:
    spam = "free skins for everyone who joins my server right now"
    copies = [
        replace(recalled(n, spam + suffix.format(n=n), author=f"bot{n}"), after=(said(n + 1, spam, author="x"),))
        for n in range(1, 51)
    ]
    text = built(*copies, recalled(99, "skins are sold at the market", author="Tess"))
    assert text.count("free skins") == 1
    assert "skins are sold" in text


def test_news_and_its_correction_are_both_shown() -> None:
    text = built(
        recalled(1, "the meeting is on thursday at eight in the big room"),
        recalled(2, "the meeting is on friday at eight in the big room"),
    )
    assert "thursday" in text
    assert "friday" in text


ROLE = re.compile(r"\b(?:system|assistant|user|human|developer|tool|function|model|ai)\s*[:：]", re.IGNORECASE)


@pytest.mark.parametrize("payload", [*PAYLOADS, *NAMES])
def test_a_payload_stays_a_quote_as_a_message_a_name_and_a_channel(payload: str) -> None:
    message = said(1, payload)
    everywhere = replace(message, author_name=payload)
    for quoted in (message, everywhere):
        result = RecalledMessage(quoted, rank=1, score=1.0, relevance=0.9)
        text = build_context(
            [result], TRACE, {CHANNEL: payload}, token_budget=1000, least_relevance=0.5, keywords={"obey"}
        ).text
        body = text.removeprefix(OPENING).removesuffix(CLOSING)
        assert text.count(CLOSING) == 1
        assert body.count("\n") == 1
        assert not re.search(r"[<>`|＜＞｜［］]", body)
        assert re.findall(r"\[.*?\]", body) == ["[1]"]
        assert not ROLE.search(body)
        reading = read(body)
        assert (reading.pings, reading.unfurled, reading.masked) == ([], [], [])


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 200), st.text(max_size=300), st.sampled_from("abc")), max_size=25),
    st.integers(0, 600),
)
def test_whatever_is_found_the_frame_holds(found: list[tuple[int, str, str]], budget: int) -> None:
    unique = {message_id: (content, author) for message_id, content, author in found}
    context = context_of(*(recalled(i, content, author=a) for i, (content, a) in unique.items()), budget=budget)
    if context.text:
        assert context.text.startswith(OPENING)
        assert context.text.endswith(CLOSING)
        numbered = [line for line in lines(context.text) if line]
        assert [line.split()[0] for line in numbered] == [f"[{n}]" for n in range(1, len(context.sources) + 1)]


class TestThroughTheMemory:
    async def test_a_reply_gets_what_its_readers_may_read(self, memory: MemoryService) -> None:
        await memory.remember([said(1, "the key is under the mat"), said(2, "the key code is 4711", channel_id=OTHER)])
        await memory.queue.embedded()
        context = await memory.build_context("where is the key?", HERE)
        assert [source.message.id for source in context.sources] == [1]
        assert "under the mat" in context.text
        assert "4711" not in context.text
        assert estimate_tokens(context.text) == context.tokens
        assert not (await memory.build_context("where is the key?", Scope(GUILD, frozenset()))).text

    async def test_what_the_gate_turns_away_gets_nothing(self, memory: MemoryService) -> None:
        await memory.remember([said(1, "thanks, the key is under the mat")])
        await memory.queue.embedded()
        asked = len(memory.recall_ms)
        context = await memory.build_context("thanks!", HERE)
        assert (context.text, context.sources, context.reason) == ("", (), "small talk")
        assert len(memory.recall_ms) == asked
        assert (await memory.build_context("thanks!", HERE, gate=False)).trace.candidates == 1

    async def test_the_message_that_asks_is_not_its_own_answer(self, memory: MemoryService) -> None:
        await memory.remember([said(1, "nice weather today"), said(2, "who broke the samovar?", author="Tess")])
        await memory.queue.embedded()
        with_itself = await memory.build_context("who broke the samovar?", HERE)
        assert {source.message.id for source in with_itself.sources} == {1, 2}
        context = await memory.build_context("who broke the samovar?", HERE, exclude=[2])
        assert (context.text, context.reason) == ("", "nothing relevant")

    async def test_a_question_about_something_else_gets_nothing(self, memory: MemoryService) -> None:
        await memory.remember([said(n, f"the tomatoes in bed {n} need water", author="Tess") for n in range(1, 20)])
        await memory.queue.embedded()
        context = await memory.build_context("which kernel version fixes the driver?", HERE)
        assert context.reason == "nothing relevant"

    async def test_a_flood_of_copies_does_not_push_the_answer_out(self, memory: MemoryService) -> None:
        flood = [said(n, f"free skins, who wants skins? join now {n}", author=f"bot{n}") for n in range(1, 51)]
        await memory.remember([said(99, "skins are sold at the market stall", author="Tess"), *flood])
        await memory.queue.embedded()
        context = await memory.build_context("where are skins sold?", HERE)
        assert context.text.count("free skins") == 1
        assert "market stall" in context.text

    async def test_a_memory_that_hangs_is_done_without(
        self, memory: MemoryService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await memory.remember([said(1, "the key is under the mat")])
        await memory.queue.embedded()
        monkeypatch.setattr(memory, "profile", replace(memory.profile, injection_deadline_ms=20))
        released = threading.Event()
        busy = asyncio.create_task(memory.worker.run(released.wait, 20))
        context = await memory.build_context("where is the key?", HERE)
        released.set()
        await busy
        assert (context.text, context.reason) == ("", "out of time")

    async def test_a_long_message_is_asked_by_its_question(self, memory: MemoryService) -> None:
        await memory.remember([said(1, "the key is under the mat")])
        await memory.queue.embedded()
        text = "what a day that was, " * 120 + "and where is the key?"
        assert (await memory.build_context(text, HERE)).trace.candidates == 1
