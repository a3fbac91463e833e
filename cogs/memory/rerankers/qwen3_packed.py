"""Packed shared-prefix scoring: Qwen3's forward pass over only the tokens that differ.

All documents of a question share system prompt, instruction and question. Those tokens run once and leave their keys
and values behind as a `Context`; the documents continue it, laid end to end as one (tokens, hidden) sequence without
padding. What is new of a stem runs in the same pass as its documents, and in the last layer only the tokens that give
the answers go on. The sums are those of the ordinary forward pass, in another order.

Residuals, norms and rotary embeddings are kept in float32 on the CPU, where that is faster than bfloat16 as well as
more exact; GPUs have fused kernels for the model's own dtype.
"""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from cogs.memory.rerankers.qwen3_attention import (
    CausalMasks,
    DocumentAttention,
    PaddedAttention,
    SingleAttention,
    attend_causally,
    extend_context,
)
from cogs.memory.rerankers.qwen3_contexts import ContextCache
from cogs.memory.rerankers.qwen3_layers import DecoderLayer, can_pack, take_layer
from cogs.memory.rerankers.qwen3_plan import Pass, Stem, make_plan, tokens_to_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch import Tensor

    from cogs.memory.rerankers.qwen3_prompt import Prompt

_LEAST_TOKENS = 64
"""Fewer tokens a thread do not fill the processor's matrix units."""

_MOST_TOKENS = 256
"""More at once on one thread are slower: their activations fall out of its cache (8 % at 512, measured in bfloat16)."""

CONTEXT_CACHE_BYTES = 128 * 2**20
"""Keys and values kept between calls: about ten questions of the 0.6B model in bfloat16."""


def why_unsupported(config: Any) -> str | None:
    """Return what in a configuration this forward pass does not implement, or None."""
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if config.model_type != "qwen3":
        return f"model type {config.model_type}"
    if any(kind != "full_attention" for kind in config.layer_types):
        return "sliding-window attention"
    if config.attention_bias:
        return "attention bias"
    if rope.get("rope_type", "default") != "default":
        return f"rotary embeddings of type {rope['rope_type']}"
    if config.hidden_act != "silu":
        return f"activation {config.hidden_act}"
    return None


