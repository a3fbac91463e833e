"""One question at a time for each user, not too many in a minute, and not too many of all users at once."""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cachetools import TTLCache

from cogs.memory.exceptions import Busy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cogs.memory.surface.texts import Texts

QUESTIONS: Final = 20
"""Questions, pages and shares of one user within `WINDOW_S`."""
WINDOW_S: Final = 60.0
AT_ONCE: Final = 64
"""Questions of all users that may be under way: the last of them waits some seconds."""


class Turns:
    """Hands out turns to users.

    Args:
        questions: turns of one user within ``window_s``.
        window_s: seconds.
        at_once: turns of all users at a time.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        questions: int = QUESTIONS,
        window_s: float = WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
        *,
        at_once: int = AT_ONCE,
    ) -> None:
        self._at_once = at_once
        self._questions = questions
        self._window_s = window_s
        self._clock = clock
        self._taken: TTLCache[int, deque[float]] = TTLCache(maxsize=20_000, ttl=window_s, timer=clock)
        self._busy: set[int] = set()

    @contextmanager
    def take(self, user_id: int, texts: Texts) -> Iterator[None]:
        """Take a turn until the end of the block. Raises Busy, with a sentence, when there is none to take."""
        if user_id in self._busy:
            raise Busy(texts.one_at_a_time)
        if len(self._busy) >= self._at_once:
            raise Busy(texts.too_many)
        self.note(user_id, texts)
        self._busy.add(user_id)
        try:
            yield
        finally:
            self._busy.discard(user_id)

    def note(self, user_id: int, texts: Texts) -> None:
        """Count a turn that may run beside others of the same user. Raises Busy when there is none to take."""
        now = self._clock()
        taken = self._taken.get(user_id) or deque(maxlen=self._questions)
        if len(taken) == self._questions and (wait := self._window_s - (now - taken[0])) > 0:
            raise Busy(texts.slow_down.format(seconds=max(1, round(wait))))
        taken.append(now)
        self._taken[user_id] = taken
