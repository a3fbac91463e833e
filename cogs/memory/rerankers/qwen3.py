"""Qwen3-Reranker: log-odds of "yes" against "no", exact, and packed so that a bot's own machine can do it.

The score is what the model's authors compute, logit("yes") − logit("no") after the prompt's last token; its sigmoid is
their P(yes). It is kept as log-odds, because P(yes) in floating point is 1.0 long before the log-odds stop growing.

    Qwen3Reranker          the public class
    ├── source             files → config and tokenizer, with errors fit to be shown
    ├── qwen3_prompt       pair → token ids (tokenizer_process: in a process of its own, where the vocabulary is large)
    ├── qwen3_packed       token ids → hidden states, shared spans once (qwen3_plan, _contexts, _attention, _layers)
    ├── qwen3_plain        the same as transformers does it: yardstick and fallback
    └── proof              golden values and triplets: does it rank as it should?
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from cogs.memory.exceptions import NonFiniteScores, ScoringFailed
from cogs.memory.library_imports import importing_libraries
from cogs.memory.out_of_memory import give_memory_back, raises_out_of_memory
from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.distinct import Distinct, collected
from cogs.memory.rerankers.proof import Golden, SelfTest, prove_golden, prove_order
from cogs.memory.rerankers.qwen3_packed import PackedQwen3, why_unsupported
from cogs.memory.rerankers.qwen3_plain import PlainQwen3
from cogs.memory.rerankers.qwen3_prompt import DEFAULT_INSTRUCTION, AnswerTokens, Prompt, PromptTokenizer
from cogs.memory.rerankers.source import (
    Source,
    fingerprint,
    load_config,
    load_tokenizer,
    reading_weights,
    require_device,
)
from cogs.memory.rerankers.tokenizer_process import NoProcess, TokenizerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from cogs.memory.rerankers.distinct import ScoredPlaces

log = logging.getLogger(__name__)

DType = Literal["float32", "bfloat16", "float16"]

GOLDEN = Golden(
    "Which planet is known as the Red Planet?",
    DEFAULT_INSTRUCTION,
    (
        ("Venus is often called Earth's twin because of its similar size and proximity.", -3.1093),
        ("Mars, known for its reddish appearance, is often referred to as the Red Planet.", 7.1204),
        ("Jupiter, the largest planet in our solar system, has a prominent red spot.", -0.3788),
        ("Saturn, famous for its rings, is sometimes mistaken for the Red Planet.", 3.5416),
    ),
)
"""Log-odds of Qwen3-Reranker-0.6B in float32, as sentence-transformers tests them."""

_GOLDEN_TOLERANCE = {"float32": 0.01, "bfloat16": 0.75, "float16": 0.25}

MAX_LENGTH = 8192
"""Tokens of a whole prompt, as the model's authors use it."""

LARGE_TOKENIZER = 1_000_000
"""Bytes of a ``tokenizer.json`` that takes some 50 ms to read, in which no other thread runs."""

_ARCHITECTURE = "Qwen3ForCausalLM"

_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.05}
"""Largest relative distance between packed and plain hidden states that rounding explains.

Measured on 28 layers: 0.014 in bfloat16. A norm that is off by a tenth gives 0.17, rotation off by 5 % gives 0.12.
"""

_PARITY_PAIRS = (
    Pair("who fixed the build?", "Ada: I fixed the build, it was the cache.", DEFAULT_INSTRUCTION),
    Pair("who fixed the build?", "lunch?", DEFAULT_INSTRUCTION),
    Pair("red planet", "Mars", "Find the message that answers."),
)


class _Engine(Protocol):
    def states(self, prompts: Sequence[Prompt]) -> Tensor: ...

    def fit(self, prompts: Sequence[Prompt], budget: int) -> int: ...

    def close(self) -> None: ...


class _Tokenizer(Protocol):
    @property
    def answers(self) -> AnswerTokens: ...

    @property
    def max_length(self) -> int: ...

    def prompts(self, pairs: Sequence[Pair]) -> list[Prompt]: ...

    def document_lengths(self, pairs: Sequence[Pair]) -> list[int]: ...

    def close(self) -> None: ...


class _Loaded(NamedTuple):
    engine: _Engine
    answer_direction: Tensor  # (hidden,) float32: weight of "yes" minus weight of "no"
    is_official: bool
    plain_because: str
    """Why scoring is not packed; empty when it is."""


