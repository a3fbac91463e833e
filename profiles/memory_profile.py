"""`MemoryProfile`: everything about the memory that depends on the machine, in one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Device = Literal["cpu", "cuda", "mps"]
DType = Literal["float32", "bfloat16", "float16"]
RerankerType = Literal["none", "late_interaction", "qwen3", "cross_encoder", "remote"]
RetrieverType = Literal["hybrid", "rrf", "vector", "keyword"]

EMBEDDED_MODEL = "all-MiniLM-L6-v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryProfile:
    """How the memory uses one machine. Change a copy with `dataclasses.replace`.

    Raises:
        ValueError: a value is outside what its field allows; the message says what is allowed.
    """

    name: str
    description: str = ""

    # --- the machine
    device: Device = "cpu"
    dtype: DType = "float32"
    """Of the big models (reranker, big embedders)."""
    embedder_dtype: DType | Literal["auto"] = "auto"
    """Of the embedder; "auto" times float32 against bfloat16 once at load and keeps the faster."""
    threads: int = 0
    """Threads for model and index work; 0 = physical cores."""

    # --- embedding
    embedder: str = EMBEDDED_MODEL
    """The embedded model's name, a Hugging Face name or a local folder."""
    embedding_dim: int | None = None
    """Cut vectors to so many dimensions before normalising (Matryoshka models only); None = the model's own."""
    embedder_batch_tokens: int = 4096
    """Tokens in one forward pass of the embedder."""
    embedder_max_length: int = 256
    """Longer messages are cut for embedding (they stay whole in the store)."""

    # --- retrieval
    retriever: RetrieverType = "hybrid"
    vector_candidates: int = 100
    keyword_candidates: int = 100

    # --- reranking
    reranker: RerankerType = "late_interaction"
    """What scores on top of late interaction, which always runs unless this is "none"."""
    reranker_model: str | None = None
    """Hugging Face name, local folder or, for "remote", the server's model name."""
    reranker_url: str | None = None
    """Base URL of a rerank server; only for "remote"."""
    rerank_candidates: int = 50
    """How many of the best candidates the reranker model reads."""
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
        _require_choice("device", self.device, ("cpu", "cuda", "mps"))
        _require_choice("dtype", self.dtype, ("float32", "bfloat16", "float16"))
        _require_choice("embedder_dtype", self.embedder_dtype, ("auto", "float32", "bfloat16", "float16"))
        _require_choice("reranker", self.reranker, ("none", "late_interaction", "qwen3", "cross_encoder", "remote"))
        _require_choice("retriever", self.retriever, ("hybrid", "rrf", "vector", "keyword"))
        _require_range("threads", self.threads, 0, 1024)
        _require_range("max_length", self.max_length, 32, 8192)
        _require_range("token_budget", self.token_budget, 32, 1_048_576)
        _require_range("embedder_batch_tokens", self.embedder_batch_tokens, 64, 1_048_576)
        _require_range("embedder_max_length", self.embedder_max_length, 8, 32_768)
        _require_range("rerank_batch", self.rerank_batch, 1, 4096)
        _require_range("rerank_candidates", self.rerank_candidates, 1, 1000)
        _require_range("vector_candidates", self.vector_candidates, 1, 1000)
        _require_range("keyword_candidates", self.keyword_candidates, 1, 1000)
        _require_range("recall_limit", self.recall_limit, 1, 100)
        _require_range("memory_share", self.memory_share, 0.01, 1.0)
        _require_range("model_cache_size", self.model_cache_size, 1, 10_000)
        _require_range("model_cache_ttl_s", self.model_cache_ttl_s, 0.001, 31_536_000.0)
        _require_range("query_cache_ttl_s", self.query_cache_ttl_s, 0.001, 31_536_000.0)
        _require_range("score_cache_size", self.score_cache_size, 0, 100_000_000)
        _require_range("query_cache_size", self.query_cache_size, 0, 100_000_000)
        _require_range("ingest_queue_size", self.ingest_queue_size, 1, 100_000_000)
        for field in ("rerank_deadline_ms", "injection_deadline_ms"):
            value = getattr(self, field)
            if value is not None:
                _require_range(field, value, 1, 600_000)
        if self.embedding_dim is not None:
            _require_range("embedding_dim", self.embedding_dim, 8, 65_536)
        if self.reranker in ("qwen3", "cross_encoder", "remote") and not self.reranker_model:
            raise ValueError(f'reranker = "{self.reranker}" needs reranker_model')
        if self.reranker == "remote" and not self.reranker_url:
            raise ValueError('reranker = "remote" needs reranker_url')


def _require_choice(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{field} must be one of {', '.join(allowed)}, not {value!r}")


def _require_range(field: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{field} must be a number from {low:g} to {high:g}, not {value!r}")
