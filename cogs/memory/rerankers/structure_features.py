"""What a message is, not only what it says: the features of the structure ranker.

Each function returns named columns over the candidates, (candidates,) each. Columns that compare use the distance to
the best candidate's, so that they mean the same for every question. Nothing here knows a data set; the weights do.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.query_terms import dates_in
from cogs.memory.rerankers.candidate_pool import Shortlist, min_max

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Columns = dict[str, NDArray[np.floating]]

SESSION_S = 600.0
"""Messages closer than this belong to one conversation."""

_CAPITAL = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")
_ASKS = re.compile(
    r"^\W*(?:who|what|when|where|why|how|which|do|does|did|is|are|can|could|would|will|have|has|any|anyone)\b",
    re.IGNORECASE,
)


def structure_features(best: Shortlist) -> tuple[list[str], NDArray[np.float32]]:
    """Return the names and the values, (candidates, features), of all features."""
    columns: Columns = {}
    for family in _FAMILIES:
        columns |= family(best)
    return list(columns), np.stack(list(columns.values()), axis=1).astype(np.float32)


def _late_interaction(best: Shortlist) -> Columns:
    own, maxima, rows = best.own, best.window_maxima, best.candidate_rows
    alone = best.own_maxima[rows]
    weights = alone.std(axis=0) + 1e-6  # a term that tells the candidates apart counts more
    weights /= weights.sum()
    highest = alone.max(axis=0)
    lowest, quartile = maxima.min(axis=1), _lower_quartile(maxima)
    return {
        "base": best.base,
        "window_min_max": min_max(best.late_interaction),
        "window": _below_best(best.late_interaction),
        "own": _below_best(own[rows]),
        "own_raw": own[rows],
        "term_lowest": _below_best(lowest),
        "term_quartile": _below_best(quartile),
        "own_term_lowest": _below_best(alone.min(axis=1)),
        "own_term_highest": _below_best(alone.max(axis=1)),
        "own_telling": _below_best(alone @ weights),
        "window_telling": _below_best(maxima @ weights),
        "own_terms_hit": (alone > 0.8 * highest).mean(axis=1),
        "window_terms_hit": (maxima > 0.75 * highest).mean(axis=1),
        "rank": -np.log1p(np.argsort(np.argsort(-best.base, kind="stable"), kind="stable")),
    }


def _lower_quartile(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the quartile of each row, as `numpy.quantile` interpolates it, for a fraction of its time."""
    ordered = np.sort(values, axis=1)
    below, share = divmod(0.25 * (values.shape[1] - 1), 1)
    left = ordered[:, int(below)]
    right = ordered[:, min(int(below) + 1, values.shape[1] - 1)]
    quartile: NDArray[np.float32] = left + np.float32(share) * (right - left)
    return quartile


def _neighbourhood(best: Shortlist) -> Columns:
    rows, previous, following = best.candidate_rows, best.around("previous"), best.around("next")
    own, strongest = best.own, best.own[best.candidate_rows].max()
    by_row = np.zeros(len(best.rows) + 1, dtype=np.float32)
    by_row[rows] = best.base
    return {
        "previous_own": own[previous] - strongest,
        "next_own": own[following] - strongest,
        "previous_better": np.maximum(0, own[previous] - own[rows]),
        "previous_base": by_row[previous],
        "next_base": by_row[following],
        "session": _session_strength(best),
        "replied_own": np.maximum(own[best.around("reply_to")], own[best.around("answer")]),
    }


def _session_strength(best: Shortlist) -> NDArray[np.float32]:
    """Mean of the three best base scores within one conversation around each candidate, itself among them."""
    seconds = np.array([best.messages[row].created_at.timestamp() for row in best.candidate_rows])
    channels = np.array([best.messages[row].channel_id for row in best.candidate_rows])
    near = (np.abs(seconds[:, None] - seconds) <= SESSION_S) & (channels[:, None] == channels)
    scores = np.where(near, best.base, 0)
    if scores.shape[1] > 3:
        scores = np.partition(scores, -3, axis=1)[:, -3:]
    strength: NDArray[np.float32] = scores.sum(axis=1) / 3
    return strength


def _words(best: Shortlist) -> Columns:
    lexical, rows = best.lexical, best.candidate_rows
    keywords = {word for word in best.question.keywords if not best.names.is_name(word)} or set(best.question.keywords)
    bigrams = best.question.bigrams
    exact = [len(keywords.intersection(best.words(i))) for i in best.candidates]
    pairs = [len(bigrams.intersection(pairwise(w))) for w in map(best.words, best.candidates)]
    return {
        "lexical": lexical[rows],
        "lexical_any": (lexical[rows] > 0).astype(np.float32),
        "previous_lexical": lexical[best.around("previous")],
        "next_lexical": lexical[best.around("next")],
        "exact_words": np.array(exact) / max(1, len(keywords)),
        "exact_bigrams": np.array(pairs) / max(1, len(bigrams)),
    }