class Qwen3Reranker:
    """A loaded Qwen3 reranker; make one with `load`. Not thread-safe: one call at a time.

    Attributes:
        key: model, revision, dtype and maximal length: scores of different keys must not be mixed.
        path: "packed" or "plain", the way scores are computed.
        path_reason: why it is the plain one; empty when packed.
        token_budget: tokens in one run, about; may be changed between calls.
    """

    def __init__(self, loaded: _Loaded, tokenizer: _Tokenizer, *, key: str, dtype: DType, budget: int) -> None:
        self.key = key
        self.path: Literal["packed", "plain"] = "plain" if loaded.plain_because else "packed"
        self.path_reason = loaded.plain_because
        self.token_budget = budget
        self._engine: _Engine | None = loaded.engine
        self._answer_direction = loaded.answer_direction
        self._tokenizer = tokenizer
        self._dtype: DType = dtype
        self._is_official = loaded.is_official

    @classmethod
    def load(
        cls,
        name_or_folder: str,
        *,
        device: str = "cpu",
        dtype: DType = "float32",
        token_budget: int = 512,
        max_length: int = MAX_LENGTH,
        revision: str | None = None,
        local_files_only: bool = True,
    ) -> Qwen3Reranker:
        """Load any ``Qwen3ForCausalLM``, and check the packed forward pass against the plain one.

        Args:
            name_or_folder: a name on the hub or a local folder with safetensors weights.
            device: "cpu", "cuda", "mps".
            dtype: of weights and matrix products; scores are float32.
            token_budget: tokens in one run, about: 256 for each thread suits a CPU, 8192 a GPU.
            max_length: tokens of a whole prompt, at most 8192; documents are cut to fit.
            revision: commit or tag on the hub.
            local_files_only: False to download what is missing.

        Raises:
            ModelUnavailable: missing, truncated or of the wrong kind; the message says which.
            OutOfMemory: the weights do not fit.
        """
        source = Source(name_or_folder, revision, local_files_only)
        config = load_config(source, _ARCHITECTURE)
        require_device(device)
        tokenizer = _load_tokenizer(source, min(max_length, MAX_LENGTH), most_words=config.vocab_size)
        with contextlib.ExitStack() as undone:
            undone.callback(tokenizer.close)
            with raises_out_of_memory():
                loaded = _load_engine(source, config, tokenizer, device=device, dtype=dtype)
            undone.pop_all()
        give_memory_back(device)  # the weights' first layout is gone
        key = f"qwen3:{name_or_folder}@{fingerprint(source, config)}:{dtype}:{tokenizer.max_length}"
        return cls(loaded, tokenizer, key=key, dtype=dtype, budget=token_budget)

    def token_counts(self, pairs: Sequence[Pair]) -> list[int]:
        """Return how many tokens each document costs, with the suffix and without what its question shares."""
        return self._tokenizer.document_lengths(pairs)

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Return the log-odds of "yes" for each pair, (len(pairs),), in order.

        Raises:
            ScoringFailed: a score is not finite, or the model was closed.
            OutOfMemory: `token_budget` is too large for the device.
        """
        return collected(len(pairs), self.score_chunks(pairs))

    def score_chunks(self, pairs: Sequence[Pair]) -> Iterator[ScoredPlaces]:
        """Score run by run in the order given, so that a caller may stop at any point.

        Identical pairs are scored once, with the first of them.

        Yields:
            The places in ``pairs`` that one run scored, and their log-odds.

        Raises:
            ScoringFailed: a score is not finite, or the model was closed.
            OutOfMemory: `token_budget` is too large for the device.
        """
        distinct = Distinct(pairs)
        prompts = self._tokenizer.prompts(distinct.items)
        done = 0
        while done < len(prompts):
            engine = self._open_engine()
            stop = done + engine.fit(prompts[done:], max(1, self.token_budget))
            scores = self._log_odds(engine, prompts[done:stop])
            yield distinct.scored(range(done, stop), scores)
            done = stop

    def self_test(self) -> SelfTest:
        """Score known texts: the published values if these are the official 0.6B weights, else clear-cut triplets.

        Raises:
            ScoringFailed: as `score`.
        """
        if self._is_official:
            return prove_golden(self.score, GOLDEN, _GOLDEN_TOLERANCE[self._dtype])
        result = prove_order(self.score, DEFAULT_INSTRUCTION)
        return SelfTest(result.ok, f"Not the official 0.6B weights. {result.detail}")

    def close(self) -> None:
        """Free the weights; may be called twice."""
        if self._engine is None:
            return
        device = self._answer_direction.device.type
        self._engine.close()
        self._engine = None
        self._tokenizer.close()
        give_memory_back(device)

    def _open_engine(self) -> _Engine:
        if self._engine is None:
            raise ScoringFailed("The reranker model was unloaded.")
        return self._engine

    def _log_odds(self, engine: _Engine, prompts: Sequence[Prompt]) -> NDArray[np.float32]:
        with raises_out_of_memory():
            scores: NDArray[np.float32] = (engine.states(prompts) @ self._answer_direction).cpu().numpy()
        if not np.isfinite(scores).all():
            raise NonFiniteScores("The reranker model gave scores that are no numbers.")
        return scores


def _load_tokenizer(source: Source, max_length: int, *, most_words: int) -> _Tokenizer:
    """Read the tokenizer, a large one in a process of its own; where more than its file decides, transformers reads it.

    Raises:
        ModelUnavailable: it is missing, damaged, of another model, or cannot be used for this prompt.
    """
    file = Path(source.name) / "tokenizer.json"
    if file.is_file() and file.stat().st_size > LARGE_TOKENIZER:
        try:
            elsewhere = TokenizerProcess(file, max_length)
        except NoProcess as error:
            log.warning("%s Everything stands still for a second while it is read here", error)
        else:
            if elsewhere.vocabulary <= most_words and not elsewhere.has_frame:
                return elsewhere
            elsewhere.close()
    words = load_tokenizer(source)
    if words.get_vocab_size() > most_words:
        raise source.unavailable("has a tokenizer of more tokens than its weights know.")
    return PromptTokenizer(words, max_length)


def _load_engine(source: Source, config: Any, tokenizer: _Tokenizer, *, device: str, dtype: DType) -> _Loaded:
    """Load the weights for packed scoring if it gives what plain scoring gives, else for the latter."""
    model = _load_model(source, device, dtype)
    yes, no = model.lm_head.weight.detach()[list(tokenizer.answers)].float()
    direction = yes - no
    official = is_official(source.name, config)
    plain = PlainQwen3(model)
    if unsupported := why_unsupported(config):
        return _Loaded(plain, direction, official, unsupported)
    prompts = tokenizer.prompts(_PARITY_PAIRS)
    expected = plain.states(prompts)
    try:
        with raises_out_of_memory():
            packed = PackedQwen3(model)  # takes the layers out of the model
            distance = _distance(packed.states(prompts), expected)
    except RuntimeError as error:  # an operator that this build of torch lacks
        reason = f"packed scoring failed in the self-test ({type(error).__name__})"
    else:
        if distance <= _TOLERANCE[dtype]:
            return _Loaded(packed, direction, official, "")
        reason = f"packed and plain scoring differ by {distance:.1e} in the self-test"
        packed.close()
        del packed
    del model, plain  # not two copies at once
    return _Loaded(PlainQwen3(_load_model(source, device, dtype)), direction, official, reason)


def _load_model(source: Source, device: str, dtype: DType) -> Any:
    """Read the weights onto a device.

    Raises:
        ModelUnavailable: they are missing, truncated, incomplete, of other shapes, or not in safetensors files.
    """
    with importing_libraries():
        import torch
        from transformers import Qwen3ForCausalLM

    with reading_weights(source):
        loaded: Any = Qwen3ForCausalLM.from_pretrained(
            source.name,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            output_loading_info=True,
            **source.options(),
        )
    model, report = loaded
    # what a file lacks, transformers fills with random numbers and a warning in the log
    if missing := sorted(report["missing_keys"]):
        raise source.unavailable(f"lacks {len(missing)} of its weights, such as {missing[0]}.")
    return model.eval().to(device)


def is_official(name_or_folder: str, config: Any) -> bool:
    """Whether name and shape are those of Qwen3-Reranker-0.6B, whose scores are published."""
    shape = (config.num_hidden_layers, config.hidden_size, config.intermediate_size, config.num_attention_heads)
    return "qwen3-reranker-0.6b" in name_or_folder.lower() and shape == (28, 1024, 3072, 16)


def _distance(states: Tensor, expected: Tensor) -> float:
    """Return the largest relative distance of a row from what it should be."""
    return float(((states - expected).norm(dim=1) / expected.norm(dim=1)).max())
