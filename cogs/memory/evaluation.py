"""Measures recall on labelled chat, through the very path that answers `/recall`.

Files are ``recall-eval/1``: ``{"format", "name", "channels": [{"id", "messages": [{"id", "author", "content",
"timestamp", "reply_to"?}], "questions": [{"query", "relevant": [ids], "category"?}]}]}``, messages in order. Each
channel is searched on its own. The category ``adversarial`` (the question names the wrong person) is reported apart.
Metrics are macro means over questions with binary gains; the ideal of nDCG@10 is min(relevant, 10) hits.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cogs.memory.cleaning import clean_name, clean_text
from cogs.memory.exceptions import InvalidEvaluationFile, InvalidQuery
from cogs.memory.records import Scope, StoredMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cogs.memory.memory_service import MemoryService
    from cogs.memory.reranker_service import Order

FORMAT = "recall-eval/1"
GUILD = 1
DEPTH = 50
"""Results asked for, so that R@50 can be told."""
METRICS = ("R@1", "R@5", "R@10", "R@20", "R@50", "hit@1", "hit@10", "MRR@10", "nDCG@10")
COMPARE_METRICS = ("R@10", "hit@1", "MRR@5", "nDCG@5", "P@1")


@dataclass(frozen=True, slots=True)
class Query:
    """A question with the ids of the messages that answer it."""

    text: str
    relevant: frozenset[int]
    category: str


@dataclass(frozen=True, slots=True)
class EvaluationChannel:
    """A channel's messages and questions, with ids as the store wants them."""

    channel_id: int
    messages: tuple[StoredMessage, ...]
    queries: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question's answer."""

    query: Query
    found: tuple[int, ...]
    milliseconds: float
    scores: tuple[tuple[float, float | None], ...] = ()
    """Of each that was found: what the order rests on, and P(yes) of the reranker model, None without one."""
    reranked: int = 0
    """Candidates that the model scored, of those that it was meant to."""
    rerank_of: int = 0


def read_evaluation(path: Path) -> list[EvaluationChannel]:
    """Read a file.

    Raises:
        InvalidEvaluationFile: it cannot be read or is not in the format; the sentence says where.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidEvaluationFile(f"{path.name} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidEvaluationFile(f"{path.name} is not valid JSON.") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InvalidEvaluationFile(f'{path.name} is not an evaluation file: its "format" is not "{FORMAT}".')
    channels: list[EvaluationChannel] = []
    authors: dict[str, int] = {}
    offset = 0
    if not isinstance(data.get("channels"), list):
        raise InvalidEvaluationFile(f'{path.name} has no list of "channels".')
    for number, channel in enumerate(data["channels"], start=1):
        try:
            channels.append(_channel(number, offset, channel, authors))
        except KeyError as error:
            raise InvalidEvaluationFile(f"{path.name}: channel {number} is malformed (it lacks {error}).") from error
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidEvaluationFile(f"{path.name}: channel {number} is malformed ({error}).") from error
        offset += len(channels[-1].messages)
    if not any(channel.queries for channel in channels):
        raise InvalidEvaluationFile(f"{path.name} holds no questions.")
    return channels


def _channel(number: int, offset: int, data: dict[str, Any], authors: dict[str, int]) -> EvaluationChannel:
    ids = {str(m["id"]): offset + place for place, m in enumerate(data["messages"], start=1)}
    messages = []
    for m in data["messages"]:
        name = clean_name(str(m["author"]))
        created_at = datetime.fromisoformat(m["timestamp"])
        messages.append(
            StoredMessage(
                id=ids[str(m["id"])],
                guild_id=GUILD,
                channel_id=number,
                author_id=authors.setdefault(name, len(authors) + 1),
                author_name=name,
                content=clean_text(str(m["content"])),
                created_at=created_at if created_at.tzinfo else created_at.astimezone(),
                reply_to=ids.get(str(m.get("reply_to"))),
            )
        )
    queries = tuple(_query(q, ids) for q in data.get("questions", ()) if q["relevant"])
    return EvaluationChannel(number, tuple(messages), queries)


def _query(data: dict[str, Any], ids: Mapping[str, int]) -> Query:
    missing = [str(relevant) for relevant in data["relevant"] if str(relevant) not in ids]
    if missing:
        raise ValueError(f"a question names the message {missing[0]}, which is not in the channel")
    relevant = frozenset(ids[str(relevant)] for relevant in data["relevant"])
    return Query(str(data["query"]), relevant, str(data.get("category") or "all"))


def metrics_of(outcomes: Sequence[Outcome], names: Iterable[str] = METRICS) -> dict[str, float]:
    """Return macro means, 0–1."""
    return {
        name: round(sum(_metric(name, o.found, o.query.relevant) for o in outcomes) / len(outcomes), 4)
        for name in names
    }


def _metric(name: str, found: Sequence[int], relevant: frozenset[int]) -> float:
    kind, depth = name.split("@")
    k = int(depth)
    top = found[:k]
    if kind == "R":
        return len(relevant.intersection(top)) / len(relevant)
    if kind == "P":
        return len(relevant.intersection(top)) / k
    if kind == "hit":
        return float(bool(relevant.intersection(top)))
    ranks = [rank for rank, message_id in enumerate(top, start=1) if message_id in relevant]
    if kind == "MRR":
        return 1 / ranks[0] if ranks else 0.0
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(relevant), k) + 1))
    return sum(1 / math.log2(rank + 1) for rank in ranks) / ideal


async def ingest(memory: MemoryService, channels: Sequence[EvaluationChannel]) -> float:
    """Store and embed all messages; return messages per second, end to end."""
    start = time.perf_counter()
    for channel in channels:
        await memory.remember(channel.messages)
    await memory.queue.embedded()
    return sum(len(channel.messages) for channel in channels) / (time.perf_counter() - start)


async def ask(
    memory: MemoryService,
    channels: Sequence[EvaluationChannel],
    *,
    order: Order | None = None,
    progress: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Put every question to the memory, one after the other."""
    outcomes: list[Outcome] = []
    for channel in channels:
        scope = Scope(GUILD, frozenset([channel.channel_id]))
        for query in channel.queries:
            outcomes.append(await _answer(memory, query, scope, order))
            progress()
    return outcomes


