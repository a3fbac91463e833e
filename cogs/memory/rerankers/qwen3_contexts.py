"""Keys and values of what many prompts share, kept for the documents that continue it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class ContextAbandoned(RuntimeError):
    """The pass that was computing a context failed."""


class Context:
    """The keys and values of a prompt's first tokens, layer by layer.

    One thread may compute it while others follow it layer by layer.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self._layers: list[Tensor] = []
        self._grown = threading.Condition()
        self._abandoned = False

    def layer(self, index: int) -> Tensor:
        """Return a layer's keys and values, (2, kv_heads, length, head_dim); wait if they are being computed.

        Raises:
            ContextAbandoned: they will never come.
        """
        if index >= len(self._layers):
            with self._grown:
                self._grown.wait_for(lambda: index < len(self._layers) or self._abandoned)
            if self._abandoned:
                raise ContextAbandoned
        return self._layers[index]

    def grow(self, layer: Tensor) -> None:
        """Add the next layer."""
        with self._grown:
            self._layers.append(layer)
            self._grown.notify_all()

    def abandon(self) -> None:
        """Say that no more layers will come."""
        with self._grown:
            self._abandoned = True
            self._grown.notify_all()

    def nbytes(self) -> int:
        """Bytes held."""
        return sum(layer.nbytes for layer in self._layers)


class ContextCache:
    """Complete contexts by their token ids, least recently used out first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[tuple[int, ...], Context] = OrderedDict()

    def __contains__(self, ids: tuple[int, ...]) -> bool:
        return ids in self._held

    def get(self, ids: tuple[int, ...]) -> Context | None:
        """Return a context, if it is held."""
        return self._held.get(ids)

    def store(self, contexts: dict[tuple[int, ...], Context]) -> None:
        """Keep what was just used, and drop what was used longest ago."""
        for ids, context in contexts.items():
            self._held[ids] = context
            self._held.move_to_end(ids)
        used = sum(context.nbytes() for context in self._held.values())
        while used > self._max_bytes and self._held:
            _, dropped = self._held.popitem(last=False)
            used -= dropped.nbytes()
