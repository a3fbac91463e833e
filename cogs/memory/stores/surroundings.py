"""Which messages stand around the hits of a search: what both engines look up for them. Pure."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cogs.memory.records import Neighbours


def beside(hits: Iterable[Neighbours]) -> list[int]:
    """The messages before and after each hit, and the first answer to it: what is asked for often stands there."""
    around = chain.from_iterable((n.previous, n.next, n.answer) for n in hits)
    return list(dict.fromkeys(i for i in around if i is not None))


def with_context(around: Mapping[int, Neighbours]) -> list[int]:
    """The messages and all that stands around them, by id."""
    return sorted({*around, *(i for n in around.values() for i in n if i is not None)})