async def _answer(memory: MemoryService, query: Query, scope: Scope, order: Order | None) -> Outcome:
    start = time.perf_counter()
    try:
        recall = await memory.recall(query.text, scope, limit=DEPTH, order=order, collapse=False)
    except InvalidQuery:
        return Outcome(query, (), (time.perf_counter() - start) * 1000)
    return Outcome(
        query,
        tuple(result.message.id for result in recall.results),
        (time.perf_counter() - start) * 1000,
        tuple((result.score, result.rerank_score) for result in recall.results),
        recall.trace.reranked,
        recall.trace.rerank_of,
    )


def report(name: str, profile: str, reranker: str, outcomes: Sequence[Outcome], ingest_rate: float) -> dict[str, Any]:
    """Return the result of one file as the JSON object that ``evaluate --json`` prints."""
    regular = [o for o in outcomes if o.query.category != "adversarial"]
    adversarial = [o for o in outcomes if o.query.category == "adversarial"]
    by_category: defaultdict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_category[outcome.query.category].append(outcome)
    times = sorted(outcome.milliseconds for outcome in outcomes)
    return {
        "file": name,
        "profile": profile,
        "reranker": reranker,
        "n": len(regular),
        "all": metrics_of(regular or outcomes),
        "by_category": {
            c: {"n": len(o), **metrics_of(o)} for c, o in sorted(by_category.items()) if c != "adversarial"
        },
        "adversarial": {"n": len(adversarial), **metrics_of(adversarial)} if adversarial else None,
        "ingest_messages_per_s": round(ingest_rate, 1),
        "recall_ms": {"p50": percentile(times, 50), "p95": percentile(times, 95)},
    }


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile of sorted values, rounded to 0.01."""
    rank = max(1, math.ceil(len(ordered) * percent / 100))
    return round(ordered[rank - 1], 2) if ordered else 0.0


class TemporaryFolder:
    """A data folder of its own for one evaluation, removed afterwards."""

    def __enter__(self) -> Path:
        self._folder = tempfile.TemporaryDirectory(prefix="memory-evaluation-", ignore_cleanup_errors=True)
        return Path(self._folder.name) / "data"

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()
