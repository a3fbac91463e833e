"""`/memory explain`, `instruction`, `evaluate` and the judgements behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cogs.memory.exceptions import StoreError
from cogs.memory.records import Scope
from cogs.memory.surface.commands.admin_ranking import PROGRESS_EVERY, merged
from cogs.memory.surface.markup import cut
from cogs.memory.surface.recall.explanation import one_line
from cogs.memory.surface.recall.judgements import (
    JUDGEMENTS_KEY,
    METRICS,
    JudgedEvaluation,
    Judgement,
    Judgements,
    evaluate_judged,
    judged_questions,
)

from .memory_house import MemoryHouse, memory_house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cogs.memory.memory_service import MemoryService
    from cogs.memory.records import StoredMessage

TALK = (
    "the samovar is broken since tuesday",
    "tea is at five in the kitchen",
    "who has the key to the shed?",
    "the key hangs behind the door of the shed",
)


@pytest.fixture
async def house(memory: MemoryService) -> AsyncIterator[MemoryHouse]:
    async with memory_house(memory) as opened:
        for text in TALK:
            await opened.say(opened.ada, text)
        yield opened


async def judge(house: MemoryHouse, query: str, about: StoredMessage, *, good: bool = True, by: int = 1) -> None:
    judgement = Judgement(query, about.id, about.channel_id, by, good=good)
    await house.services.judgements.add(house.guild.id, judgement)


async def test_explain_shows_the_place_of_each_result_in_each_stage(house: MemoryHouse) -> None:
    reply = await house.do(house.admin, "memory explain", query="where is the key to the shed?")
    [embed] = reply.embeds
    lines = embed["description"].split("```")[1].strip("\n").splitlines()
    assert lines[0].split() == ["#", "kw", "vec", "fused", "late", "message"]
    first = lines[1].split(maxsplit=5)
    assert first[0] == "1"
    assert all(cell == "–" or cell.isdigit() for cell in first[1:5])
    assert len(lines) == 1 + len(TALK)
    for part in ("keyword", "vector", "structure", " ms", "Without reranking"):
        assert part in reply.text


async def test_explain_shows_nothing_of_a_channel_that_the_asker_cannot_read(house: MemoryHouse) -> None:
    hidden = house.guild.text_channel("owners", only=[house.guild.role("owners")])
    await house.say(house.ada, "the shed key is xyzzy", channel=hidden)
    reply = await house.do(house.admin, "memory explain", query="shed key")
    assert "xyzzy" not in reply.text
    assert "shed" in reply.text


async def test_an_explained_message_cannot_break_out_of_the_table(house: MemoryHouse) -> None:
    await house.say(house.ada, "samovar ``` @everyone <@1> \n# big")
    reply = await house.do(house.admin, "memory explain", query="samovar")
    assert reply.embeds[0]["description"].count("```") == 2


async def test_explain_of_nothing_says_so(house: MemoryHouse) -> None:
    await house.services.erasure.forget_guild(house.guild.id)
    assert "Nothing is found" in (await house.do(house.admin, "memory explain", query="samovar")).text
    assert "at least one word" in (await house.do(house.admin, "memory explain", query="???")).text


def test_a_line_of_a_table_is_one_line_without_backticks(said_message: StoredMessage) -> None:
    line = one_line(said_message, 20)
    assert len(line) <= 20
    assert "\n" not in line
    assert "`" not in line
    assert cut("abcdef", 4) == "abc…"


@pytest.fixture
def said_message() -> StoredMessage:
    from tests.conftest import said

    return said(1, "a `b`\n\nc " * 50)


async def test_an_instruction_is_tried_confirmed_shown_and_cleared(house: MemoryHouse) -> None:
    assert "no instruction of its own" in (await house.do(house.admin, "memory instruction")).text
    reply = await house.do(house.admin, "memory instruction", text="find *keys*", query="key to the shed")
    assert "find \\*keys\\*" in reply.text
    assert "reads no instructions" in reply.text  # the embedded profile's late interaction does not
    assert reply.text.count("the key hangs behind the door") == 2  # with and without
    assert "both orders are the same" in reply.text
    assert (await house.services.settings.get(house.guild.id)).instruction is None
    assert (await house.press(reply, "Use it")).text == "The instruction is in use."
    assert "find" in (await house.do(house.admin, "memory instruction")).text
    assert (await house.services.settings.get(house.guild.id)).instruction == "find *keys*"
    await house.do(house.admin, "memory instruction", clear=True)
    assert (await house.services.settings.get(house.guild.id)).instruction is None


async def test_evaluate_measures_hits_of_judged_questions_with_and_without_reranking(house: MemoryHouse) -> None:
    tea, key = house.said[1], house.said[3]
    await judge(house, "when is tea?", tea)
    await judge(house, "where does the key hang?", key)
    await judge(house, "where does the key hang?", house.said[0], good=False)
    reply = await house.do(house.admin, "memory evaluate")
    assert "Judged questions asked: 2" in reply.text
    table = reply.embeds[0]["description"]
    for metric in METRICS:
        assert metric in table
    hit = next(line for line in table.splitlines() if line.startswith("hit@1"))
    assert hit.split()[1] == "1.000"
    assert "reranked" in table
    assert "bad first" in table


async def test_a_long_evaluation_shows_how_far_it_is(house: MemoryHouse) -> None:
    for number in range(PROGRESS_EVERY + 1):
        await judge(house, f"when is tea number {number}?", house.said[1])
    reply = await house.do(house.admin, "memory evaluate")
    await reply.until(lambda each: "Judged questions asked: 21" in each.text)
    assert f"{PROGRESS_EVERY} of 21 questions asked" in reply.versions[0].content


async def test_evaluate_without_judgements_says_what_to_do(house: MemoryHouse) -> None:
    await judge(house, "when is tea?", house.said[0], good=False)
    assert "Judge results" in (await house.do(house.admin, "memory evaluate")).text


async def test_evaluate_leaves_out_what_the_asker_cannot_read(house: MemoryHouse) -> None:
    await judge(house, "when is tea?", house.said[1])
    hidden = Judgement("what is hidden?", 77, 999, 1, good=True)
    await house.services.judgements.add(house.guild.id, hidden)
    reply = await house.do(house.admin, "memory evaluate")
    assert "Judged questions asked: 1" in reply.text
    assert "where you cannot read: 1" in reply.text


async def test_a_wrong_first_result_lowers_hit_at_1_and_the_reciprocal_rank(house: MemoryHouse) -> None:
    scope = Scope(house.guild.id, frozenset([house.general.id]))
    await judge(house, "where does the key hang?", house.said[0])  # nothing to do with it
    await judge(house, "where does the key hang?", house.said[3], good=False)
    questions = judged_questions(await house.services.judgements.of(house.guild.id))
    evaluation = await evaluate_judged(house.memory, scope, questions)
    assert evaluation.metrics["hit@1"] == 0
    assert 0 < evaluation.metrics["MRR@10"] < 1
    assert evaluation.bad_first == 1


def test_the_majority_decides_and_a_draw_decides_nothing() -> None:
    def by(user: int, *, good: bool, message: int = 1) -> Judgement:
        return Judgement("Tea?", message, 5, user, good=good)

    [question] = judged_questions([by(1, good=True), by(2, good=True), by(3, good=False), by(1, good=True, message=2)])
    assert question.good == {1, 2}
    [question] = judged_questions([by(1, good=True), by(2, good=False)])
    assert question.good == question.bad == frozenset()


async def test_a_later_verdict_of_the_same_person_replaces_the_earlier(house: MemoryHouse) -> None:
    await judge(house, "Tea?", house.said[1])
    await judge(house, "tea?", house.said[1], good=False)
    [kept] = await house.services.judgements.of(house.guild.id)
    assert not kept.good


async def test_judgements_by_and_about_a_user_go_with_them(house: MemoryHouse) -> None:
    noted = await house.say(house.admin, "noted")
    await judge(house, "by ada", noted, by=house.ada.id)
    await judge(house, "about ada", house.said[0], by=house.admin.id)
    await judge(house, "neither", noted, by=house.admin.id)
    assert await house.services.judgements.forget(house.guild.id, user_id=house.ada.id) == 2
    assert [each.query for each in await house.services.judgements.of(house.guild.id)] == ["neither"]


async def test_damaged_judgements_raise_and_any_erasure_removes_them(house: MemoryHouse) -> None:
    await house.memory.store.put_setting(house.guild.id, JUDGEMENTS_KEY, '[{"query": 1}]')
    judgements = Judgements(house.memory.store)
    with pytest.raises(StoreError, match="damaged"):
        await judgements.of(house.guild.id)
    await judgements.forget(house.guild.id, user_id=5)
    assert await judgements.of(house.guild.id) == []


def test_parts_of_an_evaluation_count_by_their_questions() -> None:
    part = JudgedEvaluation(3, dict.fromkeys(METRICS, 1.0), 0.0)
    other = JudgedEvaluation(1, dict.fromkeys(METRICS, 0.0), 1.0)
    whole = merged([part, other])
    assert whole.questions == 4
    assert whole.metrics == dict.fromkeys(METRICS, 0.75)
    assert whole.bad_first == 0.25
