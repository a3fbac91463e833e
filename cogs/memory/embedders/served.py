"""Sentence vectors from a server that speaks ``/v1/embeddings``, token sketches from the embedded MiniLM.

    POST /v1/embeddings {model, input: [text, …]} → {data: [{index, embedding}, …]}

vLLM, Infinity, llama.cpp, Text Embeddings Inference and Ollama speak it, so that several bots share one GPU. While the
server is away, questions are answered by their words and the sketches of this machine, and say so; new messages wait
for their vectors. The number of dimensions stands in the profile: a bot can start without its server.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogs.memory.embedders import EncodedQuery, EncodedText
from cogs.memory.embedders.minilm import MiniLMEncoder
from cogs.memory.embedders.sentence_transformer import INSTRUCTED, QUERY_TASK
from cogs.memory.json_client import JsonClient, RequestFailed
from cogs.memory.records import Space

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from profiles import MemoryProfile

log = logging.getLogger(__name__)

MAX_BATCH: Final = 32
"""Texts in one request: what Text Embeddings Inference takes unless told otherwise."""
QUESTION_LIMIT_S: Final = 2.0
"""Seconds for the vector of a question, which somebody waits for."""
DOCUMENTS_LIMIT_S: Final = 60.0
"""Seconds for the vectors of one call's messages, which nobody waits for."""
WHAT: Final = "embedding server"
_ROUTE: Final = "v1/embeddings"
_CHARACTERS_PER_TOKEN: Final = 4

_CANARY: Final = (
    "Which planet is known as the Red Planet?",
    "Mars is the planet that is known as the Red Planet.",
    "To read a CSV file in Python, import csv and use csv.reader.",
)
"""A question, its answer, and something else: a server that puts the last one nearer gives no meaning."""


