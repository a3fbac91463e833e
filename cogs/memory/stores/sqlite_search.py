"""Keyword search: words and phrases as a bounded full-text query that no input can break or make dear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.records import Hit
from cogs.memory.stores.sqlite_rows import joined_ids, scope_condition
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

    from numpy.typing import NDArray

    from cogs.memory.records import Scope
    from cogs.memory.stores.sqlite_connections import Connections

_TEXT_COLUMNS = "{content}"
_BESIDE_COLUMNS = "{author previous}"
_PAIR_COLUMN = "segments"

Places = tuple[tuple[str, float], ...]
"""A term as a full-text query for each place where it may stand, with what a match there counts."""

# The CROSS JOIN keeps the full-text index the outer loop; the index of places spares the rows themselves, which lie all
# over the file. The newest matches count when there are too many.
_MATCHES = """
    SELECT m.id AS id FROM message_search CROSS JOIN messages m INDEXED BY messages_by_id ON m.id = message_search.rowid
    WHERE message_search MATCH {match} AND {condition} ORDER BY message_search.rowid DESC LIMIT :most
"""
_IDS = "(SELECT group_concat(id) FROM ({matches}))"
_MESSAGES = "(SELECT count(*) FROM (SELECT 1 FROM messages m WHERE {condition} LIMIT :counted))"


@dataclass(frozen=True, slots=True)
class Terms:
    """What to look for, as quoted full-text expressions: words in the text columns, pairs in ``segments``."""

    words: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()

    def places(self) -> list[Places]:
        """Where each term may stand."""
        return [
            *(
                ((f"{_TEXT_COLUMNS} : {word}", TEXT_WEIGHT), (f"{_BESIDE_COLUMNS} : {word}", BESIDE_WEIGHT))
                for word in self.words
            ),
            *(((f"{_PAIR_COLUMN} : {pair}", TEXT_WEIGHT),) for pair in self.pairs),
        ]


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
    sql, parameters = _statement(scope, wanted)
    [[total, *texts]] = await connections.read(sql, parameters, deadline_s=deadline_s)
    found = (joined_ids(text) for text in texts)
    return _ranked([[(next(found), weight) for _, weight in places] for places in wanted], total, limit)


def _statement(scope: Scope, wanted: Sequence[Places]) -> tuple[str, dict[str, object]]:
    """How many messages the scope holds, and the ids of each place's newest matches in it, with the parameters."""
    condition, parameters = scope_condition(scope)
    matched, _ = scope_condition(scope, by_id=True)
    matches = [match for places in wanted for match, _ in places]
    columns = [
        _MESSAGES.format(condition=condition),
        *(_IDS.format(matches=_MATCHES.format(match=f":match{i}", condition=matched)) for i in range(len(matches))),
    ]
    parameters |= {f"match{i}": match for i, match in enumerate(matches)}
    # The more words are asked for, the fewer matches of each are looked at: long questions cost what short ones do.
    parameters["most"] = min(MATCH_BUDGET, max(1, LOOKED_AT * MATCH_BUDGET // len(wanted)))
    parameters["counted"] = MOST_COUNTED
    return f"SELECT {', '.join(columns)}", parameters


def _ranked(terms: Sequence[Sequence[tuple[NDArray[np.int64], float]]], total: int, limit: int) -> list[Hit]:
    """Score the matches of each term by its rarity, place by place; best first, newer ones first among equals."""
    matches = [found for places in terms for found, _ in places]
    # Asked for the index as well, NumPy sorts by merging, and each place's ids are in order already.
    ids, _, columns = np.unique(np.concatenate(matches), return_index=True, return_inverse=True)
    parts = iter(np.split(columns, np.cumsum([len(found) for found in matches])[:-1]))
    places_of = [[(next(parts), weight) for _, weight in places] for places in terms]
    frequencies = [_distinct([matched for matched, _ in places], len(ids)) for places in places_of]
    scores = np.zeros(len(ids))
    for term in sorted(affordable(frequencies, MATCH_BUDGET)):
        rare = rarity(frequencies[term], total)
        for matched, weight in places_of[term]:
            scores[matched] += weight * rare  # in this order for each message, so that equals stay equal
    best = len(ids) - 1 - np.argsort(-scores[::-1], kind="stable")[:limit]
    return [Hit(i, score) for i, score in zip(ids[best].tolist(), scores[best].tolist(), strict=True) if score > 0]


def _distinct(parts: Sequence[NDArray[np.intp]], columns: int) -> int:
    """How many different columns the parts name together."""
    named = np.zeros(columns, dtype=bool)
    for part in parts:
        named[part] = True
    return int(np.count_nonzero(named))
