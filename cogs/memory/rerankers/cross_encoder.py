"""BERT-like cross-encoders (ms-marco MiniLM, TinyBERT, electra, bge, multilingual), through sentence-transformers.

A model with one label gives log-odds directly; of one with two, they are the second logit less the first, whose
sigmoid is the softmax's share of label 1. sentence-transformers loads and runs the model; the texts are tokenised here,
so that ``[SEP]`` in a message does not end it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cogs.memory.exceptions import NonFiniteScores, ScoringFailed
from cogs.memory.library_imports import importing_libraries
from cogs.memory.out_of_memory import give_memory_back, raises_out_of_memory
from cogs.memory.rerankers.content_tokens import ContentTokenizer
from cogs.memory.rerankers.distinct import Distinct, collected
from cogs.memory.rerankers.proof import SelfTest, prove_order
from cogs.memory.rerankers.source import (
    Source,
    fingerprint,
    load_config,
    load_tokenizer,
    reading_weights,
    require_device,
    stored_weights,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cogs.memory.rerankers import Pair
    from cogs.memory.rerankers.distinct import ScoredPlaces

DType = Literal["float32", "bfloat16", "float16"]

MAX_LENGTH = 512
"""Tokens of a pair at most: what these models were trained on."""

_WINDOW = 4
"""Batches over which pairs are sorted by length: padding is what costs on a CPU, and the best ranked go first."""

_CHARACTERS_PER_TOKEN = 64


class CrossEncoderModel:
    """A loaded cross-encoder; make one with `load`. Not thread-safe: one call at a time.

    Attributes:
        key: model, revision, dtype and maximal length: scores of different keys must not be mixed.
        batch: pairs in one forward pass; may be changed between calls.
    """

    def __init__(self, model: Any, tokenizer: ContentTokenizer, *, labels: int, key: str, batch: int) -> None:
        self.key = key
        self.batch = batch
        self._model: Any = model
        self._tokenizer = tokenizer
        self._labels = labels

    @classmethod
    def load(
        cls,
        name_or_folder: str,
        *,
        device: str = "cpu",
        dtype: DType = "float32",
        batch: int = 8,
        max_length: int = MAX_LENGTH,
        revision: str | None = None,
        local_files_only: bool = True,
    ) -> CrossEncoderModel:
        """Load a sequence classifier with one or two labels.

        Args:
            name_or_folder: a name on the hub or a local folder with safetensors weights.
            device: "cpu", "cuda", "mps".
            dtype: of the weights; scores are float32.
            batch: pairs in one forward pass; 8 is best on a CPU.
            max_length: tokens of a pair, cut to 512 and to what the model can take.
            revision: commit or tag on the hub.
            local_files_only: False to download what is missing.

        Raises:
            ModelUnavailable: missing, truncated or of the wrong kind; the message says which.
            OutOfMemory: the weights do not fit.
        """
        source = Source(name_or_folder, revision, local_files_only)
        config = load_config(source, "ForSequenceClassification")
        if config.num_labels not in (1, 2):
            raise source.unavailable(f"has {config.num_labels} labels; a reranker has one or two.")
        tokenizer = ContentTokenizer(load_tokenizer(source))
        require_device(device)
        with raises_out_of_memory():
            model = _load_model(source, device, dtype)
        longest = min(max_length, MAX_LENGTH, model.max_seq_length or MAX_LENGTH)
        tokenizer.backend.enable_truncation(longest, strategy="longest_first")
        key = f"cross_encoder:{name_or_folder}@{fingerprint(source, config)}:{dtype}:{longest}"
        return cls(model, tokenizer, labels=config.num_labels, key=key, batch=batch)

    def token_counts(self, pairs: Sequence[Pair]) -> list[int]:
        """Return how many tokens each document costs, without its query."""
        return [len(ids) for ids in self._tokenizer.encode([pair.document[: self._limit] for pair in pairs])]

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Return the log-odds of relevance for each pair, (len(pairs),), in order; instructions are not read.

        Raises:
            ScoringFailed: a score is not finite, or the model was closed.
            OutOfMemory: `batch` is too large for the device.
        """
        return collected(len(pairs), self.score_chunks(pairs))

    def score_chunks(self, pairs: Sequence[Pair]) -> Iterator[ScoredPlaces]:
        """Score batch by batch, nearly in the order given, so that a caller may stop at any point.

        Identical pairs are scored once, with the first of them.

        Yields:
            The places in ``pairs`` that one batch scored, and their log-odds.

        Raises:
            ScoringFailed: a score is not finite, or the model was closed.
            OutOfMemory: `batch` is too large for the device.
        """
        distinct = Distinct([(pair.query[: self._limit], pair.document[: self._limit]) for pair in pairs])
        tokenised = self._tokenizer.encode_pairs(distinct.items)
        for batch in _batches([len(ids) for ids, _ in tokenised], self.batch):
            yield distinct.scored(batch, self._log_odds([tokenised[i] for i in batch]))

    def self_test(self) -> SelfTest:
        """Score clear-cut examples and judge their order.

        Raises:
            ScoringFailed: as `score`.
        """
        return prove_order(self.score, "")

    def close(self) -> None:
        """Free the weights; may be called twice."""
        if self._model is None:
            return
        device = self._model.device.type
        self._model.to("meta")  # its model card refers back to it: dropping it alone would free nothing yet
        self._model = None
        give_memory_back(device)

    @property
    def _limit(self) -> int:
        """Characters of a text that are looked at."""
        return MAX_LENGTH * _CHARACTERS_PER_TOKEN

    def _log_odds(self, batch: Sequence[tuple[list[int], list[int]]]) -> NDArray[np.float32]:
        if self._model is None:
            raise ScoringFailed("The reranker model was unloaded.")
        import torch

        features = _pad(batch, self._model.tokenizer)
        with raises_out_of_memory(), torch.inference_mode():
            moved = {name: values.to(self._model.device) for name, values in features.items()}
            logits = self._model(moved)["scores"].float()  # (pairs, labels)
            log_odds = logits[:, 0] if self._labels == 1 else logits[:, 1] - logits[:, 0]
            scores: NDArray[np.float32] = log_odds.cpu().numpy()
        if not np.isfinite(scores).all():
            raise NonFiniteScores("The reranker model gave scores that are no numbers.")
        return scores


