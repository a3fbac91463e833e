"""Reranking of plain records, for any program: no Discord, no store, no event loop of its own.

    rerank_results          dicts                     → dicts with rerank_score
    rerank_memories         texts                     → (text, score)
    rerank_memory_results   dicts, objects or texts   → dicts with rerank_score and rerank_rank
    batch_rerank            many queries, in one run  → what the single calls give
    retrieve_with_rerank    a query                   → retrieve many, keep the best few

All of them rest on one abstract method, `RecordReranking._score`. Scores are P(yes), 0–1. No score ever means an error:
what could not be scored says so, and stands behind the rest in the order in which it was retrieved.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypedDict, overload

from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.qwen3_prompt import DEFAULT_INSTRUCTION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    Retrieve = Callable[[str, int], Awaitable[Sequence[Any]]]
    """(query, how many) → records, the best first."""

NEUTRAL = 0.5
"""Score of a text that could not be scored, where a result has no room to say so."""

RETRIEVED = 100
"""Candidates that `RecordReranking.retrieve_with_rerank` reads."""

_TEXT_FIELDS = ("content", "text", "page_content")


class RankedDocument(TypedDict):
    """One result of `RecordReranking.retrieve_with_rerank`."""

    document: Any
    """The record as it was retrieved."""
    score: float | None
    """P(yes), 0–1; None if it could not be scored."""
    original_rank: int
    """Its place among what was retrieved, 1 is best."""
    final_rank: int
    """Its place now, 1 is best."""


class RecordReranking(ABC):
    """What ranks pairs can rank records of any shape; an ``async with`` block cleans up at its end."""

    @abstractmethod
    async def _score(self, pairs: Sequence[Pair]) -> tuple[list[float], str | None]:
        """Return the log-odds of each pair (NaN where there is none), and why some are missing."""

    @abstractmethod
    async def close(self) -> None:
        """Free the models; may be called twice."""

    async def rerank_results(
        self,
        query: str,
        candidates: Iterable[Mapping[str, Any]],
        score_field: str = "content",
        top_k: int | None = None,
        instruction: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return copies of ``candidates`` sorted by their added ``rerank_score`` (0–1), best first.

        With a model the score is its P(yes); without one it is late interaction of the embedder. A candidate that could
        not be scored has the score None and a ``rerank_degraded`` sentence, and stands behind the others in its order.

        Args:
            query: the question.
            candidates: records of any shape, in retrieval order; ties keep it.
            score_field: the key of the text to be scored; a record without it counts as empty.
            top_k: how many to return; None for all.
            instruction: what "relevant" means, for models that read one; None for the one they were trained with.

        Raises:
            TypeError: the query is no text, or a candidate is no mapping.
            ValueError: ``top_k`` is not a whole number from 0 up.
            ModelError: the model cannot be loaded.
        """
        records = listed(candidates)
        [ranked] = await self._rank([query], [[_field(record, score_field) for record in records]], top_k, instruction)
        return [ranked.described(records[place], place) for place in ranked.order]

    async def rerank_memories(
        self, query: str, memories: Iterable[Any], instruction: str | None = None, top_k: int | None = None
    ) -> list[tuple[str, float]]:
        """Return ``(text, score 0–1)`` for each memory, best first.

        A memory is a text, or has one as `text_of` finds it. If scoring fails, all stand in the order given, each with
        the neutral score 0.5; `rerank_memory_results` says why.

        Raises:
            TypeError: the query is no text, or ``memories`` is a single one.
            ValueError: ``top_k`` is not a whole number from 0 up.
            ModelError: the model cannot be loaded.
        """
        texts = [text_of(memory) for memory in listed(memories)]
        [ranked] = await self._rank([query], [texts], top_k, instruction)
        return [(texts[place], ranked.score_or_neutral(place)) for place in ranked.order]

    async def rerank_memory_results(
        self, query: str, memory_results: Iterable[Any], instruction: str | None = None, top_k: int | None = None
    ) -> list[dict[str, Any]]:
        """Return copies of the records with ``rerank_score`` (0–1) and ``rerank_rank`` (1 is best), best first.

        A mapping keeps all its fields; of any other record the result is ``{"memory": record, "content": its text}``.
        If scoring fails, the order is that given, and each result has the score 0.5 and a ``rerank_degraded`` sentence.

        Raises:
            TypeError: the query is no text.
            ValueError: ``top_k`` is not a whole number from 0 up.
            ModelError: the model cannot be loaded.
        """
        records = listed(memory_results)
        [ranked] = await self._rank([query], [[text_of(record) for record in records]], top_k, instruction)
        return [
            {
                **ranked.described(_as_mapping(records[place]), place),
                "rerank_score": ranked.score_or_neutral(place),
                "rerank_rank": rank,
            }
            for rank, place in enumerate(ranked.order, start=1)
        ]

    @overload
    async def batch_rerank(
        self,
        queries: Sequence[str],
        batches: Sequence[Sequence[str]],
        score_field: str = "content",
        top_k: int | None = None,
        instruction: str | None = None,
    ) -> list[list[tuple[str, float]]]: ...

    @overload
    async def batch_rerank(
        self,
        queries: Sequence[str],
        batches: Sequence[Sequence[Mapping[str, Any]]],
        score_field: str = "content",
        top_k: int | None = None,
        instruction: str | None = None,
    ) -> list[list[dict[str, Any]]]: ...

    async def batch_rerank(
        self,
        queries: Sequence[str],
        batches: Sequence[Sequence[str]] | Sequence[Sequence[Mapping[str, Any]]],
        score_field: str = "content",
        top_k: int | None = None,
        instruction: str | None = None,
    ) -> list[list[tuple[str, float]]] | list[list[dict[str, Any]]]:
        """Rank several queries, each with its own candidates, in one run of the model.

        Candidates that are mappings give what `rerank_results` gives; texts give what `rerank_memories` gives.

        Raises:
            TypeError: a query is no text, or a candidate is neither a mapping nor a text.
            ValueError: there are not as many batches as queries, or ``top_k`` is not a whole number from 0 up.
            ModelError: the model cannot be loaded.
        """
        queries, lists = listed(queries), [listed(batch) for batch in listed(batches)]
        if len(queries) != len(lists):
            raise ValueError(f"{len(queries)} queries but {len(lists)} lists of candidates; they must be as many")
        texts = [[each if isinstance(each, str) else _field(each, score_field) for each in batch] for batch in lists]
        ranked = await self._rank(queries, texts, top_k, instruction)
        results: list[list[Any]] = [
            [
                (batch[place], each.score_or_neutral(place))
                if isinstance(batch[place], str)
                else each.described(batch[place], place)
                for place in each.order
            ]
            for each, batch in zip(ranked, lists, strict=True)
        ]
        return results

    async def retrieve_with_rerank(
        self,
        query: str,
        top_k: int = 3,
        *,
        retrieve: Retrieve,
        candidates: int = RETRIEVED,
        instruction: str | None = None,
    ) -> list[RankedDocument]:
        """Retrieve many candidates, rerank them, return the best few.

        Args:
            query: the question.
            top_k: how many to return.
            retrieve: the first stage: ``await retrieve(query, candidates)`` gives records, best first; their texts are
                found as `text_of` does.
            candidates: how many to ask it for.
            instruction: as in `rerank_results`.

        Raises:
            TypeError: the query is no text.
            ValueError: ``top_k`` is not a whole number from 0 up.
            ModelError: the model cannot be loaded.
        """
        _check(query, top_k)
        documents = list(await retrieve(query, candidates))
        [ranked] = await self._rank([query], [[text_of(document) for document in documents]], top_k, instruction)
        return [
            RankedDocument(
                document=documents[place], score=ranked.score(place), original_rank=place + 1, final_rank=final_rank
            )
            for final_rank, place in enumerate(ranked.order, start=1)
        ]

    async def cleanup(self) -> None:
        """Free the models: `close` by another name."""
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _rank(
        self, queries: Sequence[str], batches: Sequence[Sequence[str]], top_k: int | None, instruction: str | None
    ) -> list[_Ranked]:
        for query in queries:
            _check(query, top_k)
        pairs = [
            Pair(query, text, instruction or DEFAULT_INSTRUCTION)
            for query, texts in zip(queries, batches, strict=True)
            for text in texts
        ]
        log_odds, degraded = await self._score(pairs) if pairs else ([], None)
        rest = iter(log_odds)
        return [_Ranked([next(rest) for _ in texts], degraded, top_k) for texts in batches]


