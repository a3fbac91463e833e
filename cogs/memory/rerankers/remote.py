"""A reranker behind HTTP: vLLM, Infinity, llama.cpp, Text Embeddings Inference, or a service that speaks like them.

    shape "cohere"  POST /v1/rerank {model, query, documents, top_n} → {results: [{index, relevance_score}]}
    shape "tei"     POST /rerank {query, texts}                      → [{index, score}]

Such a server may answer 200 and nonsense: with a missing chat template or a random classification head it scores
noise. So it is asked four questions at the start whose answers are plain, and refused when it mixes them up.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import numpy as np

from cogs.memory.exceptions import ModelError, ModelUnavailable
from cogs.memory.json_client import JsonClient, RequestFailed
from cogs.memory.rerankers.distinct import Distinct, collected
from cogs.memory.rerankers.proof import SelfTest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from cogs.memory.rerankers import Pair
    from cogs.memory.rerankers.distinct import ScoredPlaces

T = TypeVar("T")

log = logging.getLogger(__name__)

Shape = Literal["cohere", "tei"]
Scale = Literal["probability", "log-odds"]

MAX_BATCH: Final = 32
"""Documents in one request: what Text Embeddings Inference takes unless told otherwise."""

_MARGIN: Final = 1e-7
"""Probabilities are kept so far from 0 and 1, which puts their log-odds between −16.1 and 16.1."""

_LARGEST: Final = 1e6
"""Log-odds are kept so small: what is finite as the server's number must be so in float32."""

_CHARACTERS_PER_TOKEN: Final = 4

_START_LIMIT_S: Final = 10.0
"""Seconds that a server has for its first answer at least: many load their model then."""

CANARIES: Final = (
    ("Which planet is known as the Red Planet?", "Mars is the planet that is known as the Red Planet."),
    ("What is the capital of France?", "Paris has been the capital of France for a thousand years."),
    ("How can I read a CSV file in Python?", "To read a CSV file in Python, import csv and use csv.reader."),
    ("When does the library open on Sunday?", "On Sunday the library does not open before noon."),
)
"""Questions with their answers; to each question the answers of the others are wrong."""


@dataclass(frozen=True, slots=True)
class _Protocol:
    """How one shape of server is spoken to."""

    route: str
    texts_key: str
    score_key: str


_PROTOCOLS: Final[dict[Shape, _Protocol]] = {
    "cohere": _Protocol("v1/rerank", "documents", "relevance_score"),
    "tei": _Protocol("rerank", "texts", "score"),
}


