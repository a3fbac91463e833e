"""Qwen3 as the transformers library runs it: whole prompts, left-padded batches, the last position only.

The yardstick that packed scoring is measured against at load, and the fallback for what it does not support.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from cogs.memory.rerankers.qwen3_prompt import Prompt


class PlainQwen3:
    """Gives the final hidden state at the end of each prompt.

    Args:
        model: a loaded ``Qwen3ForCausalLM``; it stays usable until `close`.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def states(self, prompts: Sequence[Prompt]) -> Tensor:
        """Return the final hidden state at the end of each prompt, (prompts, hidden) float32, after the last norm."""
        import torch

        rows = [torch.tensor(prompt.ids) for prompt in prompts]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_side="left")
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], True, padding_side="left")
        device = self._model.device
        with torch.inference_mode():
            # only the last hidden state is wanted: never the logits of 150,000 words at every position
            run = self._model.model(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False)
            last: Tensor = run.last_hidden_state[:, -1].float()
            return last

    def fit(self, prompts: Sequence[Prompt], budget: int) -> int:
        """Return how many of the first prompts one padded batch of ``budget`` tokens takes; at least one."""
        longest = 0
        for count, prompt in enumerate(prompts):
            longest = max(longest, len(prompt.ids))
            if longest * (count + 1) > budget and count:
                return count
        return len(prompts)

    def close(self) -> None:
        """Free the weights."""
        self._model.to("meta")