class _Ranked:
    """The order of one query's candidates: by falling log-odds, ties and what has none as they were retrieved."""

    def __init__(self, log_odds: Sequence[float], degraded: str | None, top_k: int | None) -> None:
        self._log_odds = log_odds
        self._degraded = degraded
        places = range(len(log_odds))
        self.order = sorted(places, key=lambda i: -log_odds[i] if math.isfinite(log_odds[i]) else math.inf)[:top_k]

    def score(self, place: int) -> float | None:
        log_odds = self._log_odds[place]
        return probability(log_odds) if math.isfinite(log_odds) else None

    def score_or_neutral(self, place: int) -> float:
        score = self.score(place)
        return NEUTRAL if score is None else score

    def described(self, record: Mapping[str, Any], place: int) -> dict[str, Any]:
        note = {"rerank_degraded": self._degraded} if self._degraded else {}
        return {**record, "rerank_score": self.score(place), **note}


def text_of(record: object) -> str:
    """Return the text of a record: itself, or what it has as content, text or page_content; empty if it has none."""
    if isinstance(record, str):
        return record
    for field in _TEXT_FIELDS:
        value = record.get(field) if isinstance(record, Mapping) else getattr(record, field, None)
        if value is not None:
            return str(value)
    return ""


def probability(log_odds: float) -> float:
    """Return P(yes) = softmax([no, yes])[yes] = sigmoid(logit_yes − logit_no)."""
    return 1 / (1 + math.exp(-log_odds)) if log_odds >= 0 else math.exp(log_odds) / (1 + math.exp(log_odds))


def _field(record: object, field: str) -> str:
    if not isinstance(record, Mapping):
        kind = type(record).__name__
        raise TypeError(
            f"a candidate must be a mapping, such as a dict with its text under {field!r}; this is a {kind}"
        )
    value = record.get(field)
    return "" if value is None else str(value)


def _as_mapping(record: object) -> Mapping[str, Any]:
    return record if isinstance(record, Mapping) else {"memory": record, "content": text_of(record)}


def listed(records: Iterable[Any]) -> list[Any]:
    """Return records as a list. Raises TypeError for a single text or record: its letters or keys would be ranked."""
    if isinstance(records, str | bytes | Mapping):
        raise TypeError(f"several texts or records are expected, not one {type(records).__name__}")
    return list(records)


def _check(query: object, top_k: object) -> None:
    if not isinstance(query, str):
        raise TypeError(f"a query must be a text, not a {type(query).__name__}")
    if top_k is not None and (not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 0):
        raise ValueError(f"top_k must be a whole number from 0 up, or None for all; it is {top_k!r}")
