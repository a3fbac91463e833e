"""The scoring that Qwen3-Reranker's authors publish, written down a second time: the yardstick of ours.

Every prompt is one string per document, batches are padded on the left, and the logits of every position are computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cogs.memory.rerankers import Pair

SYSTEM = (
    "<|im_start|>system\n"
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided."
    ' Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
ANSWER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def body(pair: Pair) -> str:
    """What stands between system prompt and answer."""
    return f"<Instruct>: {pair.instruction}\n<Query>: {pair.query}\n<Document>: {pair.document}"


class OfficialQwen3:
    """The published example for one folder of weights."""

    def __init__(self, folder: Path, dtype: str = "float32", max_length: int = 8192) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
        self._model = model.eval()
        self._max_length = max_length

    def ids(self, pairs: Sequence[Pair]) -> list[list[int]]:
        """The token ids of each prompt."""
        prefix = self.tokenizer.encode(SYSTEM, add_special_tokens=False)
        suffix = self.tokenizer.encode(ANSWER, add_special_tokens=False)
        bodies = self.tokenizer(
            [body(pair) for pair in pairs],
            padding=False,
            truncation="longest_first",
            return_attention_mask=False,
            max_length=self._max_length - len(prefix) - len(suffix),
        )
        return [prefix + ids + suffix for ids in bodies["input_ids"]]

    def log_probabilities(self, pairs: Sequence[Pair], batch: int = 32) -> list[tuple[float, float]]:
        """Log P(no) and log P(yes) of each pair, after float32 upcast of the two logits."""
        import torch

        yes, no = (self.tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
        results: list[tuple[float, float]] = []
        for start in range(0, len(pairs), batch):
            rows = self.ids(pairs[start : start + batch])
            inputs = self.tokenizer.pad({"input_ids": rows}, padding=True, return_tensors="pt")
            with torch.no_grad():
                last = self._model(**inputs).logits[:, -1, :]
            both = torch.stack([last[:, no], last[:, yes]], dim=1).float()  # (documents, 2): [no, yes]
            results.extend((row[0], row[1]) for row in torch.nn.functional.log_softmax(both, dim=1).tolist())
        return results

    def probabilities(self, pairs: Sequence[Pair], batch: int = 32) -> list[float]:
        """P(yes) of each pair."""
        import math

        return [math.exp(yes) for _, yes in self.log_probabilities(pairs, batch)]

    def log_odds(self, pairs: Sequence[Pair], batch: int = 32) -> list[float]:
        """Log P(yes) − log P(no) of each pair."""
        return [yes - no for no, yes in self.log_probabilities(pairs, batch)]