class RemoteReranker:
    """Scores pairs on a server; make one with `load`. Not thread-safe: one call at a time.

    It waits for the network and computes nothing, so it needs no turn on the thread that models work on.

    The instruction of a pair stays here: neither shape has a place for it, the server's own template decides.
    After a run of failures the server is left alone for 30 seconds; before it is trusted again it must answer the
    four questions again, as it may have come back with another model.
    """

    is_remote = True

    def __init__(
        self,
        client: JsonClient,
        *,
        shape: Shape,
        model: str,
        batch: int = MAX_BATCH,
        time_limit_s: float = 10.0,
        max_characters: int = 32_768,
    ) -> None:
        self.shape = shape
        self.model = model
        self.scale: Scale = "probability"
        self._is_proven = False
        self._client = client
        self._batch = max(1, min(batch, MAX_BATCH))
        self._time_limit_s = time_limit_s
        self._max_characters = max_characters

    @classmethod
    def load(
        cls,
        url: str,
        *,
        model: str,
        shape: Literal["auto"] | Shape = "auto",
        api_key: str | None = None,
        batch: int = MAX_BATCH,
        time_limit_s: float = 10.0,
        max_length: int = 8192,
        client: JsonClient | None = None,
    ) -> RemoteReranker:
        """Connect, find out how the server speaks, and have it prove that it ranks.

        Args:
            url: the server's address, without the route.
            model: the name by which the server knows its model; unused by the "tei" shape, which serves only one.
            shape: how the server speaks; "auto" tries "cohere", then "tei".
            api_key: sent as a bearer token.
            batch: documents in one request, at most 32.
            time_limit_s: seconds for one call with all its requests and their repetitions.
            max_length: tokens of a document, about: so much of a longer one is sent.
            client: the connection to use in place of a new one.

        Raises:
            ModelUnavailable: it cannot be reached, speaks neither shape, or ranks plain examples wrongly.
        """
        client = client or JsonClient(url, what="rerank server", api_key=api_key)
        shapes: tuple[Shape, ...] = ("cohere", "tei") if shape == "auto" else (shape,)
        try:
            for candidate in shapes:
                reranker = cls(
                    client,
                    shape=candidate,
                    model=model,
                    batch=batch,
                    time_limit_s=time_limit_s,
                    max_characters=max_length * _CHARACTERS_PER_TOKEN,
                )
                if reranker._has_route():
                    reranker.prove(client.deadline(max(time_limit_s, _START_LIMIT_S)))
                    log.info("rerank server: shape %s, scores are %s", reranker.shape, reranker.scale)
                    return reranker
            routes = " nor ".join(f"/{_PROTOCOLS[candidate].route}" for candidate in shapes)
            raise ModelUnavailable(f"The rerank server at {client.address} knows no {routes}.")
        except ModelError as error:
            client.close()
            raise ModelUnavailable(str(error)) from error

    @property
    def key(self) -> str:
        """Address, model, shape and scale: scores of different keys must not be mixed."""
        return f"remote:{self._client.address}:{self.model}:{self.shape}:{self.scale}:{self._max_characters}"

    def token_counts(self, pairs: Sequence[Pair]) -> list[int]:
        """Estimate how many tokens each document costs, at four bytes a token: the server has the tokenizer."""
        return [1 + min(len(pair.document.encode("utf-8", "replace")), self._max_characters) // 4 for pair in pairs]

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Return the log-odds of each pair, (len(pairs),), in order.

        Raises:
            RequestFailed: a `ScoringFailed`; not every pair got a finite score in time.
        """
        return collected(len(pairs), self.score_chunks(pairs))

    def score_chunks(self, pairs: Sequence[Pair]) -> Iterator[ScoredPlaces]:
        """Score request by request, so that a caller may stop at any point; a repeated pair is sent once.

        Yields:
            The places in ``pairs`` that one request scored, and their log-odds.

        Raises:
            RequestFailed: as `score`.
        """
        deadline = self._client.deadline(self._time_limit_s)
        if pairs and (self._client.breaker.has_tripped or not self._is_proven):
            self._prove_again(deadline)
        distinct = Distinct([(pair.query, self._cut(pair.document)) for pair in pairs])
        by_query: dict[str, list[int]] = {}
        for number, (query, _) in enumerate(distinct.items):
            by_query.setdefault(query, []).append(number)
        for query, numbers in by_query.items():
            for start in range(0, len(numbers), self._batch):
                part = numbers[start : start + self._batch]
                texts = [distinct.items[number][1] for number in part]
                yield distinct.scored(part, self._ask(query, texts, deadline, self._log_odds))

    def prove(self, deadline: float | None = None) -> None:
        """Ask the questions whose answers are known, and learn whether scores are probabilities or log-odds.

        Raises:
            ModelUnavailable: a wrong answer scores as high as the right one.
            RequestFailed: no usable answer in time.
        """
        self._is_proven = False
        deadline = self._client.deadline(self._time_limit_s) if deadline is None else deadline
        answers = [answer for _, answer in CANARIES]
        table = np.array([self._ask(question, answers, deadline, list) for question, _ in CANARIES])
        right = np.diag(table)  # table: (question, answer)
        wrong = np.where(np.eye(len(CANARIES), dtype=bool), -np.inf, table).max(axis=1)
        if failed := int((right <= wrong).sum()):
            raise ModelUnavailable(
                f"The rerank server ranks {failed} of {len(CANARIES)} plain examples wrongly. "
                "Is its model a reranker, and has it the model's own prompt template?"
            )
        self.scale = "probability" if table.min() >= -_MARGIN and table.max() <= 1 + _MARGIN else "log-odds"
        self._is_proven = True

    def self_test(self) -> SelfTest:
        """Ask the questions whose answers are known once more.

        Raises:
            RequestFailed: no usable answer in time.
        """
        try:
            self.prove()
        except ModelUnavailable as error:
            return SelfTest(ok=False, detail=str(error))
        return SelfTest(ok=True, detail=f"{len(CANARIES)} of {len(CANARIES)} examples in the right order.")

    def close(self) -> None:
        """Close the connection; may be called twice."""
        self._client.close()

    def _has_route(self) -> bool:
        """Whether the server has this shape's route."""
        question, answer = CANARIES[0]
        try:
            self._ask(question, [answer], self._client.deadline(max(self._time_limit_s, _START_LIMIT_S)), list)
        except RequestFailed as error:
            if error.status in (404, 405):
                return False
            raise
        return True

    def _prove_again(self, deadline: float) -> None:
        try:
            self.prove(deadline)
        except ModelUnavailable as error:
            self._client.breaker.trip()
            raise RequestFailed(str(error)) from error

    def _cut(self, document: str) -> str:
        """Bound a document; a blank one becomes a dash, because some servers refuse a request for one blank text."""
        return document[: self._max_characters] if document.strip() else "-"

    def _ask(self, query: str, documents: list[str], deadline: float, read: Callable[[list[float]], T]) -> T:
        """Return what ``read`` makes of the server's own scores of the documents, in their order."""
        protocol = _PROTOCOLS[self.shape]
        body: dict[str, Any] = {"query": query[: self._max_characters], protocol.texts_key: documents}
        if self.shape == "cohere":
            body |= {"model": self.model, "top_n": len(documents)}
        else:
            body |= {"truncate": True, "raw_scores": True}  # a sigmoid would lose the order among the best
        return self._client.post(
            protocol.route, body, deadline=deadline, read=lambda answer: read(self._by_index(answer, len(documents)))
        )

    def _by_index(self, answer: Any, count: int) -> list[float]:
        """Put the scores into the order of the documents: exactly one finite score for each of them."""
        results = answer.get("results") if self.shape == "cohere" and isinstance(answer, dict) else answer
        scores: dict[int, float] = {}
        for result in results if isinstance(results, list) else ():
            index, score = _index_and_score(result, _PROTOCOLS[self.shape].score_key)
            if not 0 <= index < count or index in scores or not math.isfinite(score):
                break
            scores[index] = score
        else:
            if len(scores) == count:
                return [scores[index] for index in range(count)]
        raise RequestFailed("The rerank server does not give exactly one score for each text.", 200)

    def _log_odds(self, scores: list[float]) -> NDArray[np.float32]:
        values = np.array(scores)
        if self.scale == "log-odds":
            log_odds = values.clip(-_LARGEST, _LARGEST)
        elif values.min() < -_MARGIN or values.max() > 1 + _MARGIN:
            raise RequestFailed("The rerank server gave probabilities at first and now something else.", 200)
        else:
            probability = values.clip(_MARGIN, 1 - _MARGIN)
            log_odds = np.log(probability / (1 - probability))
        return log_odds.astype("float32")


def _index_and_score(result: Any, score_key: str) -> tuple[int, float]:
    """Read one result; what is none comes back as an index that no document has."""
    if not isinstance(result, dict):
        return -1, math.nan
    index, score = result.get("index"), result.get(score_key)
    if type(index) is not int or not isinstance(score, int | float) or isinstance(score, bool):
        return -1, math.nan
    try:
        return index, float(score)
    except OverflowError:  # an integer of a thousand digits
        return -1, math.nan
