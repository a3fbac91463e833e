"""Keyword search: words and phrases as a bounded full-text query that no input can break or make dear."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cogs.memory.records import Hit
from cogs.memory.stores.sqlite_rows import scope_condition
from cogs.memory.stores.term_budget import (
    BESIDE_WEIGHT,
    LOOKED_AT,
    MATCH_BUDGET,
    MAX_TERM_LENGTH,
    MAX_TERMS,
    MOST_COUNTED,
    TEXT_WEIGHT,
    affordable,
    rarity,
)
from cogs.memory.stores.unspaced_scripts import split_term

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cogs.memory.records import Scope
    from cogs.memory.stores.sqlite_connections import Connections

_WORD_COLUMNS = "{author content previous}"
_TEXT_COLUMNS = "{content}"
_BESIDE_COLUMNS = "{author previous}"
_PAIR_COLUMN = "segments"

# The CROSS JOIN keeps the full-text index the outer loop; the index of places spares the rows themselves, which lie all
# over the file. The newest matches count when there are too many.
_MATCHES = """
    SELECT m.id AS id FROM message_search CROSS JOIN messages m INDEXED BY messages_by_id ON m.id = message_search.rowid
    WHERE message_search MATCH {match} AND {condition} ORDER BY message_search.rowid DESC LIMIT :most
"""
_FREQUENCY = "(SELECT count(*) FROM ({matches}))"
_MESSAGES = "(SELECT count(*) FROM (SELECT 1 FROM messages m WHERE {condition} LIMIT :counted))"
_SCORED = "SELECT id, :weight{place} AS score FROM ({matches})"
_RANKED = """
    SELECT id, sum(score) AS total FROM ({scored}) GROUP BY id ORDER BY total DESC, id DESC LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class Terms:
    """What to look for, as quoted full-text expressions: words in the text columns, pairs in ``segments``."""

    words: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()

    def places(self) -> list[Place]:
        """Where to look for each."""
        return [
            *(
                Place(
                    f"{_WORD_COLUMNS} : {word}",
                    ((f"{_TEXT_COLUMNS} : {word}", TEXT_WEIGHT), (f"{_BESIDE_COLUMNS} : {word}", BESIDE_WEIGHT)),
                )
                for word in self.words
            ),
            *(Place(f"{_PAIR_COLUMN} : {pair}", ((f"{_PAIR_COLUMN} : {pair}", TEXT_WEIGHT),)) for pair in self.pairs),
        ]


class Place(NamedTuple):
    """A term as full-text queries."""

    anywhere: str
    """Wherever it stands."""
    weighted: tuple[tuple[str, float], ...]
    """By place, with what a match there counts."""


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


async def search(
    connections: Connections, scope: Scope, terms: Sequence[str], limit: int, *, deadline_s: float
) -> list[Hit]:
    """The best keyword matches in scope, by how rare their words are there.

    How rare a word is, and so the order, is counted among the messages that the asker may read: what he may not read
    changes nothing in his answer. FTS5's own ``bm25()`` counts the whole database.

    Raises:
        StoreTimeout: the deadline passed.
        StoreError: the engine failed.
    """
    wanted = parse_terms(terms).places()
    if limit < 1 or not scope.channel_ids or not wanted:
        return []
    condition, parameters = scope_condition(scope)
    matched, _ = scope_condition(scope, by_id=True)
    # The more words are asked for, the fewer matches of each are looked at: long questions cost what short ones do.
    most = min(MATCH_BUDGET, max(1, LOOKED_AT * MATCH_BUDGET // len(wanted)))
    parameters = {**parameters, "most": most, "counted": MOST_COUNTED, "limit": limit}
    end = asyncio.get_running_loop().time() + deadline_s
    [[total, *frequencies]] = await connections.read(
        _counting(condition, matched, len(wanted)),
        {**parameters, **{f"match{i}": place.anywhere for i, place in enumerate(wanted)}},
        deadline_s=deadline_s,
    )
    kept = affordable(frequencies, MATCH_BUDGET)
    if not kept:
        return []
    sql, more = _ranking(matched, [(wanted[i], rarity(frequencies[i], total)) for i in kept])
    rows = await connections.read(
        sql, {**parameters, **more}, deadline_s=max(0.0, end - asyncio.get_running_loop().time())
    )
    return [Hit(message_id, score) for message_id, score in rows]


def _counting(condition: str, matched: str, terms: int) -> str:
    """How many messages of the scope there are, and in how many each term stands."""
    counts = [_FREQUENCY.format(matches=_MATCHES.format(match=f":match{i}", condition=matched)) for i in range(terms)]
    return f"SELECT {', '.join([_MESSAGES.format(condition=condition), *counts])}"


def _ranking(condition: str, terms: Sequence[tuple[Place, float]]) -> tuple[str, dict[str, object]]:
    """The query that scores the matches of some terms of known rarity, and its parameters."""
    places = [(match, weight * rare) for term, rare in terms for match, weight in term.weighted]
    scored = [
        _SCORED.format(place=i, matches=_MATCHES.format(match=f":match{i}", condition=condition))
        for i in range(len(places))
    ]
    values = {f"match{i}": match for i, (match, _) in enumerate(places)}
    weights = {f"weight{i}": weight for i, (_, weight) in enumerate(places)}
    return _RANKED.format(scored=" UNION ALL ".join(scored)), {**values, **weights}
