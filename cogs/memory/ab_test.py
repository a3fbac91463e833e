"""An A/B test of the reranker: some people are answered without it, always the same ones.

Side A is answered without the last stage (by the built-in ranking where a model serves, else by retrieval order), side
B with it. The log has a line for each question, with ids and figures and no text; people's 👍 and 👎 say the rest.
"""

from __future__ import annotations

import logging
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from cogs.memory.recall_records import Recall

log = logging.getLogger(__name__)

Side = Literal["A", "B"]
SIDES: Final[tuple[Side, ...]] = ("A", "B")
_LOGGED = 5
"""Results whose ids are logged."""


class ABTest:
    """Puts people on sides and counts what they ask. For the event loop's thread only.

    Args:
        share: of the people on side B; 1 = no test.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._questions = dict.fromkeys(SIDES, 0)
        self._computed = dict.fromkeys(SIDES, 0)
        self._milliseconds = dict.fromkeys(SIDES, 0.0)

    @property
    def is_running(self) -> bool:
        """Whether there are two sides."""
        return self.share < 1

    def side(self, user_id: int | None) -> Side | None:
        """Return a person's side, the same one on every server and after every restart; None without a test."""
        if user_id is None or not self.is_running:
            return None
        digest = blake2b(f"reranker {user_id}".encode(), digest_size=8).digest()
        return "B" if int.from_bytes(digest, "big") < self.share * 2**64 else "A"

    def note(self, guild_id: int, user_id: int, side: Side, recall: Recall) -> None:
        """Count and log a question of somebody on a side."""
        trace = recall.trace
        self._questions[side] += 1
        if not trace.cached:
            self._computed[side] += 1
            self._milliseconds[side] += trace.total_ms
        log.info(
            "A/B test: guild=%d user=%d side=%s reranker=%s reranked=%d/%d cached=%s ms=%.0f results=%s",
            guild_id,
            user_id,
            side,
            trace.reranker,
            trace.reranked,
            trace.rerank_of,
            trace.cached,
            trace.total_ms,
            ",".join(str(result.message.id) for result in recall.results[:_LOGGED]),
        )

    def get_statistics(self) -> dict[str, float | int | str | None]:
        """``ab_share`` of side B; ``ab_a_questions``, ``_b_``; ``ab_a_ms``, ``_b_``: mean time of those computed."""
        if not self.is_running:
            return {}
        figures: dict[str, float | int | str | None] = {"ab_share": self.share}
        for side in SIDES:
            computed = self._computed[side]
            figures[f"ab_{side.lower()}_questions"] = self._questions[side]
            figures[f"ab_{side.lower()}_ms"] = self._milliseconds[side] / computed if computed else None
        return figures
