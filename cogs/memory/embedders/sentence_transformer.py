"""Any sentence-transformers model for the sentence vector, the embedded MiniLM for the token sketch.

Late interaction needs token vectors that were made to be compared one by one, in one bit a dimension; a big embedder
trained on its last token alone gives none. So a document is read by both models, and the space names both.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogs.memory.embedders import EncodedQuery, EncodedText
from cogs.memory.embedders.minilm import MiniLMEncoder
from cogs.memory.exceptions import ModelUnavailable, OutOfMemory, ScoringFailed
from cogs.memory.library_imports import importing_libraries
from cogs.memory.model_names import DEFAULT_ALLOWED
from cogs.memory.model_source import as_folder, damage, fingerprint, locate_model, weight_files
from cogs.memory.out_of_memory import raises_out_of_memory
from cogs.memory.records import Space

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from profiles import MemoryProfile

QUERY_TASK: Final = "Given a question about past conversations on a chat server, retrieve the messages that answer it"
"""What Qwen3-Embedding and its kind are told about a question; documents go in plain."""

INSTRUCTED: Final = "Instruct: {task}\nQuery:"
"""The form of the instruction (QwenLM/Qwen3-Embedding): no blank before the question."""


class SentenceTransformerEncoder:
    """A loaded sentence-transformers model beside the embedded one; make it with `load`. Implements `Encoder`."""

    def __init__(
        self,
        model: Any,
        sketcher: MiniLMEncoder,
        *,
        name: str,
        revision: str,
        dim: int | None = None,
        batch_tokens: int = 4096,
    ) -> None:
        full = int(model.get_embedding_dimension())
        if dim is not None and dim > full:
            raise ModelUnavailable(f"The embedder {name} gives {full} dimensions; embedding_dim cannot be {dim}.")
        self._model: Any = model
        self._sketcher = sketcher
        self._batch_tokens = batch_tokens
        self._query_prompt, self._document_prompt = _prompts(model)
        small = sketcher.space
        self._space = Space(
            model=f"{name}+{small.model}",
            revision=f"{revision}+{small.revision}",
            dim=dim or full,
            dtype="float16",  # as stored; the dtype of the computation does not make another space
            prompt=f"{self._document_prompt}{{author}}: {{text}} | {model.max_seq_length} | {small.prompt}",
            sketch_dim=small.sketch_dim,
        )

    @classmethod
    def load(
        cls,
        profile: MemoryProfile,
        *,
        models_folder: Path | None = None,
        allowed: Collection[str] = DEFAULT_ALLOWED,
    ) -> SentenceTransformerEncoder:
        """Load the profile's embedder and the embedded one. Never touches the network.

        Args:
            profile: names the embedder, its device, dtype, dimensions, length and batch size.
            models_folder: where the operator keeps models.
            allowed: names that may be loaded, see `check_model_name`.

        Raises:
            ModelNotAllowed: the model is not on the list.
            ModelUnavailable: it is not on this machine, damaged, of the wrong kind, or too big for the memory.
        """
        folder = locate_model(profile.embedder, models_folder, allowed)
        try:
            with raises_out_of_memory():
                model = _load_model(folder, profile)
        except OutOfMemory as error:
            raise ModelUnavailable(f"The embedder {profile.embedder} does not fit the memory.") from error
        sketcher = MiniLMEncoder.load(
            batch_tokens=profile.embedder_batch_tokens, max_length=profile.embedder_max_length
        )
        # a folder goes by its last name: the database must not change when the folder is moved
        is_name = as_folder(profile.embedder) is None
        name = profile.embedder.partition("@")[0] if is_name else folder.resolve().name
        return cls(
            model,
            sketcher,
            name=name,
            revision=fingerprint(folder),
            dim=profile.embedding_dim,
            batch_tokens=profile.embedder_batch_tokens,
        )

    @property
    def space(self) -> Space:
        """The fingerprint of its vectors, with both models' names and revisions."""
        return self._space

    def encode(self, texts: Sequence[str]) -> list[EncodedText]:
        """Encode documents; one result per text, in order.

        Raises:
            ScoringFailed: vectors are not finite, one text alone does not fit the memory, or the model was closed.
        """
        cleaned = [_clean(text) for text in texts]
        vectors = self._vectors(cleaned, self._document_prompt)
        small = self._sketcher.encode(cleaned)
        return [EncodedText(vector, other.sketch) for vector, other in zip(vectors, small, strict=True)]

    def encode_query(self, text: str) -> EncodedQuery:
        """Encode a question: the vector with the model's instruction, the token vectors without.

        Raises:
            ScoringFailed: as `encode`.
        """
        cleaned = _clean(text)
        vector = self._vectors([cleaned], self._query_prompt)[0]
        small = self._sketcher.encode_query(cleaned)
        return EncodedQuery(vector, small.token_vectors, small.offsets)

    def close(self) -> None:
        """Free the weights of both models; may be called twice."""
        self._model = None
        self._sketcher.close()

    def _vectors(self, texts: list[str], prompt: str) -> NDArray[np.float32]:
        """Return (texts, dim) vectors, L2-normalised in float32 after the cut to ``dim``."""
        vectors = np.empty((len(texts), self._space.dim), dtype=np.float32)
        for batch in self._batches(texts, prompt):
            vectors[batch] = self._forward([texts[i] for i in batch], prompt)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise ScoringFailed("The embedder gave vectors that are not finite, or zero.")
        vectors /= lengths
        return vectors

    def _batches(self, texts: list[str], prompt: str) -> Iterator[list[int]]:
        """Yield places in ``texts``, longest first, so many that a padded batch stays within the budget of tokens."""
        if not texts:
            return
        limit = self._open().max_seq_length
        encoded = self._open().tokenizer([f"{prompt}{text}" for text in texts], truncation=True, max_length=limit)
        lengths = [max(1, len(ids)) for ids in encoded["input_ids"]]
        order = sorted(range(len(texts)), key=lambda i: -lengths[i])
        start = 0
        while start < len(order):
            size = max(1, self._batch_tokens // lengths[order[start]])
            yield order[start : start + size]
            start += size

    def _forward(self, texts: list[str], prompt: str) -> NDArray[np.float32]:
        """Run one batch, in halves if it does not fit the memory; return (texts, dim), not normalised."""
        try:
            with raises_out_of_memory():
                vectors: NDArray[np.float32] = self._open().encode(
                    texts, prompt=prompt, batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True
                )
                return vectors[:, : self._space.dim].astype(np.float32)
        except OutOfMemory as error:
            if len(texts) == 1:
                raise ScoringFailed("The embedder ran out of memory on one text.") from error
        middle = len(texts) // 2
        return np.concatenate([self._forward(texts[:middle], prompt), self._forward(texts[middle:], prompt)])

    def _open(self) -> Any:
        if self._model is None:
            raise ScoringFailed("The embedder was unloaded.")
        return self._model


def _load_model(folder: Path, profile: MemoryProfile) -> Any:
    with importing_libraries():
        import torch
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer

    problem = damage(folder) or _why_no_sentence_transformer(folder)
    if problem:
        raise ModelUnavailable(f"The embedder {profile.embedder} cannot be used: {problem}.")
    dtype = profile.dtype if profile.embedder_dtype == "auto" else profile.embedder_dtype
    try:
        model: Any = SentenceTransformer(
            str(folder),
            device=profile.device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"dtype": getattr(torch, dtype), "use_safetensors": True},
            # a member who types <|im_end|> or [SEP] has typed that, and no control token
            processor_kwargs={"split_special_tokens": True},
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError, SafetensorError) as error:
        raise ModelUnavailable(f"The embedder {profile.embedder} cannot be loaded ({type(error).__name__}).") from error
    if missing := _missing_weights(folder, model):
        raise ModelUnavailable(f"The embedder {profile.embedder} lacks {len(missing)} weights, such as {missing[0]}.")
    longest = model.max_seq_length or profile.embedder_max_length
    model.max_seq_length = min(longest, profile.embedder_max_length)
    return model.eval()


