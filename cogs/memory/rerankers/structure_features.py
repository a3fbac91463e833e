"""What a message is, not only what it says: the features of the structure ranker.

Each function returns named columns over a pool's candidates, (candidates,) each. Columns that compare use the distance
to the pool's best, so that they mean the same for every question. Nothing here knows a data set; the weights do.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.query_terms import dates_in
from cogs.memory.rerankers.candidate_pool import CandidatePool, min_max

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Columns = dict[str, NDArray[np.floating]]

SESSION_S = 600.0
"""Messages closer than this belong to one conversation."""

_TIME = re.compile(
    r"\b(?:yesterday|today|tonight|tomorrow|ago|recently|since|weeks?|weekends?|months?|years?|birthday|anniversary"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)days?|last night|last (?:spring|summer|fall|autumn|winter)"
    r"|january|february|march|april|june|july|august|september|october|november|december"
    r"|gestern|heute|morgen|woche|monat|jahr|ayer|hoy|mañana|semana|mes|año"
    r"|(?:19|20)\d\d|\d{1,2}(?:st|nd|rd|th)|\d{1,2}(?::\d\d)? ?(?:am|pm|uhr))\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d+|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|couple|dozen|once|twice)\b", re.IGNORECASE
)
_CAPITAL = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")
_REASON = re.compile(
    r"\b(?:because|cuz|cause|since|so that|in order|reason|that's why|weil|denn|porque)\b", re.IGNORECASE
)
_PLACE = re.compile(r"\b(?:in|at|to|from|near|on|into) (?:the |a |my |our )?[A-Za-z]+")
_ASKS = re.compile(
    r"^\W*(?:who|what|when|where|why|how|which|do|does|did|is|are|can|could|would|will|have|has|any|anyone)\b",
    re.IGNORECASE,
)
_FIRST_PERSON = re.compile(r"\b(?:i|im|ive|my|me|mine|we|our|us|ich|mein|yo|mi)\b", re.IGNORECASE)
_SECOND_PERSON = re.compile(r"\b(?:you|your|u|ur|du|dein|tu|tú)\b", re.IGNORECASE)


def structure_features(pool: CandidatePool) -> tuple[list[str], NDArray[np.float32]]:
    """Return the names and the values, (candidates, features), of all features."""
    columns: Columns = {}
    for family in _FAMILIES:
        columns |= family(pool)
    return list(columns), np.stack(list(columns.values()), axis=1).astype(np.float32)


def _late_interaction(pool: CandidatePool) -> Columns:
    own, maxima, rows = pool.own, pool.window_maxima, pool.candidate_rows
    alone = pool.own_maxima[rows]
    weights = alone.std(axis=0) + 1e-6  # a term that tells the candidates apart counts more
    weights /= weights.sum()
    best = alone.max(axis=0)
    lowest, quartile = maxima.min(axis=1), np.quantile(maxima, 0.25, axis=1)
    return {
        "base": pool.base,
        "window_min_max": min_max(pool.late_interaction),
        "window": _below_best(pool.late_interaction),
        "own": _below_best(own[rows]),
        "own_raw": own[rows],
        "term_lowest": _below_best(lowest),
        "term_quartile": _below_best(quartile),
        "own_term_lowest": _below_best(alone.min(axis=1)),
        "own_term_highest": _below_best(alone.max(axis=1)),
        "own_telling": _below_best(alone @ weights),
        "window_telling": _below_best(maxima @ weights),
        "own_terms_hit": (alone > 0.8 * best).mean(axis=1),
        "window_terms_hit": (maxima > 0.75 * best).mean(axis=1),
        "rank": -np.log1p(np.argsort(np.argsort(-pool.base, kind="stable"), kind="stable")),
    }


def _neighbourhood(pool: CandidatePool) -> Columns:
    rows, previous, following = pool.candidate_rows, pool.around("previous"), pool.around("next")
    own, best = pool.own, pool.own[pool.candidate_rows].max()
    by_row = np.zeros(len(pool.rows) + 1, dtype=np.float32)
    by_row[rows] = pool.base
    return {
        "previous_own": own[previous] - best,
        "next_own": own[following] - best,
        "previous_better": np.maximum(0, own[previous] - own[rows]),
        "previous_base": by_row[previous],
        "next_base": by_row[following],
        "session": _session_strength(pool),
        "replied_own": np.maximum(own[pool.around("reply_to")], own[pool.around("answer")]),
    }


def _session_strength(pool: CandidatePool) -> NDArray[np.float32]:
    """Mean of the three best base scores within one conversation around each candidate, itself among them."""
    seconds = np.array([pool.messages[row].created_at.timestamp() for row in pool.candidate_rows])
    channels = np.array([pool.messages[row].channel_id for row in pool.candidate_rows])
    near = (np.abs(seconds[:, None] - seconds) <= SESSION_S) & (channels[:, None] == channels)
    scores = np.where(near, pool.base, 0)
    if scores.shape[1] > 3:
        scores = np.partition(scores, -3, axis=1)[:, -3:]
    strength: NDArray[np.float32] = scores.sum(axis=1) / 3
    return strength


def _words(pool: CandidatePool) -> Columns:
    lexical, rows = pool.lexical, pool.candidate_rows
    keywords = {word for word in pool.question.keywords if not pool.names.is_name(word)} or set(pool.question.keywords)
    bigrams = pool.question.bigrams
    exact = [len(keywords.intersection(pool.words(i))) for i in pool.candidates]
    pairs = [len(bigrams & set(pairwise(w))) for w in map(pool.words, pool.candidates)]
    return {
        "lexical": lexical[rows],
        "lexical_any": (lexical[rows] > 0).astype(np.float32),
        "previous_lexical": lexical[pool.around("previous")],
        "next_lexical": lexical[pool.around("next")],
        "exact_words": np.array(exact) / max(1, len(keywords)),
        "exact_bigrams": np.array(pairs) / max(1, len(bigrams)),
    }


def _dense(pool: CandidatePool) -> Columns:
    dense, rows = pool.dense, pool.candidate_rows
    previous, following = dense[pool.around("previous")], dense[pool.around("next")]
    best = dense[rows].max()
    leaders = np.argsort(-pool.base, kind="stable")[:3]
    centre = pool.vectors[rows[leaders]].mean(axis=0)
    feedback = pool.vectors[rows] @ (centre / (np.linalg.norm(centre) + 1e-9))  # pseudo-relevance feedback
    return {
        "dense": dense[rows] - best,
        "previous_dense": previous - best,
        "next_dense": following - best,
        "window_dense": np.maximum.reduce([dense[rows], 0.9 * previous, 0.9 * following]) - best,
        "feedback": feedback - feedback.mean(),
    }


def _people(pool: CandidatePool) -> Columns:
    named = pool.named
    authors = np.array([pool.messages[row].author_id for row in pool.candidate_rows])
    speaks = np.isin(authors, named)
    before = np.array([m.author_id for m in pool.messages] + [0])[pool.around("previous")]
    mentioned = [pool.names.mentioned_in(pool.words(i)) for i in pool.candidates]
    one, several = len(named) == 1, len(named) > 1
    first_person = _counts(pool, _FIRST_PERSON, 3) / 3
    nothing = np.zeros(len(authors), dtype=np.float32)
    return {
        "author_is_named": speaks * 1.0 if one else nothing,
        "author_is_first_named": (authors == named[0]) * 1.0 if several else nothing,
        "author_is_also_named": np.isin(authors, named[1:]) * 1.0 if several else nothing,
        "author_is_other": ~speaks * 1.0 if named else nothing,
        "mentions_named": np.array([bool(m.intersection(named)) for m in mentioned]) * 1.0,
        "previous_by_named": (np.isin(before, named) & ~speaks) * 1.0 if named else nothing,
        "same_author_before": (before == authors) * 1.0,
        "first_person": first_person,
        "first_person_named": first_person * speaks,
        "second_person": _counts(pool, _SECOND_PERSON, 3) / 3,
        "who_mentions": np.array([bool(m) for m in mentioned]) * float(pool.question.asks_who),
    }


def _kinds(pool: CandidatePool) -> Columns:
    question, previous = pool.question, pool.around("previous")
    asks = np.array([_asks(pool.messages[row].content) for row in pool.candidate_rows])
    asked_before = np.array(
        [_asks(pool.messages[row].content) if row < len(pool.rows) else 0.0 for row in previous], dtype=np.float32
    )
    times, numbers = _counts(pool, _TIME, 2), _counts(pool, _NUMBER, 2)
    width = pool.encoded.token_vectors.shape[1] // 8 or 1
    tokens = np.array([len(pool.rows[i].sketch) // width for i in pool.candidates])
    length = np.log1p(tokens)
    return {
        "when_time": times * question.asks_when,
        "time_unasked": times * (not question.asks_when),
        "how_many_number": numbers * question.asks_how_many,
        "number_unasked": numbers * (not question.asks_how_many),
        "who_capital": _counts(pool, _CAPITAL, 2) * question.asks_who,
        "why_reason": _counts(pool, _REASON, 1) * question.asks_why,
        "why_asked_before": asked_before * question.asks_why,
        "where_place": _counts(pool, _PLACE, 1) * question.asks_where,
        "asks": asks,
        "asked_before": asked_before,
        "asked_the_same_before": asked_before * pool.own[previous] / (pool.own[pool.candidate_rows].max() + 1e-9),
        "asks_briefly": asks * (length < 2.5),
        "length": length,
        "short": np.maximum(0, 2.3 - length),
    }


def _dates(pool: CandidatePool) -> Columns:
    seconds = np.array([pool.messages[row].created_at.timestamp() for row in pool.candidate_rows])
    by_day, by_span = np.zeros(len(seconds)), np.zeros(len(seconds))
    times = [message.created_at for message in pool.messages]
    for asked in dates_in(pool.question.text, min(times), max(times)):
        start, end = asked.start.timestamp(), asked.end.timestamp()
        days_off = np.maximum(0, np.maximum(start - seconds, seconds - end)) / 86_400
        if asked.is_day:
            by_day = np.maximum(by_day, np.exp(-days_off / 3))
        by_span = np.maximum(by_span, np.exp(-days_off / 7))
    return {"date_day": by_day, "date_span": by_span}


def _asks(content: str) -> float:
    """How much a message looks like a question, 0–1."""
    return 1.0 if "?" in content else 0.5 * bool(_ASKS.match(content))


def _counts(pool: CandidatePool, pattern: re.Pattern[str], most: int) -> NDArray[np.float32]:
    found = (min(most, len(pattern.findall(pool.messages[row].content))) for row in pool.candidate_rows)
    return np.fromiter(found, dtype=np.float32, count=len(pool.candidates))


def _below_best(values: NDArray[np.floating]) -> NDArray[np.floating]:
    below: NDArray[np.floating] = values - values.max()
    return below


_FAMILIES: tuple[Callable[[CandidatePool], Columns], ...] = (
    _late_interaction,
    _neighbourhood,
    _words,
    _dense,
    _people,
    _kinds,
    _dates,
)
