"""Keyword search on PostgreSQL: a bounded set of matches, ranked as the embedded engine ranks.

A term counts by how rare it is among the messages that the asker may read, and by where it stands. PostgreSQL's own
ranks know no rarity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogs.memory.records import Hit
from cogs.memory.stores.postgres_rows import Arguments, possible_ids, scope_condition
from cogs.memory.stores.search_words import PAIR, SearchTerm, search_terms, words_of
from cogs.memory.stores.term_budget import (
    BESIDE_WEIGHT,
    MATCH_BUDGET,
    MOST_COUNTED,
    TEXT_WEIGHT,
    affordable,
    rarity,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.records import Scope
    from cogs.memory.stores.postgres_connections import PostgresConnections

_GAP: Final = 2
"""Between the places of two columns, so that no phrase reaches from one into the next."""
_MOST_PLACES: Final = 255
"""Places of one word that PostgreSQL keeps."""

_GUILD = "SELECT number FROM guilds WHERE guild_id = $1"
# How many messages the scope holds, as far as that matters, and in how many of them each term stands.
_COUNTS = """
    SELECT (
        SELECT count(*) FROM (SELECT FROM messages m WHERE {within} LIMIT {counted}) counted
    ), ARRAY (
        SELECT (SELECT count(*) FROM (
            SELECT FROM search s WHERE {condition} AND s.words @@ q.query::tsquery LIMIT {most}
        ) matches) FROM unnest({queries}::text[]) WITH ORDINALITY q (query, place) ORDER BY q.place
    )
"""
# The newest matches are ranked when there are too many. Sorted by an expression, so that the word index is the way in.
_RANKED = """
    WITH matches AS MATERIALIZED (
        SELECT s.message_id, s.words FROM search s WHERE {condition} AND s.words @@ {query}::tsquery
        ORDER BY s.message_id + 0 DESC LIMIT {most}
    )
    SELECT message_id, ({score})::float8 AS score FROM matches ORDER BY score DESC, message_id DESC LIMIT {limit}
"""
_TERM_SCORE = "CASE WHEN words @@ {query}::tsquery THEN {weight}::float8 ELSE 0 END"


def search_entry(number: int, content: str, author: str, previous: str, pairs: str) -> str:
    """The words of one message as a tsvector's text.

    Args:
        number: of the guild; stands before each word, so that a search meets no entry of another guild.
        content: text, with what is attached.
        author: both names.
        previous: the message before it in the channel.
        pairs: the pairs of characters of all but the message before.
    """
    columns = (
        ("A", words_of(content)),
        ("B", words_of(author)),
        ("C", words_of(previous)),
        ("D", [PAIR + token for token in pairs.split()]),
    )
    places: dict[str, list[str]] = {}
    place = 1
    for label, words in columns:
        for word in words:
            places.setdefault(word, []).append(f"{place}{label}")
            place += 1
        place += _GAP
    return " ".join(f"'{number}:{word}':{','.join(where[:_MOST_PLACES])}" for word, where in places.items())


class KeywordSearch:
    """The best keyword matches within a scope.

    Args:
        connections: to the server.
    """

    def __init__(self, connections: PostgresConnections) -> None:
        self._connections = connections
        self._numbers: dict[int, int] = {}

    async def best(self, scope: Scope, terms: Sequence[str], limit: int, *, deadline_s: float) -> list[Hit]:
        """The best matches, by how rare their words are in the scope.

        Raises:
            StoreTimeout: the deadline passed.
            StoreError: the engine failed.
        """
        wanted = search_terms(terms)
        if limit < 1 or not scope.channel_ids or not wanted:
            return []
        return await self._connections.within(self._search(scope, wanted, limit), deadline_s)

    async def _search(self, scope: Scope, wanted: Sequence[SearchTerm], limit: int) -> list[Hit]:
        arguments = Arguments()
        condition = scope_condition(scope, "s", arguments)
        number = await self._number(scope.guild_id)
        if number is None:
            return []
        total, counts = await self._counts(scope, [_query(number, term) for term in wanted])
        kept = affordable(counts, MATCH_BUDGET)
        if not kept:
            return []
        scored = [(wanted[position], rarity(counts[position], total)) for position in kept]
        sql = _RANKED.format(
            condition=condition,
            query=arguments.add(" | ".join(_query(number, term) for term, _ in scored)),
            most=arguments.add(MATCH_BUDGET),
            score=_score(number, scored, arguments),
            limit=arguments.add(limit),
        )
        return [Hit(message_id, score) for message_id, score in await self._connections.read(sql, *arguments.values)]

    async def _number(self, guild_id: int) -> int | None:
        """What stands before the words of a guild; it never changes."""
        if guild_id not in self._numbers:
            for [number] in await self._connections.read(_GUILD, *possible_ids([guild_id]) or (0,)):
                self._numbers[guild_id] = number
        return self._numbers.get(guild_id)

    async def _counts(self, scope: Scope, queries: Sequence[str]) -> tuple[int, list[int]]:
        """How many messages the scope holds, and in how many each term stands, each up to a limit."""
        arguments = Arguments()
        sql = _COUNTS.format(
            within=scope_condition(scope, "m", arguments),
            condition=scope_condition(scope, "s", arguments),
            counted=arguments.add(MOST_COUNTED),
            queries=arguments.add(list(queries)),
            most=arguments.add(MATCH_BUDGET),
        )
        [[total, frequencies]] = await self._connections.read(sql, *arguments.values)
        return total, frequencies


def _query(number: int, term: SearchTerm, labels: str = "") -> str:
    """A term as a tsquery, in the columns of some labels or in all."""
    if term.is_prefix:
        return f"'{number}:{term.words[0]}':*{labels}"
    label = f":{labels}" if labels else ""
    return "(" + " <-> ".join(f"'{number}:{word}'{label}" for word in term.words) + ")"


def _score(number: int, scored: Sequence[tuple[SearchTerm, float]], arguments: Arguments) -> str:
    """The sum over the terms of their rarity, once for the text and once for what stands beside it."""
    return " + ".join(
        _TERM_SCORE.format(query=arguments.add(_query(number, term, labels)), weight=arguments.add(weight * rare))
        for term, rare in scored
        for labels, weight in (("AD", TEXT_WEIGHT), ("BC", BESIDE_WEIGHT))
    )
