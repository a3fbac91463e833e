"""Failures on order: what the loopback's REST API answers instead of the truth, for which requests, how often."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .wire import call_pattern

if TYPE_CHECKING:
    import re


@dataclass(frozen=True, slots=True)
class RateLimited:
    """Answer 429. Without `via` it is a ban by the proxy in front of Discord, which clients must not retry."""

    retry_after: float = 0.05
    everywhere: bool = False
    """A global rate limit."""
    via: bool = True


@dataclass(frozen=True, slots=True)
class Status:
    """Answer an HTTP error, e.g. 500, 502 or 503, with the page that a proxy shows."""

    code: int
    text: str = "upstream connect error"


@dataclass(frozen=True, slots=True)
class Drop:
    """Cut the connection without an answer; with `after_effect` the request has been carried out before."""

    after_effect: bool = False


@dataclass(frozen=True, slots=True)
class Delay:
    """Answer the truth, but only after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Answer the truth, but only after `release`."""

    released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let all that wait, and all that come, go on."""
        self.released.set()


Fault = RateLimited | Status | Drop | Delay | Hold


@dataclass
class _Order:
    method: str
    path: re.Pattern[str]
    skip: int
    faults: list[Fault]


class Faults:
    """Orders of failures. Each matching request uses up one fault of the first order that matches it.

    >>> faults = Faults()
    >>> faults.add("GET", "/channels/*/messages", RateLimited(0.1), Status(500), Drop(), skip=1)
    >>> faults.take("GET", "/channels/5/messages"), faults.take("GET", "/channels/5/messages")
    (None, RateLimited(retry_after=0.1, everywhere=False, via=True))
    >>> faults.pending
    2
    """

    def __init__(self) -> None:
        self._orders: list[_Order] = []

    @property
    def pending(self) -> int:
        """How many ordered faults have not struck yet."""
        return sum(len(order.faults) for order in self._orders)

    def add(self, method: str, path: str, *faults: Fault, times: int = 1, skip: int = 0) -> None:
        """Let the next matching requests fail, one fault each, the whole row `times` times.

        Args:
            method: the HTTP method; ``*`` for any.
            path: the path after ``/api/v10``; ``*`` stands for one segment, ``**`` for any number.
            faults: what happens, in this order.
            times: how often the row of faults is repeated.
            skip: how many matching requests go through unharmed first.
        """
        self._orders.append(_Order(method, call_pattern(path), skip, list(faults) * times))

    def clear(self) -> None:
        """Forget all orders."""
        self._orders.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Use up the fault for this request, if there is one."""
        for order in self._orders:
            if order.faults and order.method in ("*", method) and order.path.fullmatch(path):
                if order.skip > 0:
                    order.skip -= 1
                    return None
                return order.faults.pop(0)
        return None
