"""`MemoryProfile`: everything about the memory that depends on the machine, in one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

Device = Literal["cpu", "cuda", "mps"]
DType = Literal["float32", "bfloat16", "float16"]
EmbedderDType = Literal["auto", "float32", "bfloat16", "float16"]
RerankerType = Literal["none", "late_interaction", "qwen3", "cross_encoder", "remote", "custom"]
RetrieverType = Literal["hybrid", "rrf", "vector", "keyword"]

EMBEDDED_MODEL = "all-MiniLM-L6-v2"


class Limits(NamedTuple):
    """The numbers that a field allows, both ends included."""

    low: float
    high: float
    whole: bool = True

    def __str__(self) -> str:
        return f"a {'whole ' if self.whole else ''}number from {_plain(self.low)} to {_plain(self.high)}"

    def allow(self, value: object) -> bool:
        """Whether ``value`` is a number in range; True and False are not numbers, nor is 3.0 a whole one."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        return self.low <= value <= self.high


CHOICES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "device": get_args(Device),
        "dtype": get_args(DType),
        "embedder_dtype": get_args(EmbedderDType),
        "retriever": get_args(RetrieverType),
        "reranker": get_args(RerankerType),
    }
)
"""Field → the words it allows."""

_DEADLINE: Final = Limits(1, 600_000)
_A_YEAR_S: Final = 31_536_000.0

LIMITS: Final[Mapping[str, Limits]] = MappingProxyType(
    {
        "threads": Limits(0, 1024),
        "embedding_dim": Limits(8, 65_536),
        "embedder_batch_tokens": Limits(64, 1_048_576),
        "embedder_max_length": Limits(8, 32_768),
        "vector_candidates": Limits(1, 1000),
        "keyword_candidates": Limits(1, 1000),
        "rerank_candidates": Limits(1, 1000),
        "reranked_share": Limits(0.0, 1.0, whole=False),
        "rerank_batch": Limits(1, 4096),
        "token_budget": Limits(32, 1_048_576),
        "max_length": Limits(32, 8192),
        "rerank_deadline_ms": _DEADLINE,
        "injection_deadline_ms": _DEADLINE,
        "recall_limit": Limits(1, 100),
        "memory_share": Limits(0.01, 1.0, whole=False),
        "model_cache_size": Limits(1, 10_000),
        "model_cache_ttl_s": Limits(0.001, _A_YEAR_S, whole=False),
        "score_cache_size": Limits(0, 100_000_000),
        "query_cache_size": Limits(0, 100_000_000),
        "query_cache_ttl_s": Limits(0.001, _A_YEAR_S, whole=False),
        "ingest_queue_size": Limits(1, 100_000_000),
    }
)
"""Field → the numbers it allows."""

OPTIONAL_FIELDS: Final = frozenset(
    {"embedder_url", "embedding_dim", "reranker_model", "reranker_url", "rerank_deadline_ms", "injection_deadline_ms"}
)
"""Fields that may be None."""

