"""Attention of many short sequences that continue shared contexts, without padding on the CPU.

Shapes: q is (tokens, kv_heads, group, head_dim), where `group` query heads share one key head; kv is
(tokens, 2, kv_heads, head_dim), keys then values. A group's heads are folded into the rows of one matrix, so keys and
values are never repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from torch import Tensor

    from cogs.memory.rerankers.qwen3_contexts import Context
    from cogs.memory.rerankers.qwen3_plan import Span

_TILE = 256
"""Query positions handled at once: bounds the mask of a long text to 256 rows."""


class DocumentAttention(Protocol):
    """Lets documents attend to their context and, causally, to themselves."""

    def all_rows(self, q: Tensor, kv: Tensor, layer: int, out: Tensor) -> None:
        """Write the attention of every token of every document into ``out``, shaped as ``q``."""
        ...

    def last_rows(self, q: Tensor, kv: Tensor, layer: int) -> Tensor:
        """(documents, kv_heads, group, head_dim): that of the documents' last tokens; q holds only those."""
        ...


class CausalMasks:
    """Additive masks, made once a pass: they depend on the numbers of rows and keys alone."""

    def __init__(self, group: int, dtype: torch.dtype, device: torch.device) -> None:
        self._group = group
        self._dtype = dtype
        self._device = device
        self._masks: dict[tuple[int, int], Tensor] = {}

    def get(self, rows: int, keys: int) -> Tensor:
        """(rows · group, keys): row i sees all but the ``rows − 1 − i`` last keys."""
        import torch

        mask = self._masks.get((rows, keys))
        if mask is None:
            mask = torch.full((rows, keys), -torch.inf, dtype=self._dtype, device=self._device)
            mask = mask.triu_(keys - rows + 1).repeat_interleave(self._group, dim=0)
            self._masks[rows, keys] = mask
        return mask


