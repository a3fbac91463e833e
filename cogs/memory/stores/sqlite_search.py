"""Keyword search: words and phrases as a bounded full-text query that no input can break or make dear."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogs.memory.records import Hit
from cogs.memory.stores.sqlite_connections import QueryInterrupted
from cogs.memory.stores.sqlite_rows import scope_condition
from cogs.memory.stores.unspaced_scripts import split_term

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cogs.memory.records import Scope
    from cogs.memory.stores.sqlite_connections import Connections

log = logging.getLogger(__name__)

MAX_TERMS = 32
MAX_TERM_LENGTH = 200

MATCH_BUDGET = 6_000
"""Messages that one query may rank, over all its terms: about 10 ms. Rare terms come first."""

_WORD_COLUMNS = "{author content previous}"
_PAIR_COLUMN = "segments"

_FREQUENCIES = """
    SELECT j.key, (
        SELECT count(*) FROM (SELECT 1 FROM message_search WHERE message_search MATCH j.value LIMIT :most)
    ) FROM json_each(:expressions) j
"""
# The newest matches are ranked when there are too many; the CROSS JOIN keeps the full-text index the outer loop.
_RANKED = """
    SELECT id, score FROM (
        SELECT m.id AS id, -bm25(message_search, 0.5, 1.0, 0.3, 1.0) AS score
        FROM message_search CROSS JOIN messages m ON m.id = message_search.rowid
        WHERE message_search MATCH :query AND {condition}
        ORDER BY message_search.rowid DESC LIMIT :most
    ) ORDER BY score DESC, id DESC LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class Terms:
    """What to look for, as quoted full-text expressions: words in the text columns, pairs in ``segments``."""

    words: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()

    def expressions(self) -> list[str]:
        """Each as a query of its own."""
        return [*(f"{_WORD_COLUMNS} : {word}" for word in self.words), *(f"{_PAIR_COLUMN} : {p}" for p in self.pairs)]

    def query(self) -> str:
        """All of them joined by OR; empty if there are none."""
        parts = ((_WORD_COLUMNS, self.words), (_PAIR_COLUMN, self.pairs))
        return " OR ".join(f"({columns} : ({' OR '.join(terms)}))" for columns, terms in parts if terms)

    def keep(self, positions: Iterable[int]) -> Terms:
        """Those at the given positions of `expressions`."""
        kept = sorted(positions)
        first_pair = len(self.words)
        return Terms(
            tuple(self.words[i] for i in kept if i < first_pair),
            tuple(self.pairs[i - first_pair] for i in kept if i >= first_pair),
        )


def parse_terms(terms: Iterable[str]) -> Terms:
    """Quote plain words and phrases; at most `MAX_TERMS` of each kind, each at most `MAX_TERM_LENGTH` characters.

    What the database cannot take (NUL, lone surrogates) is dropped.
    """
    words: dict[str, None] = {}
    pairs: dict[str, None] = {}
    for term in terms:
        clean = term[:MAX_TERM_LENGTH].encode("utf-8", "ignore").decode().replace("\x00", " ")
        spaced, expressions = split_term(clean)
        if any(character.isalnum() for character in spaced):
            words['"' + spaced.replace('"', '""') + '"'] = None
        pairs |= dict.fromkeys(expressions)
    return Terms(tuple(words)[:MAX_TERMS], tuple(pairs)[:MAX_TERMS])


def affordable(frequencies: Sequence[int], budget: int) -> list[int]:
    """Positions of the terms worth asking for: rare ones first while the budget lasts, never none.

    A term in no message has nothing to give. A term in very many costs the most and, by BM25's inverse document
    frequency, tells the least; it stays only where nothing rarer was asked for.
    """
    by_rarity = sorted((count, position) for position, count in enumerate(frequencies) if count)
    kept: list[int] = []
    spent = 0
    for count, position in by_rarity[:MAX_TERMS]:
        spent += count
        if kept and spent > budget:
            break
        kept.append(position)
    return kept


async def search(
    connections: Connections, scope: Scope, terms: Sequence[str], limit: int, *, deadline_s: float
) -> list[Hit]:
    """The best keyword matches in scope; none (and a warning in the log) when the deadline passes.

    Raises:
        StoreError: the engine failed.
    """
    wanted = parse_terms(terms)
    if limit < 1 or not scope.channel_ids or not wanted.expressions():
        return []
    condition, parameters = scope_condition(scope)
    end = asyncio.get_running_loop().time() + deadline_s
    try:
        counted = await connections.read(
            _FREQUENCIES,
            {"expressions": json.dumps(wanted.expressions()), "most": MATCH_BUDGET},
            deadline_s=deadline_s,
        )
        query = wanted.keep(affordable([count for _, count in counted], MATCH_BUDGET)).query()
        if not query:
            return []
        rows = await connections.read(
            _RANKED.format(condition=condition),
            {**parameters, "query": query, "most": MATCH_BUDGET, "limit": limit},
            deadline_s=max(0.0, end - asyncio.get_running_loop().time()),
        )
    except QueryInterrupted:
        log.warning("keyword search in guild %d passed its deadline of %.1f s", scope.guild_id, deadline_s)
        return []
    return [Hit(message_id, score) for message_id, score in rows]