def _batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Cut 0…n − 1 into batches of like length, each from one window of consecutive numbers."""
    for start in range(0, len(lengths), size * _WINDOW):
        window = sorted(range(start, min(start + size * _WINDOW, len(lengths))), key=lengths.__getitem__)
        for first in range(0, len(window), size):
            yield window[first : first + size]


def _pad(batch: Sequence[tuple[list[int], list[int]]], tokenizer: Any) -> dict[str, Any]:
    """Return the model's inputs, each (pairs, longest), padded on the right."""
    import torch

    def padded(rows: Sequence[list[int]], filler: int) -> torch.Tensor:
        tensors = [torch.tensor(row) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=filler)

    features = {
        "input_ids": padded([ids for ids, _ in batch], tokenizer.pad_token_id or 0),
        "attention_mask": padded([[1] * len(ids) for ids, _ in batch], 0),
    }
    if "token_type_ids" in tokenizer.model_input_names:
        features["token_type_ids"] = padded([kinds for _, kinds in batch], 0)
    return features


def _load_model(source: Source, device: str, dtype: DType) -> Any:
    with importing_libraries():
        import torch
        from sentence_transformers import CrossEncoder

    with reading_weights(source):
        model = CrossEncoder(
            source.name,
            device=device,
            model_kwargs={"dtype": getattr(torch, dtype), "use_safetensors": True},
            activation_fn=torch.nn.Identity(),
            **source.options(),
        )
    # where a file holds no classifier, transformers makes a random one and warns in the log
    body = f"{model.model.base_model_prefix}."
    head = {name for name in model.model.state_dict() if not name.startswith(body)}
    if missing := sorted(head - stored_weights(source)):
        raise source.unavailable(f"has no trained classifier: {missing[0]} is missing.")
    return model