class PackedQwen3:
    """A Qwen3 that gives the final hidden state at the end of each prompt.

    Args:
        model: a loaded ``Qwen3ForCausalLM`` of a supported configuration; its layers are taken out of it one by one,
            so that the weights never stand in memory twice. It cannot be used afterwards.
        padded: attend to documents in padded groups and not one by one; by default on every device but the CPU.
    """

    def __init__(self, model: Any, *, padded: bool | None = None) -> None:
        import torch

        config = model.config
        self._embedding: Tensor = _own(model.model.embed_tokens.weight.detach())
        self._final_norm: Tensor = _own(model.model.norm.weight.detach()).float()
        self._inverse_frequencies: Tensor = model.model.rotary_emb.inv_freq.float()  # (head_dim / 2,)
        self._epsilon: float = config.rms_norm_eps
        self._heads: int = config.num_attention_heads
        self._kv_heads: int = config.num_key_value_heads
        self._head_dim: int = config.head_dim
        self._device: torch.device = self._embedding.device
        self._dtype: torch.dtype = self._embedding.dtype
        self._is_padded = self._device.type != "cpu" if padded is None else padded
        self._norm_dtype = torch.float32 if self._device.type == "cpu" else self._dtype
        self._contexts = ContextCache(CONTEXT_CACHE_BYTES)
        self._workers: _Workers | None = None
        self.is_prepacked = can_pack(self._embedding)
        with torch.inference_mode():
            self._layers = self._take_layers(model)

    def _take_layers(self, model: Any) -> list[DecoderLayer]:
        import torch

        layers = []
        for index, layer in enumerate(model.model.layers):
            taken = take_layer(layer, packed=self.is_prepacked, norm_dtype=self._norm_dtype)
            layers.append(taken)
            model.model.layers[index] = torch.nn.Identity()
        return layers

    def states(self, prompts: Sequence[Prompt]) -> Tensor:
        """Return the final hidden state at the end of each prompt, (prompts, hidden) float32, after the last norm."""
        import torch

        with torch.inference_mode():
            plan = make_plan(prompts, self._contexts, self._parts(prompts))
            hidden = torch.cat(self._run(plan.passes))
            self._contexts.store(plan.contexts)
            result = torch.empty_like(hidden)
            result[torch.tensor(plan.order, device=hidden.device)] = hidden
            return result

    def fit(self, prompts: Sequence[Prompt], budget: int) -> int:
        """Return how many of the first prompts to run at once, at least one, so that all runs are about equally long.

        A run is up to a quarter longer than ``budget``: a few tokens too many are no reason for another one.
        """
        totals = tokens_to_run(prompts, self._contexts)
        runs = math.ceil(totals[-1] / (1.25 * budget))
        return max(1, sum(total * runs <= totals[-1] for total in totals))

    def close(self) -> None:
        """End the threads."""
        if self._workers is not None:
            self._workers.shutdown()
            self._workers = None

    # --- threads

    def _parts(self, prompts: Sequence[Prompt]) -> int:
        """Return into how many passes to cut the prompts: one a thread, and none larger than caches like."""
        import torch

        if self._device.type != "cpu":
            return 1
        tokens = tokens_to_run(prompts, self._contexts)[-1]
        threads = torch.get_num_threads()
        rounds = max(1, round(tokens / (_MOST_TOKENS * threads)))
        is_enough = min(tokens // _LEAST_TOKENS, len(prompts) // 2) >= threads
        return rounds * threads if is_enough else rounds

    def _run(self, passes: Sequence[Pass]) -> list[Tensor]:
        """Run passes at once, each on one thread, if that is one for each of torch's threads, else in turn.

        torch would share out each operation instead. Its threads then wait for each other dozens of times a layer, and
        where other programs want the same cores too, that waiting is most of the time: measured on two cores with
        twice as much to do, 4–8 times slower than one thread alone. Passes wait for nothing but the stem.
        """
        import torch

        threads = torch.get_num_threads()
        if threads == 1 or len(passes) < threads:
            return [self._forward(part) for part in passes]
        if self._workers is None or self._workers.count != threads:
            self.close()
            self._workers = _Workers(threads)
        return self._workers.map(self._forward, passes)

    # --- the forward pass

    def _forward(self, part: Pass) -> Tensor:
        """Return the final hidden state of each document's last token, (documents, hidden) float32."""
        import torch

        with torch.inference_mode():  # holds for one thread
            try:
                return self._run_layers(part)
            except BaseException:
                for stem in part.stems:
                    stem.result.abandon()
                raise

    def _run_layers(self, part: Pass) -> Tensor:
        import torch
        from torch.nn import functional

        ids = torch.tensor(part.ids, device=self._device)
        answers = torch.tensor([span.stop - 1 for span in part.documents], device=self._device)
        cos, sin = self._rotary(torch.tensor(part.positions, device=self._device))
        masks = CausalMasks(self._heads // self._kv_heads, self._dtype, self._device)
        attention: DocumentAttention = (
            PaddedAttention(part.documents, masks, self._device)
            if self._is_padded
            else SingleAttention(part.documents, masks)
        )
        hidden = functional.embedding(ids, self._embedding).to(self._norm_dtype)
        for index, layer in enumerate(self._layers):
            is_last = index == len(self._layers) - 1
            q, kv = self._queries_keys_values(layer, hidden, cos, sin)
            mixed = q.new_empty(q.shape)
            for stem in part.stems:
                self._attend_stem(stem, q, kv, index, mixed, masks=None if is_last else masks)
            if is_last:
                hidden = hidden[answers]
                mixed = attention.last_rows(q[answers], kv, index)
            else:
                attention.all_rows(q, kv, index, mixed)
            hidden = self._finish_layer(layer, hidden, mixed)
        return functional.rms_norm(hidden.float(), self._final_norm.shape, self._final_norm, self._epsilon)

    def _queries_keys_values(
        self, layer: DecoderLayer, hidden: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return q (tokens, kv_heads, group, head_dim) and kv (tokens, 2, kv_heads, head_dim) of one layer."""
        from torch.nn import functional

        tokens = len(hidden)
        normed = functional.rms_norm(hidden, hidden.shape[-1:], layer.attention_norm, self._epsilon)
        qkv = layer.projections.qkv(normed.to(self._dtype)).view(tokens, -1, self._head_dim)
        # queries and keys share one view: their norms differ in weights only, their rotation not at all
        rotated = qkv[:, : self._heads + self._kv_heads]
        normed = functional.rms_norm(rotated.to(self._norm_dtype), (self._head_dim,), None, self._epsilon)
        normed *= layer.query_key_norm
        first, second = normed.chunk(2, dim=-1)
        turned = normed * cos
        turned[..., : self._head_dim // 2].addcmul_(second, sin, value=-1)
        turned[..., self._head_dim // 2 :].addcmul_(first, sin)
        rotated.copy_(turned)
        q = qkv[:, : self._heads].view(tokens, self._kv_heads, -1, self._head_dim)
        return q, qkv[:, self._heads :].view(tokens, 2, self._kv_heads, self._head_dim)

    def _rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return RoPE's cos, (tokens, 1, head_dim), and sin, (tokens, 1, head_dim / 2)."""
        angles = positions[:, None, None].float() * self._inverse_frequencies
        return angles.cos().repeat(1, 1, 2).to(self._norm_dtype), angles.sin().to(self._norm_dtype)

    @staticmethod
    def _attend_stem(stem: Stem, q: Tensor, kv: Tensor, layer: int, out: Tensor, *, masks: CausalMasks | None) -> None:
        """Keep a stem's keys and values; without masks (in the last layer) nothing of it goes on."""
        seen = extend_context(kv, stem.span, layer)
        stem.result.grow(seen)
        if masks is not None:
            rows = slice(stem.span.start, stem.span.stop)
            attend_causally(q[None, rows], seen[:, None], stem.span.offset, masks, out[None, rows])

    def _finish_layer(self, layer: DecoderLayer, hidden: Tensor, mixed: Tensor) -> Tensor:
        """Add the attention's and the MLP's share to the residual stream."""
        from torch.nn import functional

        hidden += layer.projections.output(mixed.flatten(1))
        normed = functional.rms_norm(hidden, hidden.shape[-1:], layer.mlp_norm, self._epsilon)
        hidden += layer.projections.mlp(normed.to(self._dtype))
        return hidden


def _own(weight: Tensor) -> Tensor:
    """Copy what may be a view of the mapped file: it would hold all of the file, and crash when that is overwritten."""
    return weight.clone() if weight.device.type == "cpu" else weight


class _Workers:
    """Threads on which torch does not start threads of its own."""

    def __init__(self, count: int) -> None:
        import torch

        self.count = count
        self._pool = ThreadPoolExecutor(count, "rerank", initializer=torch.set_num_threads, initargs=(1,))
        started = threading.Barrier(count)
        list(self._pool.map(lambda _: started.wait(), range(count)))
        torch.set_num_threads(count)  # the setting is each thread's own, but new threads take the last one made

    def map(self, run: Callable[[Pass], Tensor], passes: Sequence[Pass]) -> list[Tensor]:
        """Return the result of each pass; if one fails, raise once all have ended."""
        futures = [self._pool.submit(run, part) for part in passes]
        wait(futures)
        return [future.result() for future in futures]  # the first pass's error first: others may follow from it

    def shutdown(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False)
