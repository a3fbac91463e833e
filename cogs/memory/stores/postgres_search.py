"""Keyword search on PostgreSQL: a bounded set of matches, ranked by BM25 as the embedded engine ranks.

PostgreSQL's own ranks know no document frequencies. They are counted apart, by guild, as messages come and go;
``ts_rank_cd`` of a single word or phrase is the sum of the weights of its places, which is BM25's term frequency.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from cogs.memory.records import Hit
from cogs.memory.stores.postgres_rows import Arguments, scope_condition
from cogs.memory.stores.search_words import PAIR, SearchTerm, search_terms, words_of
from cogs.memory.stores.term_budget import MATCH_BUDGET, affordable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cogs.memory.records import Scope
    from cogs.memory.stores.postgres_connections import PostgresConnections

K1: Final = 1.2
B: Final = 0.75
"""BM25's parameters, those of FTS5."""
_LEAST_IDF: Final = 1e-6
_TERM_SCORE: Final = """(
    SELECT {weight}::float8 * tf / (tf + {length})
    FROM (SELECT ts_rank_cd('{{1.0, 0.3, 0.5, 1.0}}', words, {query}::tsquery) AS tf) f
)"""
"""Weights of D, C, B, A: pairs of characters, the message before, the author, the content."""
_GAP: Final = 2
"""Between the places of two columns, so that no phrase reaches from one into the next."""

_GUILD = "SELECT number, documents, tokens FROM guilds WHERE guild_id = $1"
_FREQUENCIES = "SELECT term, documents FROM terms WHERE guild_id = $1 AND term = ANY ($2::text[])"
_COUNT_MATCHES = """
    SELECT (SELECT count(*) FROM (
        SELECT FROM search s WHERE s.guild_id = $1 AND s.words @@ q.query::tsquery LIMIT $3
    ) matches) FROM unnest($2::text[]) WITH ORDINALITY q (query, place) ORDER BY q.place
"""
# The newest matches are ranked when there are too many. Sorted by an expression, so that the word index is the way in;
# a word in very many messages is found faster by going back in time.
_RANKED = """
    WITH matches AS MATERIALIZED (
        SELECT s.message_id, s.length, s.words FROM search s
        WHERE {condition} AND s.words @@ {query}::tsquery
        ORDER BY s.message_id{by_words} DESC LIMIT {most}
    )
    SELECT message_id, {score} AS score FROM matches ORDER BY score DESC, message_id DESC LIMIT {limit}
"""


class SearchEntry:
    """The words of one message as the database keeps them: ``words`` as a tsvector's text, ``length`` in words.

    Args:
        number: of the guild; stands before each word, so that a search meets no entry of another guild.
        content: text, with what is attached.
        author: both names.
        previous: the message before it in the channel.
        pairs: the pairs of characters of all but the message before.
    """

    __slots__ = ("length", "terms", "words")

    def __init__(self, number: int, content: str, author: str, previous: str, pairs: str) -> None:
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
        self.terms = places.keys()
        self.length = place - 1 - len(columns) * _GAP
        # 255 places of a word are all that PostgreSQL keeps.
        self.words = " ".join(f"'{number}:{word}':{','.join(where[:255])}" for word, where in places.items())


def terms_in(lexemes: Iterable[str]) -> list[str]:
    """The words of an entry's lexemes, without the guild's number."""
    return [lexeme.partition(":")[2] for lexeme in lexemes]


async def search(
    connections: PostgresConnections, scope: Scope, terms: Sequence[str], limit: int, *, deadline_s: float
) -> list[Hit]:
    """The best keyword matches in scope.

    Raises:
        StoreTimeout: the deadline passed.
        StoreError: the engine failed.
    """
    wanted = search_terms(terms)
    if limit < 1 or not scope.channel_ids or not wanted:
        return []
    arguments = Arguments()
    condition = scope_condition(scope, "s", arguments)
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_s
    guilds = await connections.read(_GUILD, arguments.values[0], deadline_s=deadline_s)
    if not guilds:
        return []
    number, documents, tokens = guilds[0]
    counts = await _frequencies(connections, arguments.values[0], number, wanted, end - loop.time())
    kept = affordable(counts, MATCH_BUDGET)
    if not kept:
        return []
    queries = [_query(number, wanted[position]) for position in kept]
    most = MATCH_BUDGET
    sql = _RANKED.format(
        condition=condition,
        query=arguments.add(" | ".join(queries)),
        by_words="" if counts[kept[-1]] > most else " + 0",
        most=arguments.add(most),
        score=_score(queries, [counts[p] for p in kept], documents, max(1.0, tokens / max(1, documents)), arguments),
        limit=arguments.add(limit),
    )
    rows = await connections.read(sql, *arguments.values, deadline_s=max(0.01, end - loop.time()))
    return [Hit(message_id, score) for message_id, score in rows]


async def _frequencies(
    connections: PostgresConnections, guild_id: object, number: int, wanted: Sequence[SearchTerm], deadline_s: float
) -> list[int]:
    """In how many messages of the guild each term stands; phrases and beginnings are counted up to the budget."""
    rows = await connections.read(
        _FREQUENCIES, guild_id, list({word for term in wanted for word in term.words}), deadline_s=deadline_s
    )
    of_word: dict[str, int] = dict(rows)
    counts = {t: of_word.get(t.words[0], 0) for t in wanted if len(t.words) == 1 and not t.is_prefix}
    others = [term for term in wanted if term not in counts and _may_stand(term, of_word)]
    if others:
        queries = [_query(number, term) for term in others]
        rows = await connections.read(_COUNT_MATCHES, guild_id, queries, MATCH_BUDGET, deadline_s=deadline_s)
        counts |= {term: row[0] for term, row in zip(others, rows, strict=True)}
    return [counts.get(term, 0) for term in wanted]


def _may_stand(term: SearchTerm, of_word: Mapping[str, int]) -> bool:
    return term.is_prefix or all(of_word.get(word) for word in term.words)


def _query(number: int, term: SearchTerm) -> str:
    if term.is_prefix:
        return f"'{number}:{term.words[0]}':*"
    return "(" + " <-> ".join(f"'{number}:{word}'" for word in term.words) + ")"


def _score(queries: Sequence[str], counts: Sequence[int], documents: int, average: float, arguments: Arguments) -> str:
    """BM25 as SQL: the sum over the terms of idf · tf · (k1 + 1) / (tf + k1 · (1 - b + b · length / average))."""
    length = f"{K1} * (1 - {B} + {B} * length / {arguments.add(average)}::float8)"
    return " + ".join(
        _TERM_SCORE.format(
            weight=arguments.add(_idf(documents, count) * (K1 + 1)), query=arguments.add(query), length=length
        )
        for query, count in zip(queries, counts, strict=True)
    )


def _idf(documents: int, count: int) -> float:
    return max(_LEAST_IDF, math.log((documents - count + 0.5) / (count + 0.5))) if documents >= count else _LEAST_IDF
