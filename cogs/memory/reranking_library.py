"""The reranker as a library, for programs that have no Discord and no store.

    async with MemoryReranker("Qwen/Qwen3-Reranker-0.6B") as reranker:
        best = await reranker.rerank_memories("What is the capital of China?", memories)

    pairs = await rerank_memories("How to cook pasta?", ["Boil water", "Add salt"])

    reranker = CrossEncoderReranker("cross-encoder/ms-marco-MiniLM-L6-v2", top_n=5)
    documents = await reranker.rerank("How do neural networks work?", retrieved)

Each is a `RerankerService` with a profile of its own: the same models, prompts, scores, caches and errors as the bot's.
A model is loaded at the first question, on a thread of its own; nothing here blocks the event loop.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cogs.memory.model_loading import ModelSources, model_sources
from cogs.memory.model_names import DEFAULT_ALLOWED
from cogs.memory.model_source import named_model
from cogs.memory.record_reranking import listed, text_of
from cogs.memory.reranker_service import RerankerService
from cogs.memory.rerankers.factory import load_reranker
from profiles import choose_profile, detect_hardware
from profiles.memory_profile import MemoryProfile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cogs.memory.serving_model import LoadReranker
    from profiles import Settings
    from profiles.memory_profile import Device, DType

QWEN3 = "Qwen/Qwen3-Reranker-0.6B"
MINILM = "cross-encoder/ms-marco-MiniLM-L6-v2"


class MemoryReranker(RerankerService):
    """Qwen3-Reranker over memories: `rerank_memories`, `rerank_memory_results`, `batch_rerank`, `cleanup`.

    Args:
        model_path: a local folder, or the name of a model that is on this machine.
        device: "cpu", "cuda" or "mps".
        dtype: None for bfloat16 where the device multiplies it, else float32.
        max_length: tokens of prompt and document together, at most 8192; documents are cut to fit.
        token_budget: tokens in one forward pass: 512 suits a CPU, 8192 a GPU; None for what suits the device.
        memory_share: share of a GPU's memory that models may take, 0–1.
        sources: where models are looked for, and which names are allowed; None for local folders and the models that
            the project names, out of Hugging Face's cache.

    Raises:
        ValueError: an option is outside what it allows; the message says what that is.
        ModelUnavailable: ``model_path`` is a path, and there is no such folder.
        ModelNotAllowed: ``model_path`` is a name that is not on the list; the message names the list.
    """

    def __init__(
        self,
        model_path: str = QWEN3,
        *,
        device: Device = "cpu",
        dtype: DType | None = None,
        max_length: int = 8192,
        token_budget: int | None = None,
        memory_share: float = 0.8,
        sources: ModelSources | None = None,
    ) -> None:
        profile = MemoryProfile(
            name="library",
            device=device,
            dtype=dtype or _dtype_for(device),
            reranker="qwen3",
            reranker_model=model_path,
            max_length=max_length,
            token_budget=token_budget or (512 if device == "cpu" else 8192),
            memory_share=memory_share,
            rerank_deadline_ms=None,
        )
        super().__init__(profile, load=_loader(model_path, sources))


async def rerank_memories(
    query: str, memories: Iterable[Any], instruction: str | None = None, **options: Any
) -> list[tuple[str, float]]:
    """Load a model, rank once, free it again: `MemoryReranker.rerank_memories` for a single question.

    Args:
        query: the question.
        memories: texts, or records that have one.
        instruction: what "relevant" means; None for what the model was trained with.
        options: of `MemoryReranker`.

    Returns:
        ``(text, score 0–1)``, best first.

    Raises:
        ValueError, TypeError, ModelError: as `MemoryReranker` and its method do.
    """
    async with MemoryReranker(**options) as reranker:
        return await reranker.rerank_memories(query, memories, instruction)


class CrossEncoderReranker(RerankerService):
    """A BERT-like cross-encoder (ms-marco, bge, mmarco) over documents of any shape.

    Args:
        model_name: a local folder, or the name of a model that is on this machine.
        top_n: how many documents `rerank` returns, unless told otherwise.
        batch_size: pairs in one forward pass; 8 is best on a CPU.
        device: "cpu", "cuda" or "mps".
        sources: as in `MemoryReranker`.

    Raises:
        ValueError, ModelUnavailable, ModelNotAllowed: as `MemoryReranker` does.
    """

    def __init__(
        self,
        model_name: str = MINILM,
        top_n: int = 5,
        batch_size: int = 8,
        *,
        device: Device = "cpu",
        sources: ModelSources | None = None,
    ) -> None:
        if not isinstance(top_n, int) or isinstance(top_n, bool) or top_n < 0:
            raise ValueError(f"top_n must be a whole number from 0 up, not {top_n!r}")
        profile = MemoryProfile(
            name="library",
            device=device,
            reranker="cross_encoder",
            reranker_model=model_name,
            rerank_batch=batch_size,
            rerank_deadline_ms=None,
        )
        self.top_n = top_n
        super().__init__(profile, load=_loader(model_name, sources))

    async def rerank(self, query: str, documents: Iterable[Any], top_n: int | None = None) -> list[dict[str, Any]]:
        """Return the best documents as dicts, best first.

        A mapping keeps all its fields; any other document stands under ``document``, its text under ``content``. Added
        are ``rerank_score`` (the sigmoid of the model's logit, 0–1), ``original_score`` (the document's own ``score``,
        None without one), ``original_rank`` and ``rerank_rank`` (1 is best). What could not be scored has the
        ``rerank_score`` None and a ``rerank_degraded`` sentence, and stands behind the others.

        Raises:
            TypeError: the query is no text.
            ValueError: ``top_n`` is not a whole number from 0 up.
            ModelError: the model cannot be loaded.
        """
        records = [_described(document, rank) for rank, document in enumerate(listed(documents), start=1)]
        results = await self.rerank_results(query, records, _TEXT, self.top_n if top_n is None else top_n)
        for rank, result in enumerate(results, start=1):
            del result[_TEXT]
            result["rerank_rank"] = rank
        return results


def reranker_from_settings(settings: Settings) -> RerankerService:
    """Return what the settings say: profile, RERANKER_TYPE, RERANKER_MODEL and so on.

    With RERANKER_ENABLED=false it keeps retrieval order, and says that reranking is turned off.

    Raises:
        ProfileError: there is no such profile.
        SettingsError: settings contradict each other.
    """
    profile = replace(choose_profile(settings).profile, rerank_deadline_ms=None)
    return RerankerService(profile, load=model_sources(settings).load_reranker)


_TEXT = "\0text"
"""Where a document's text stands while it is ranked: a key that no document has."""


def _described(document: Any, rank: int) -> Mapping[str, Any]:
    is_mapping = hasattr(document, "keys")
    fields = dict(document) if is_mapping else {"document": document, "content": text_of(document)}
    score = fields.get("score") if is_mapping else getattr(document, "score", None)
    return {**fields, "original_score": score, "original_rank": rank, _TEXT: text_of(document)}


def _loader(model: str, sources: ModelSources | None) -> LoadReranker:
    """Refuse a model that cannot be meant; return what loads it."""
    if sources is None:
        named_model(model, None, DEFAULT_ALLOWED)
        return load_reranker
    named_model(model, sources.folder, sources.allowed)
    return sources.load_reranker


def _dtype_for(device: Device) -> DType:
    if device == "cpu" and not detect_hardware(probe_accelerators=False).has_bfloat16:
        return "float32"  # bfloat16 without a unit for it is slower
    return "bfloat16"
