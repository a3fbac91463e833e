"""The forward pass of all-MiniLM-L6-v2 as one call.

Every operation that Python asks of torch gives the interpreter's lock away and waits to get it back: a pass of a
hundred and fifty operations, 4 ms alone, took 23 ms beside a thread that runs Python, and 0.7 s where that thread kept
the lock for as long as Python lets it. Compiled by TorchScript the pass gives it away once: 3.3 and 7 ms.

Imported only where the model is loaded, for it imports torch.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.jit import optimized_execution  # type: ignore[attr-defined]
from torch.nn.functional import gelu, layer_norm, linear, normalize, scaled_dot_product_attention

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

HEADS = 12
LAYERS = 6
EPSILON = 1e-12
PACKED_ROWS = 16
"""Rows that the layout of packed weights is chosen for; it serves any number."""

_LINEARS = ("attention.self.qkv", "attention.output.dense", "intermediate.dense", "output.dense")
"""The linear layers of one BERT layer, once query, key and value are joined."""
_NORMS = ("attention.output", "output")


class Hidden(NamedTuple):
    """What a forward pass gives, in float32."""

    vectors: Tensor
    """(batch, dim), L2-normalised."""
    tokens: Tensor
    """(batch, longest, dim), L2-normalised."""
    finite: bool
    """Whether all of the vectors are numbers."""


class _Weights(NamedTuple):
    embeddings: list[Tensor]
    """Of words, positions and token types."""
    norms: list[tuple[Tensor, Tensor]]
    """Weight and bias of the embeddings' norm, then of each layer's two."""
    linears: list[Tensor]
    """Weights of each layer's `_LINEARS`."""
    biases: list[Tensor]


class MiniLMLayers:
    """The six layers over weights in one dtype.

    Args:
        weights: by their names in the published file, without the pooler.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        weights = _fused(weights)
        layers = [f"encoder.layer.{number}" for number in range(LAYERS)]
        linears = [f"{layer}.{part}" for layer in layers for part in _LINEARS]
        norms = ["embeddings", *(f"{layer}.{part}" for layer in layers for part in _NORMS)]
        self._weights = _Weights(
            [weights[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")],
            [(weights[f"{name}.LayerNorm.weight"], weights[f"{name}.LayerNorm.bias"]) for name in norms],
            [weights.pop(f"{name}.weight") for name in linears],
            [weights[f"{name}.bias"] for name in linears],
        )
        is_packed = _can_pack(self._weights.linears[0].dtype)
        if is_packed:
            # For the dozen tokens of a question the layout that oneDNN wants takes as long as the product.
            with torch.no_grad():
                for number, weight in enumerate(self._weights.linears):
                    self._weights.linears[number] = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_ROWS)
        self._forward = _compiled(_forward_of(_packed_product if is_packed else _product))

    def __call__(self, ids: Tensor, lengths: Tensor) -> Hidden:
        """Run texts (batch, longest) of so many tokens each (batch,)."""
        # Optimised, it would be compiled anew for one shape after the other.
        with torch.inference_mode(), optimized_execution(False):
            return Hidden(*self._forward(ids, lengths, self._weights, HEADS, EPSILON))

    def close(self) -> None:
        """Free the weights."""
        for tensors in self._weights:
            tensors.clear()


def _product(x: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
    y = linear(x, weight, bias)
    return gelu(y) if activation == "gelu" else y


def _packed_product(x: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
    no_scalars = torch.jit.annotate(list[int | float | complex | None], [])  # type: ignore[no-untyped-call]
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, no_scalars, "none")
    return y


def _forward_of(product: Callable[[Tensor, Tensor, Tensor, str], Tensor]) -> Callable[..., tuple[Tensor, Tensor, bool]]:
    """The forward pass with one kind of linear layer, in the part of Python that TorchScript knows."""

    def forward(
        ids: Tensor,
        lengths: Tensor,
        weights: _Weights,
        heads: int,
        epsilon: float,
    ) -> tuple[Tensor, Tensor, bool]:
        embeddings, norms, linears, biases = weights
        batch, longest = ids.shape
        present = torch.arange(longest) < lengths[:, None]  # (batch, longest)
        mask = None if bool(present.all()) else present[:, None, None, :]
        hidden = embeddings[0][ids] + embeddings[1][:longest] + embeddings[2][0]
        dim = hidden.shape[-1]
        hidden = layer_norm(hidden, [dim], norms[0][0], norms[0][1], epsilon)
        previous = hidden
        for layer in range(len(linears) // 4):
            first, norm = 4 * layer, norms[2 * layer + 1]
            previous = hidden
            joined = product(hidden, linears[first], biases[first], "none")
            parts = joined.view(batch, longest, 3, heads, dim // heads).permute(2, 0, 3, 1, 4)
            attended = scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=mask)
            attended = attended.transpose(1, 2).reshape(batch, longest, dim)
            attended = product(attended, linears[first + 1], biases[first + 1], "none")
            hidden = layer_norm(attended + hidden, [dim], norm[0], norm[1], epsilon)
            norm = norms[2 * layer + 2]
            inner = product(hidden, linears[first + 2], biases[first + 2], "gelu")
            inner = product(inner, linears[first + 3], biases[first + 3], "none")
            hidden = layer_norm(inner + hidden, [dim], norm[0], norm[1], epsilon)
        layer5, layer6 = previous.float(), hidden.float()
        vectors = normalize((layer6 * present[:, :, None]).sum(1) / lengths[:, None], dim=-1)
        tokens = normalize(normalize(layer5, dim=-1) + normalize(layer6, dim=-1), dim=-1)
        return vectors, tokens, bool(torch.isfinite(vectors).all())

    return forward


def _compiled(function: Callable[..., tuple[Tensor, Tensor, bool]]) -> Callable[..., tuple[Tensor, Tensor, bool]]:
    """The function as TorchScript; as it is where this build of torch cannot compile it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # what is to replace it wants a compiler for C++
            scripted: Callable[..., tuple[Tensor, Tensor, bool]] = torch.jit.script(function)
    except (AttributeError, OSError, RuntimeError) as error:
        log.info("The embedded model is not compiled, and slower beside other work (%s)", type(error).__name__)
        return function
    return scripted


def _fused(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Join the query, key and value projections of each layer: one product instead of three."""
    fused = dict(weights)
    for layer in range(LAYERS):
        for kind in ("weight", "bias"):
            name = f"encoder.layer.{layer}.attention.self"
            fused[f"{name}.qkv.{kind}"] = torch.cat(
                [fused.pop(f"{name}.{x}.{kind}") for x in ("query", "key", "value")]
            )
    return fused


def _can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of torch packs weights of a dtype on this CPU, and gets what the plain product gets.

    Packed, a pass over a question needs two thirds of the time, and large batches gain a tenth.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    generator = torch.Generator().manual_seed(1)
    x, weight, bias = (torch.randn(*shape, generator=generator).to(dtype) for shape in ((3, 32), (16, 32), (16,)))
    with torch.no_grad():
        try:
            packed = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_ROWS)
            product = _packed_product(x, packed, bias, "gelu")
        except (AttributeError, RuntimeError):  # not in this build, or not on this CPU
            return False
        return torch.allclose(product.float(), _product(x, weight, bias, "gelu").float(), rtol=0.02, atol=0.02)
