"""The metrics against their definitions, and the files that are refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cogs.memory.evaluation import METRICS, Outcome, Query, ask, ingest, metrics_of, percentile, read_evaluation, report
from cogs.memory.exceptions import InvalidEvaluationFile

if TYPE_CHECKING:
    from cogs.memory.memory_service import MemoryService

SAMPLE = Path(__file__).parents[1] / "data" / "sample" / "questions.json"


def outcome(found: list[int], relevant: set[int], category: str = "all") -> Outcome:
    return Outcome(Query("q", frozenset(relevant), category), tuple(found), 1.0)


def test_metrics_equal_their_definitions() -> None:
    found = metrics_of(
        [outcome([9, 1, 8, 2], {1, 2, 3}), outcome([], {5})], (*METRICS, "MRR@5", "nDCG@5", "P@1", "P@5")
    )
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert found["R@1"] == 0
    assert found["R@5"] == pytest.approx((2 / 3) / 2, abs=1e-4)
    assert found["hit@10"] == 0.5
    assert found["hit@1"] == 0
    assert found["MRR@10"] == found["MRR@5"] == 0.25
    assert found["nDCG@10"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal / 2, abs=1e-4)
    assert found["P@5"] == pytest.approx(0.2)


def test_an_order_that_is_perfect_scores_one() -> None:
    perfect = metrics_of([outcome([1, 2, 3], {1, 2, 3})])
    assert perfect == {**dict.fromkeys(METRICS, 1.0), "R@1": pytest.approx(1 / 3, abs=1e-4)}


def test_adversarial_questions_are_reported_apart() -> None:
    outcomes = [outcome([1], {1}, "fact"), outcome([2], {1}, "adversarial")]
    result = report("f.json", "embedded", "structure", outcomes, 100.0)
    assert result["n"] == 1
    assert result["all"]["hit@1"] == 1
    assert result["adversarial"]["hit@1"] == 0
    assert set(result["by_category"]) == {"fact"}
    assert set(result["all"]) == set(METRICS)
    assert set(result) == {
        *("file", "profile", "reranker", "n", "all", "by_category", "adversarial"),
        *("ingest_messages_per_s", "recall_ms"),
    }
    assert report("f", "p", "r", outcomes[:1], 1.0)["adversarial"] is None


def test_percentiles_are_nearest_rank() -> None:
    assert percentile([1, 2, 3, 4], 50) == 2
    assert percentile([1, 2, 3, 4], 95) == 4
    assert percentile([], 50) == 0


async def test_the_sample_questions_are_answered(memory: MemoryService) -> None:
    channels = [channel for channel in read_evaluation(SAMPLE) if len(channel.messages) < 80]
    assert await ingest(memory, channels) > 0
    result = metrics_of(await ask(memory, channels), ("R@10", "hit@1"))
    plain = metrics_of(await ask(memory, channels, order="rrf"), ("R@10", "hit@1"))
    assert result["R@10"] > 0.6
    assert result["R@10"] > plain["R@10"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("nonsense", "not valid JSON"),
        ("[]", "not an evaluation file"),
        (json.dumps({"format": "recall-eval/2"}), "not an evaluation file"),
        (json.dumps({"format": "recall-eval/1", "channels": []}), "no questions"),
        (
            json.dumps({"format": "recall-eval/1", "channels": [{"id": "a"}]}),
            "channel 1 is malformed .it lacks 'messages'",
        ),
        (json.dumps({"format": "recall-eval/1", "channels": 5}), "has no list"),
        ("[" * 100_000, "is not valid JSON"),
        (
            json.dumps(
                {
                    "format": "recall-eval/1",
                    "channels": [{"messages": [], "questions": [{"query": "x", "relevant": ["9"]}]}],
                }
            ),
            "channel 1 is malformed",
        ),
    ],
)
def test_a_foreign_file_is_refused_with_a_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(InvalidEvaluationFile, match=sentence):
        read_evaluation(path)
