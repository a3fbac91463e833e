"""Half of the people without the reranker, always the same half."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cogs.memory.ab_test import ABTest
from cogs.memory.memory_service import MemoryService
from cogs.memory.records import Scope
from profiles import load_profile
from tests.conftest import CHANNEL, GUILD, said
from tests.plugin_rerankers import PROFILE, WordReranker
from tests.tiny_models import chat_lines

if TYPE_CHECKING:
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder
    from profiles import MemoryProfile

SCOPE = Scope(GUILD, frozenset([CHANNEL]))
WITH_MODEL = replace(PROFILE, reranked_share=0.5, rerank_deadline_ms=None)


def person_on(side: str) -> int:
    test = ABTest(0.5)
    return next(user for user in range(1, 1000) if test.side(user) == side)


def test_the_halves_are_even_and_fixed() -> None:
    sides = [ABTest(0.5).side(user) for user in range(10_000)]
    assert 4800 < sides.count("B") < 5200
    assert sides == [ABTest(0.5).side(user) for user in range(10_000)]
    assert {ABTest(0.0).side(user) for user in range(100)} == {"A"}
    assert {ABTest(1.0).side(user) for user in range(100)} == {None}
    assert ABTest(0.5).side(None) is None


def test_whoever_was_on_side_b_stays_there_when_the_share_grows() -> None:
    few, many = ABTest(0.2), ABTest(0.6)
    assert all(many.side(user) == "B" for user in range(2000) if few.side(user) == "B")


@pytest.mark.parametrize(
    ("profile", "orders"),
    [
        (WITH_MODEL, {"A": "structure", "B": "words"}),
        (replace(load_profile("embedded"), reranked_share=0.5), {"A": "rrf", "B": "structure"}),
    ],
)
async def test_each_side_gets_its_order_and_is_counted_and_logged_without_text(
    tmp_path: Path,
    load_shared: LoadEncoder,
    caplog: pytest.LogCaptureFixture,
    profile: MemoryProfile,
    orders: dict[str, str],
) -> None:
    caplog.set_level(logging.INFO, "cogs.memory.ab_test")
    memory = MemoryService.on_folder(
        profile, tmp_path / "m", load=load_shared, load_reranker=lambda _: WordReranker(is_remote=True)
    )
    async with memory:
        await memory.remember([said(n, text) for n, text in enumerate(chat_lines(30), start=1)])
        await memory.queue.embedded()
        await memory.reranker.ready()
        for side, order in orders.items():
            for _ in range(2):
                recall = await memory.recall("bot server release", SCOPE, asker_id=person_on(side))
                assert recall.trace.reranker == order
        nobody = await memory.recall("bot server release", SCOPE)
        asked_for = await memory.recall("bot server release", SCOPE, order="keyword", asker_id=person_on("B"))
        statistics = memory.reranker.get_statistics()
    assert (nobody.trace.reranker, asked_for.trace.reranker) == (orders["B"], "keyword")
    assert (statistics["ab_a_questions"], statistics["ab_b_questions"]) == (2, 2)
    assert all(isinstance(statistics[f"ab_{side}_ms"], float) for side in "ab")
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("A/B test")]
    assert [line.split("side=")[1][0] for line in lines] == ["A", "A", "B", "B"]
    assert all(f"guild={GUILD} user={person_on(side)} " in line for side, line in zip("AABB", lines, strict=True))
    assert "release" not in caplog.text


async def test_without_a_test_nobody_is_counted(tmp_path: Path, load_shared: LoadEncoder) -> None:
    async with MemoryService.on_folder(load_profile("embedded"), tmp_path / "m", load=load_shared) as memory:
        await memory.remember([said(1, "the samovar is broken")])
        await memory.queue.embedded()
        recall = await memory.recall("samovar", SCOPE, asker_id=5)
        assert recall.trace.reranker == "structure"
        assert "ab_share" not in memory.reranker.get_statistics()
