"""What the last stage changes, and why that may be little."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cogs.memory.evaluation import EvaluationChannel, Outcome, Query, ingest
from cogs.memory.memory_service import MemoryService
from cogs.memory.rerank_diagnosis import diagnose
from cogs.memory.surface.cli.comparison import compare, show_comparison
from profiles import load_profile
from tests.conftest import said
from tests.plugin_rerankers import PROFILE, WordReranker
from tests.tiny_models import chat_lines

if TYPE_CHECKING:
    from cogs.memory.embedding_service import LoadEncoder
    from profiles import MemoryProfile


def outcome(number: int, found: list[int], right: int, *, p_yes: list[float] | None = None, of: int = 40) -> Outcome:
    scores = tuple((1.0 - place / 10, p_yes[place] if p_yes else None) for place in range(len(found)))
    scored = 0 if p_yes is None else of
    return Outcome(
        Query(f"q{number}", frozenset([right]), "all"), tuple(found), 1.0, scores, scored, 0 if p_yes is None else 40
    )


def test_changes_are_counted_and_the_biggest_shown_side_by_side() -> None:
    before = [outcome(1, [1, 2, 3], right=3), outcome(2, [4, 5, 6], right=4), outcome(3, [7, 8], right=7)]
    after = [
        outcome(1, [3, 2, 1], right=3, p_yes=[0.9, 0.5, 0.1]),
        outcome(2, [5, 4, 6], right=4, p_yes=[0.8, 0.7, 0.6]),
        outcome(3, [7, 8], right=7, p_yes=[0.9, 0.1]),
    ]
    found = diagnose(before, after)
    assert (found.questions, found.helped, found.hurt) == (3, 1, 1)
    assert found.top1_changed == pytest.approx(2 / 3)
    assert found.mean_move == pytest.approx((2 + 0 + 2 + 1 + 1 + 0 + 0 + 0) / 8)
    assert found.score_spread == pytest.approx((0.8 + 0.2 + 0.8) / 3)
    assert found.scored == 1.0
    assert [example.query for example in found.examples] == ["q1", "q2"]
    first = found.examples[0].moves[0]
    assert (first.message_id, first.is_relevant, first.rank_before, first.rank_after) == (3, True, 3, 1)
    assert first.score_before == pytest.approx(0.8)
    assert first.rerank_score == 0.9
    assert not found.is_weak
    assert found.causes() == []


@pytest.mark.parametrize(
    ("p_yes", "scored", "right", "cause"),
    [
        ([0.9, 0.1, 0.1], 20, 2, "The deadline left 50% of the candidates unscored"),
        ([0.51, 0.50, 0.50], 40, 2, "The model's scores hardly differ (0.010"),
        ([0.9, 0.1, 0.1], 40, 1, "The order before is nearly right already."),
        ([0.9, 0.1, 0.1], 40, 2, "It mostly agrees with the order before."),
    ],
)
def test_a_weak_effect_has_a_cause(p_yes: list[float], scored: int, right: int, cause: str) -> None:
    before = [outcome(1, [1, 2, 3], right=right)]
    found = diagnose(before, [outcome(1, [1, 2, 3], right=right, p_yes=p_yes, of=scored)])
    assert found.is_weak
    assert any(each.startswith(cause) for each in found.causes())


def test_two_sets_of_questions_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="the same questions"):
        diagnose([outcome(1, [1], right=1)], [outcome(2, [1], right=1)])
    with pytest.raises(ValueError, match="at least one"):
        diagnose([], [])


def channel() -> EvaluationChannel:
    messages = tuple(said(n, text, channel_id=1, guild_id=1) for n, text in enumerate(chat_lines(40), start=1))
    return EvaluationChannel(1, messages, (Query("bot server release", frozenset([3, 9]), "all"),))


@pytest.mark.parametrize(
    ("profile", "last", "before"),
    [(PROFILE, "reranker (words)", "structure"), (load_profile("embedded"), "structure", "fused (RRF)")],
)
async def test_every_stage_is_measured_with_the_model_last(  # noqa: PLR0917 - fixtures
    tmp_path: Path,
    load_shared: LoadEncoder,
    capsys: pytest.CaptureFixture[str],
    profile: MemoryProfile,
    last: str,
    before: str,
) -> None:
    memory = MemoryService.on_folder(
        profile, tmp_path / "m", load=load_shared, load_reranker=lambda _: WordReranker(is_remote=True)
    )
    async with memory:
        await ingest(memory, [channel()])
        await memory.reranker.ready()
        comparison = await compare(memory, Path("chat.json"), [channel()])
    assert list(comparison.stages)[-1] == comparison.after == last
    assert list(comparison.stages)[:4] == ["keyword (FTS5)", "vector (dense)", "fused (RRF)", "late interaction"]
    assert comparison.before == before
    assert all(list(m) == ["R@10", "hit@1", "MRR@5", "nDCG@5", "P@1"] for m in comparison.stages.values())
    capsys.readouterr()
    show_comparison(comparison, as_json=True)
    assert json.loads(capsys.readouterr().out)["stages"] == comparison.stages
    show_comparison(comparison, as_json=False)