def _why_no_sentence_transformer(folder: Path) -> str:
    """Without its list of modules a model would be pooled by guess, with vectors that mean nothing."""
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        types = [str(module["type"]) for module in modules]
    except FileNotFoundError:
        return "it is no sentence-transformers model, as it has no modules.json"
    except (OSError, ValueError, KeyError, TypeError):
        return "its modules.json cannot be read"
    strange = [name for name in types if not name.startswith("sentence_transformers.")]
    return f"it needs code of its own, {strange[0]}" if strange else ""


def _missing_weights(folder: Path, model: Any) -> list[str]:
    """Return the weights that no file holds: transformers fills them with random numbers and a line in the log.

    A file may keep them below a name of its own ("model.layers…"). The pooler of BERT is not used.
    """
    from safetensors import safe_open

    stored: set[str] = set()
    for name in weight_files(folder):
        with safe_open(str(folder / name), framework="pt") as file:
            stored.update(file.keys())
    stored |= {name.partition(".")[2] for name in stored}
    needed: list[str] = [name for name, _ in model[0].auto_model.named_parameters() if not name.startswith("pooler.")]
    return [name for name in needed if name not in stored and name.partition(".")[2] not in stored]


def _prompts(model: Any) -> tuple[str, str]:
    """Return what goes before a question and before a document: the model's own words, but our task."""
    own: dict[str, str] = model.prompts or {}
    query = own.get("query") or ""
    config = getattr(getattr(model[0], "auto_model", None), "config", None)
    if query.startswith("Instruct:") or getattr(config, "model_type", "") == "qwen3":
        query = INSTRUCTED.format(task=QUERY_TASK)
    return query, own.get("document") or ""


def _clean(text: str) -> str:
    """Replace lone surrogates, which no tokenizer takes, and an empty text, which some models have no tokens for."""
    return text.encode("utf-8", "replace").decode() or " "