class ServedEncoder:
    """An embedding server beside the embedded model; implements `Encoder`.

    Questions and documents have a connection each and may be encoded by two threads at a time.

    Args:
        questions: the connection for questions.
        documents: the connection for messages.
        sketcher: the embedded model.
        model: the name by which the server knows its model.
        dim: dimensions that are kept of each vector; the server must give as many at least.
        max_length: tokens of a text, about: so much of a longer one is sent.
    """

    is_remote = True

    def __init__(
        self,
        questions: JsonClient,
        documents: JsonClient,
        sketcher: MiniLMEncoder,
        *,
        model: str,
        dim: int,
        max_length: int,
    ) -> None:
        self._questions = questions
        self._documents = documents
        self._sketcher = sketcher
        self._model = model
        self._is_proven = False
        self._max_characters = max_length * _CHARACTERS_PER_TOKEN
        self._query_prompt = INSTRUCTED.format(task=QUERY_TASK) if "qwen3-embedding" in model.lower() else ""
        small = sketcher.space
        self._space = Space(
            model=f"{model}+{small.model}",
            revision=f"served+{small.revision}",
            dim=dim,
            dtype="float16",
            prompt=f"{{author}}: {{text}} | {max_length} | {small.prompt}",
            sketch_dim=small.sketch_dim,
        )

    @classmethod
    def load(cls, profile: MemoryProfile, *, api_key: str | None = None) -> ServedEncoder:
        """Load the embedded model; the server is asked when the first text comes.

        Args:
            profile: names the server (``embedder_url``), its model (``embedder``) and the dimensions.
            api_key: sent as a bearer token.

        Raises:
            ModelUnavailable: the embedded model cannot be loaded, or the address is none.
        """
        url, dim = profile.embedder_url, profile.embedding_dim
        assert url is not None  # noqa: S101  # the profile has checked both
        assert dim is not None  # noqa: S101
        questions = JsonClient(url, what=WHAT, api_key=api_key)
        return cls(
            questions,
            JsonClient(url, what=WHAT, api_key=api_key, breaker=questions.breaker),
            MiniLMEncoder.load(batch_tokens=profile.embedder_batch_tokens, max_length=profile.embedder_max_length),
            model=profile.embedder,
            dim=dim,
            max_length=profile.embedder_max_length,
        )

    @property
    def space(self) -> Space:
        """The fingerprint of its vectors; the server's model goes by its name, for it tells no more."""
        return self._space

    def encode(self, texts: Sequence[str]) -> list[EncodedText]:
        """Encode documents; one result per text, in order.

        Raises:
            RequestFailed: a `ScoringFailed`; not every text got its vector in time.
        """
        deadline = self._documents.deadline(DOCUMENTS_LIMIT_S)
        if not self._is_proven and texts:
            self._prove(deadline)
        vectors: list[NDArray[np.float32]] = []
        for start in range(0, len(texts), MAX_BATCH):
            vectors.extend(self._ask(self._documents, texts[start : start + MAX_BATCH], deadline))
        small = self._sketcher.encode(texts)
        return [EncodedText(vector, text.sketch) for vector, text in zip(vectors, small, strict=True)]

    def encode_query(self, text: str) -> EncodedQuery:
        """Encode a question; without the server its vector is zero and ``problem`` says why."""
        small = self._sketcher.encode_query(text)
        try:
            deadline = self._questions.deadline(QUESTION_LIMIT_S)
            vector = self._ask(self._questions, [self._query_prompt + text], deadline)[0]
        except RequestFailed as error:
            log.warning("a question is answered by its words: %s", error)
            return replace(
                small, vector=np.zeros(self._space.dim, dtype=np.float32), problem=f"{error} Found by words alone."
            )
        return replace(small, vector=vector)

    def close(self) -> None:
        """Close the connections and free the embedded model; may be called twice."""
        self._questions.close()
        self._documents.close()
        self._sketcher.close()

    def _prove(self, deadline: float) -> None:
        """See that the server's vectors mean something before messages are stored with them."""
        question, answer, other = _CANARY
        asked, right, wrong = self._ask(self._documents, [self._query_prompt + question, answer, other], deadline)
        if float(asked @ right) <= float(asked @ wrong):
            self._documents.breaker.trip()
            raise RequestFailed(
                "The embedding server puts a plain question nearer to something else than to its answer. "
                "Is its model an embedder?"
            )
        self._is_proven = True

    def _ask(self, client: JsonClient, texts: Sequence[str], deadline: float) -> NDArray[np.float32]:
        """Return (texts, dim) vectors, L2-normalised after the cut to ``dim``. Raises RequestFailed."""
        sent = [text[: self._max_characters].strip() or "-" for text in texts]  # some servers refuse a blank text
        body = {"model": self._model, "input": sent}
        return client.post(_ROUTE, body, deadline=deadline, read=lambda answer: self._vectors(answer, len(sent)))

    def _vectors(self, answer: Any, count: int) -> NDArray[np.float32]:
        rows: dict[int, list[float]] = {}
        data = answer.get("data") if isinstance(answer, dict) else None
        data = data if isinstance(data, list) else []
        for item in data:
            if isinstance(item, dict) and type(item.get("index")) is int and isinstance(item.get("embedding"), list):
                rows[item["index"]] = item["embedding"]
        if len(data) != count or set(rows) != set(range(count)):
            raise RequestFailed("The embedding server does not give exactly one vector for each text.", 200)
        dim = self._space.dim
        shortest = min(map(len, rows.values()))
        if shortest < dim:
            raise RequestFailed(f"The embedding server gives {shortest} dimensions; the profile wants {dim}.", 200)
        try:
            vectors = np.array([rows[i][:dim] for i in range(count)], dtype=np.float32)
        except (ValueError, TypeError, OverflowError) as error:
            raise RequestFailed("The embedding server gives vectors that hold no numbers.", 200) from error
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise RequestFailed("The embedding server gives vectors that are not finite, or zero.", 200)
        normalised: NDArray[np.float32] = vectors / lengths
        return normalised