RERANKERS_WITH_MODEL: Final = ("qwen3", "cross_encoder", "remote")
"""Reranker types whose model ``reranker_model`` must name; "custom" is a class that the settings name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryProfile:
    """How the memory uses one machine. Change a copy with `dataclasses.replace`.

    Raises:
        ValueError: a value is of the wrong type or outside what its field allows; the message says what is allowed.
    """

    name: str
    description: str = ""

    # --- the machine
    device: Device = "cpu"
    dtype: DType = "float32"
    """Of the big models (reranker, big embedders)."""
    embedder_dtype: EmbedderDType = "auto"
    """Of the embedder; "auto" times float32 against bfloat16 once at load and keeps the faster."""
    threads: int = 0
    """Threads for model and index work; 0 = physical cores."""

    # --- embedding
    embedder: str = EMBEDDED_MODEL
    """The embedded model's name, a Hugging Face name or a local folder."""
    embedder_url: str | None = None
    """Base URL of an embedding server (``/v1/embeddings``); ``embedder`` is its model's name then. Needs
    ``embedding_dim``, so that the bot can start without it."""
    embedding_dim: int | None = None
    """Cut vectors to so many dimensions before normalising (Matryoshka models only); None = the model's own."""
    embedder_batch_tokens: int = 4096
    """Tokens in one forward pass of the embedder."""
    embedder_max_length: int = 256
    """Tokens; longer messages are cut for embedding (they stay whole in the store)."""

    # --- retrieval
    retriever: RetrieverType = "hybrid"
    vector_candidates: int = 80
    keyword_candidates: int = 80

    # --- reranking
    reranker: RerankerType = "late_interaction"
    """What scores on top of late interaction, which always runs unless this is "none"."""
    reranker_model: str | None = None
    """Hugging Face name, local folder or, for "remote", the server's model name."""
    reranker_url: str | None = None
    """Base URL of a rerank server; only for "remote"."""
    rerank_candidates: int = 50
    """How many of the best candidates the reranker model reads."""
    reranked_share: float = 1.0
    """Share of the people whose /recall is reranked, always the same ones; 1 = all, 0.5 = an even A/B test."""
    rerank_batch: int = 8
    """Pairs in one forward pass of a BERT cross-encoder or one request to a server."""
    token_budget: int = 512
    """Tokens in one forward pass of packed scoring."""
    max_length: int = 8192
    """Tokens of prompt and document together; the document is cut to fit. At most 8192."""
    rerank_deadline_ms: int | None = 2000
    """Time for reranking a /recall; None = none."""
    injection_deadline_ms: int | None = 1500
    """Time for reranking before a reply; None = none."""
    recall_limit: int = 5
    """Results of one /recall."""

    # --- memory and caches
    memory_share: float = 0.5
    """Share of the (GPU) memory that models may take, 0–1."""
    model_cache_size: int = 50
    model_cache_ttl_s: float = 1800.0
    score_cache_size: int = 20_000
    query_cache_size: int = 512
    query_cache_ttl_s: float = 3600.0
    ingest_queue_size: int = 10_000

    def __post_init__(self) -> None:
        for field in PROFILE_FIELDS:
            value = getattr(self, field)
            if value is not None or field not in OPTIONAL_FIELDS:
                _check(field, value)
        if self.reranker in RERANKERS_WITH_MODEL and not self.reranker_model:
            raise ValueError(f'reranker = "{self.reranker}" needs reranker_model')
        if self.embedder_url and self.embedding_dim is None:
            raise ValueError("embedder_url needs embedding_dim, the dimensions of the server's vectors")
        if self.reranker == "remote" and not self.reranker_url:
            raise ValueError('reranker = "remote" needs reranker_url')


PROFILE_FIELDS: Final = tuple(field.name for field in fields(MemoryProfile))
"""The names of all fields, in order."""


def is_http_url(value: str) -> bool:
    """Whether ``value`` is the address of a web server: http or https, with a host and a possible port."""
    if any(character.isspace() for character in value):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an impossible port or bracket
        return False


def _check(field: str, value: object) -> None:
    """Raise ValueError with a whole sentence unless the field may hold the value."""
    if field in CHOICES:
        allowed, fits = f"one of {', '.join(CHOICES[field])}", value in CHOICES[field]
    elif field in LIMITS:
        allowed, fits = str(LIMITS[field]), LIMITS[field].allow(value)
    elif field in ("reranker_url", "embedder_url"):
        allowed, fits = "an http:// or https:// address", isinstance(value, str) and is_http_url(value)
    elif field == "description":
        allowed, fits = "a text", isinstance(value, str)
    else:
        allowed, fits = "a text that is not blank", isinstance(value, str) and bool(value.strip())
    if not fits:
        raise ValueError(f"{field} must be {allowed}, not {value!r}")


def _plain(number: float) -> str:
    """Return a number as people write it: 1048576, not 1.04858e+06; 0.01; 1."""
    return f"{int(number)}" if number == int(number) else f"{number}"