def attend(q: Tensor, kv: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(q kᵀ / √d + mask) v for a batch.

    Args:
        q: (batch, rows, kv_heads, group, head_dim).
        kv: (2, batch, kv_heads, keys, head_dim).
        mask: broadcastable to (batch, kv_heads, rows · group, keys), or None.

    Returns:
        Shaped as q.
    """
    from torch.nn import functional

    batch, rows, kv_heads, group, head_dim = q.shape
    folded = q.transpose(1, 2).reshape(batch, kv_heads, rows * group, head_dim)
    out = functional.scaled_dot_product_attention(folded, kv[0], kv[1], attn_mask=mask)
    return out.view(batch, kv_heads, rows, group, head_dim).transpose(1, 2)


def attend_causally(q: Tensor, kv: Tensor, offset: int, masks: CausalMasks, out: Tensor) -> None:
    """Write the attention of sequences that begin at position ``offset`` into ``out``, tile by tile.

    Args:
        q: (batch, length, kv_heads, group, head_dim).
        kv: (2, batch, kv_heads, offset + length, head_dim).
        offset: length of the context.
        masks: of this pass.
        out: shaped as q.
    """
    length = q.shape[1]
    for start in range(0, length, _TILE):
        stop = min(start + _TILE, length)
        keys = offset + stop
        out[:, start:stop] = attend(q[:, start:stop], kv[:, :, :, :keys], masks.get(stop - start, keys))


def extend_context(kv: Tensor, span: Span, layer: int) -> Tensor:
    """Return what a sequence sees in a layer: its context and itself, (2, kv_heads, offset + length, head_dim)."""
    import torch

    own = kv[span.start : span.stop].permute(1, 2, 0, 3)
    return torch.cat([span.context.layer(layer), own], dim=2) if span.context else own.contiguous()


class SingleAttention:
    """One document after the other: for the CPU, where padding costs more than calls.

    The context of the documents in turn stays in place in one buffer; only a document's own keys are written behind it.
    """

    def __init__(self, spans: Sequence[Span], masks: CausalMasks) -> None:
        self._spans = spans
        self._masks = masks
        self._longest = max(span.offset + span.length for span in spans)

    def all_rows(self, q: Tensor, kv: Tensor, layer: int, out: Tensor) -> None:
        """See `DocumentAttention`."""
        for span, seen in self._seen(kv, layer):
            rows = slice(span.start, span.stop)
            attend_causally(q[None, rows], seen, span.offset, self._masks, out[None, rows])

    def last_rows(self, q: Tensor, kv: Tensor, layer: int) -> Tensor:
        """See `DocumentAttention`."""
        out = q.new_empty(q.shape)
        for row, (_, seen) in enumerate(self._seen(kv, layer)):
            out[None, row : row + 1] = attend(q[None, row : row + 1], seen, None)
        return out

    def _seen(self, kv: Tensor, layer: int) -> Iterator[tuple[Span, Tensor]]:
        _, _, kv_heads, head_dim = kv.shape
        buffer = kv.new_empty(2, 1, kv_heads, self._longest, head_dim)
        held: Context | None = None
        for span in self._spans:
            if span.context is not None and span.context is not held:
                buffer[:, 0, :, : span.offset] = span.context.layer(layer)
            held = span.context
            end = span.offset + span.length
            buffer[:, 0, :, span.offset : end] = kv[span.start : span.stop].permute(1, 2, 0, 3)
            yield span, buffer[:, :, :, :end]


class PaddedAttention:
    """Documents of one context and of like length in one call: for GPUs, where each call costs a launch.

    Padding stands behind a document, where the causal mask hides it from the document's own tokens.
    """

    _ALIGNMENT = 8
    """CUDA's kernels copy a mask whose rows are not a multiple of 8 long."""

    def __init__(self, spans: Sequence[Span], masks: CausalMasks, device: torch.device) -> None:
        self._masks = masks
        self._blocks = [_PaddedBlock.of(block, self._ALIGNMENT, device) for block in _blocks_of_like_length(spans)]

    def all_rows(self, q: Tensor, kv: Tensor, layer: int, out: Tensor) -> None:
        """See `DocumentAttention`."""
        for block in self._blocks:
            padded = q[block.index]
            attended = padded.new_empty(padded.shape)
            attend_causally(padded, block.seen(kv, layer), block.context.length, self._masks, attended)
            out[block.tokens] = attended.flatten(0, 1)[block.kept]

    def last_rows(self, q: Tensor, kv: Tensor, layer: int) -> Tensor:
        """See `DocumentAttention`."""
        import torch

        attended = []
        done = 0
        for block in self._blocks:
            rows = q[done : done + len(block.index), None]
            attended.append(attend(rows, block.seen(kv, layer), block.hide_padding(q.dtype))[:, 0])
            done += len(rows)
        return torch.cat(attended)


@dataclass(frozen=True, slots=True)
class _PaddedBlock:
    context: Context
    tokens: slice
    """Where the block's tokens lie in the pass."""
    index: Tensor  # (documents, length): the token at each place; padding repeats a document's last one
    kept: Tensor  # (tokens,): places that are no padding, in the order of the tokens
    lengths: Tensor  # (documents,)

    @classmethod
    def of(cls, spans: Sequence[Span], alignment: int, device: torch.device) -> _PaddedBlock:
        import torch

        context = spans[0].context
        if context is None:
            raise ValueError("a document continues a context")
        longest = max(span.length for span in spans)
        longest += -(context.length + longest) % alignment
        starts = torch.tensor([span.start for span in spans])[:, None]
        lengths = torch.tensor([span.length for span in spans])
        places = torch.arange(longest)[None, :]
        index = starts + places.clamp(max=lengths[:, None] - 1)
        kept = (places < lengths[:, None]).flatten().nonzero().flatten()
        tokens = slice(spans[0].start, spans[-1].stop)
        return cls(context, tokens, index.to(device), kept.to(device), lengths.to(device))

    def seen(self, kv: Tensor, layer: int) -> Tensor:
        """Context and documents, (2, documents, kv_heads, context + length, head_dim)."""
        own = kv[self.index].permute(2, 0, 3, 1, 4)
        offset = self.context.length
        shape = (*own.shape[:3], offset + own.shape[3], own.shape[4])
        seen = own.new_empty(shape)
        seen[:, :, :, :offset] = self.context.layer(layer)[:, None]
        seen[:, :, :, offset:] = own
        return seen

    def hide_padding(self, dtype: torch.dtype) -> Tensor:
        """(documents, 1, 1, context + length): what a document's last token may see."""
        import torch

        offset = self.context.length
        places = torch.arange(offset + self.index.shape[1], device=self.lengths.device)
        padding = places >= offset + self.lengths[:, None, None, None]
        return torch.zeros(padding.shape, dtype=dtype, device=padding.device).masked_fill_(padding, -torch.inf)


def _blocks_of_like_length(spans: Sequence[Span]) -> list[list[Span]]:
    """Cut consecutive documents, sorted by context and length, where padding would outweigh another launch."""
    blocks: list[list[Span]] = []
    for span in spans:
        first = blocks[-1][0] if blocks else None
        if first is not None and span.context is first.context and span.length <= 2 * first.length + 16:
            blocks[-1].append(span)
        else:
            blocks.append([span])
    return blocks
