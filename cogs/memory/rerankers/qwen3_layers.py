"""The weights of one Qwen3 decoder layer, laid out for speed: projections fused, on the CPU packed by oneDNN.

A plain ``F.linear`` lays its weight out anew for the processor's matrix units in every call. oneDNN can do that once
at load, and can apply SiLU and the gate's product while the result is still in registers. Measured on AVX512-BF16
(1024 → 4096, one thread): float32 112 against 85 GFLOP/s at 256 rows, and twice as fast at 16 rows, in bfloat16 too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_ROWS_HINT = 256
"""oneDNN asks how many rows to expect; the layout it picks is as fast for 16 as for 1024 (measured)."""


class Projections(Protocol):
    """The matrix products of one layer. Each takes and returns (tokens, features) in the model's dtype."""

    def qkv(self, x: Tensor) -> Tensor:
        """Queries, keys and values side by side, (tokens, (heads + 2 · kv_heads) · head_dim)."""
        ...

    def output(self, x: Tensor) -> Tensor:
        """The attention's output projection."""
        ...

    def mlp(self, x: Tensor) -> Tensor:
        """down(SiLU(gate(x)) · up(x))."""
        ...


@dataclass(slots=True)
class DenseProjections:
    """Plain matrices: for GPUs, and for processors without oneDNN."""

    qkv_weight: Tensor
    output_weight: Tensor
    gate_up_weight: Tensor
    down_weight: Tensor

    def qkv(self, x: Tensor) -> Tensor:
        """See `Projections`."""
        from torch.nn import functional

        return functional.linear(x, self.qkv_weight)

    def output(self, x: Tensor) -> Tensor:
        """See `Projections`."""
        from torch.nn import functional

        return functional.linear(x, self.output_weight)

    def mlp(self, x: Tensor) -> Tensor:
        """See `Projections`."""
        from torch.nn import functional

        gate, up = functional.linear(x, self.gate_up_weight).chunk(2, dim=-1)
        return functional.linear(functional.silu(gate).mul_(up), self.down_weight)


@dataclass(slots=True)
class PackedProjections:
    """Matrices in oneDNN's own layout; only its operators can read them."""

    operators: Any
    """``torch.ops.mkldnn``."""
    qkv_weight: Tensor
    output_weight: Tensor
    gate_weight: Tensor
    up_weight: Tensor
    down_weight: Tensor

    def qkv(self, x: Tensor) -> Tensor:
        """See `Projections`."""
        return self._linear(x, self.qkv_weight)

    def output(self, x: Tensor) -> Tensor:
        """See `Projections`."""
        return self._linear(x, self.output_weight)

    def mlp(self, x: Tensor) -> Tensor:
        """See `Projections`."""
        gate = self._linear(x, self.gate_weight, "swish")
        gated = self.operators._linear_pointwise.binary(x, gate, self.up_weight, None, "mul")
        return self._linear(gated, self.down_weight)

    def _linear(self, x: Tensor, weight: Tensor, activation: str = "none") -> Tensor:
        result: Tensor = self.operators._linear_pointwise(x, weight, None, activation, [], "")
        return result


@dataclass(slots=True)
class DecoderLayer:
    """One layer."""

    projections: Projections
    attention_norm: Tensor  # (hidden,)
    query_key_norm: Tensor  # (heads + kv_heads, head_dim)
    mlp_norm: Tensor  # (hidden,)


def take_layer(layer: nn.Module, *, packed: bool, norm_dtype: torch.dtype) -> DecoderLayer:
    """Lay out the weights of a ``Qwen3DecoderLayer``; drop that layer afterwards to free the originals."""
    import torch

    attention: Any = layer.self_attn
    mlp: Any = layer.mlp
    heads = attention.q_proj.out_features // attention.head_dim
    kv_heads = attention.k_proj.out_features // attention.head_dim
    norms = [attention.q_norm.weight.expand(heads, -1), attention.k_norm.weight.expand(kv_heads, -1)]
    qkv = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
    projections: Projections
    if packed:
        operators = torch.ops.mkldnn
        weights = (qkv, attention.o_proj.weight, mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight)
        projections = PackedProjections(
            operators, *(operators._reorder_linear_weight(weight.detach(), _ROWS_HINT) for weight in weights)
        )
    else:
        gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])
        projections = DenseProjections(qkv, attention.o_proj.weight, gate_up, mlp.down_proj.weight)
    attention_norm: Any = layer.input_layernorm
    mlp_norm: Any = layer.post_attention_layernorm
    return DecoderLayer(
        projections,
        attention_norm.weight.detach().to(norm_dtype, copy=True),
        torch.cat(norms).to(norm_dtype),
        mlp_norm.weight.detach().to(norm_dtype, copy=True),
    )


def can_pack(weight: Tensor) -> bool:
    """Whether this torch build and processor can pack weights of this dtype on this device."""
    import torch

    if weight.device.type != "cpu" or not torch._C._has_mkldnn:
        return False
    operators = torch.ops.mkldnn
    if not hasattr(operators, "_reorder_linear_weight") or not hasattr(operators, "_linear_pointwise"):
        return False
    if weight.dtype is torch.bfloat16:
        return bool(operators._is_mkldnn_bf16_supported())
    return weight.dtype is torch.float32