def _dense(best: Shortlist) -> Columns:
    dense, rows = best.dense, best.candidate_rows
    previous, following = dense[best.around("previous")], dense[best.around("next")]
    nearest = dense[rows].max()
    leaders = np.argsort(-best.base, kind="stable")[:3]
    centre = best.vectors[rows[leaders]].mean(axis=0)
    feedback = best.vectors[rows] @ (centre / (np.linalg.norm(centre) + 1e-9))  # pseudo-relevance feedback
    return {
        "dense": dense[rows] - nearest,
        "previous_dense": previous - nearest,
        "next_dense": following - nearest,
        "window_dense": np.maximum.reduce([dense[rows], 0.9 * previous, 0.9 * following]) - nearest,
        "feedback": feedback - feedback.mean(),
    }


def _people(best: Shortlist) -> Columns:
    named = best.named
    authors = np.array([best.messages[row].author_id for row in best.candidate_rows])
    speaks = np.isin(authors, named)
    before = np.array([m.author_id for m in best.messages] + [0])[best.around("previous")]
    mentioned = [best.names.mentioned_in(best.words(i)) for i in best.candidates]
    one, several = len(named) == 1, len(named) > 1
    kinds = best.word_kinds
    first_person = np.minimum(3, kinds["first person"]) / 3
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
        "second_person": np.minimum(3, kinds["second person"]) / 3,
        "who_mentions": np.array([bool(m) for m in mentioned]) * float(best.question.asks_who),
    }


def _kinds(best: Shortlist) -> Columns:
    question, previous = best.question, best.around("previous")
    asks = np.array([_asks(best.messages[row].content) for row in best.candidate_rows])
    asked_before = np.array(
        [_asks(best.messages[row].content) if row < len(best.rows) else 0.0 for row in previous], dtype=np.float32
    )
    kinds = best.word_kinds
    times = np.minimum(2, kinds["time"])
    numbers = np.minimum(2, kinds["number"])
    width = best.pool.encoded.token_vectors.shape[1] // 8 or 1
    tokens = np.array([len(best.pool.sketches[i]) // width for i in best.candidates])
    length = np.log1p(tokens)
    return {
        "when_time": times * question.asks_when,
        "time_unasked": times * (not question.asks_when),
        "how_many_number": numbers * question.asks_how_many,
        "number_unasked": numbers * (not question.asks_how_many),
        "who_capital": _capitals(best) if question.asks_who else np.zeros(len(asks)),
        "why_reason": np.minimum(1, kinds["reason"]) * question.asks_why,
        "why_asked_before": asked_before * question.asks_why,
        "where_place": np.minimum(1, kinds["place"]) * question.asks_where,
        "asks": asks,
        "asked_before": asked_before,
        "asked_the_same_before": asked_before * best.own[previous] / (best.own[best.candidate_rows].max() + 1e-9),
        "asks_briefly": asks * (length < 2.5),
        "length": length,
        "short": np.maximum(0, 2.3 - length),
    }


def _dates(best: Shortlist) -> Columns:
    seconds = np.array([best.messages[row].created_at.timestamp() for row in best.candidate_rows])
    by_day, by_span = np.zeros(len(seconds)), np.zeros(len(seconds))
    times = [message.created_at for message in best.messages]
    for asked in dates_in(best.question.text, min(times), max(times)):
        start, end = asked.start.timestamp(), asked.end.timestamp()
        days_off = np.maximum(0, np.maximum(start - seconds, seconds - end)) / 86_400
        if asked.is_day:
            by_day = np.maximum(by_day, np.exp(-days_off / 3))
        by_span = np.maximum(by_span, np.exp(-days_off / 7))
    return {"date_day": by_day, "date_span": by_span}


def _asks(content: str) -> float:
    """How much a message looks like a question, 0–1."""
    return 1.0 if "?" in content else 0.5 * bool(_ASKS.match(content))


def _capitals(best: Shortlist) -> NDArray[np.float32]:
    """How many words of each candidate look like names, at most two."""
    found = (min(2, len(_CAPITAL.findall(best.messages[row].content))) for row in best.candidate_rows)
    return np.fromiter(found, dtype=np.float32, count=len(best.candidates))


def _below_best(values: NDArray[np.floating]) -> NDArray[np.floating]:
    below: NDArray[np.floating] = values - values.max()
    return below


_FAMILIES: tuple[Callable[[Shortlist], Columns], ...] = (
    _late_interaction,
    _neighbourhood,
    _words,
    _dense,
    _people,
    _kinds,
    _dates,
)
