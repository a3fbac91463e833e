"""A question → what to look for: words, people, dates, and the kind of answer it wants. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from cogs.memory.stop_words import STOP_WORDS, stop_words_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_TERMS = 32
"""Distinct words of one question that are searched for."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_POSSESSIVES = ("'s", "’s")
_MONTHS = dict(  # noqa: C408 - reads better than quoted keys
    january=1,
    february=2,
    march=3,
    april=4,
    may=5,
    june=6,
    july=7,
    august=8,
    september=9,
    october=10,
    november=11,
    december=12,
)
_MONTH = rf"({'|'.join(_MONTHS)}|{'|'.join(name[:3] for name in _MONTHS)})"
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"((?:19|20)\d\d)"
_DAY_MONTH = re.compile(rf"\b{_DAY}\s+(?:of\s+)?{_MONTH}\b\.?,?\s*{_YEAR}?", re.IGNORECASE)
_MONTH_DAY = re.compile(rf"\b{_MONTH}\.?\s+{_DAY}\b(?!\s*%),?\s*{_YEAR}?", re.IGNORECASE)
_ISO_DAY = re.compile(rf"\b{_YEAR}-(\d\d)-(\d\d)\b")
_MONTH_ONLY = re.compile(
    rf"\b(?:in|during|of|since|by|last|this|early|late|mid)[\s-]+{_MONTH}\b\.?,?\s*{_YEAR}?", re.IGNORECASE
)
_YEAR_ONLY = re.compile(rf"\b(?:in|during|of|since|by)\s+{_YEAR}\b")


@dataclass(frozen=True, slots=True)
class DateRange:
    """A span of time that a question names: ``start`` inclusive, ``end`` exclusive, UTC; ``is_day`` for one day."""

    start: datetime
    end: datetime
    is_day: bool


@dataclass(frozen=True, slots=True)
class Word:
    """One word of the question: lower-cased without possessive ``'s``, and where it stands."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Question:
    """What a question asks for."""

    text: str
    words: tuple[Word, ...]
    keywords: tuple[str, ...]
    """Distinct words that are not stop-words, in order; all words if nothing else is left."""
    asks_when: bool
    asks_who: bool
    asks_why: bool
    asks_where: bool
    asks_how_many: bool

    @property
    def bigrams(self) -> frozenset[tuple[str, str]]:
        """Pairs of consecutive words."""
        texts = [word.text for word in self.words]
        return frozenset(pairwise(texts))

    def keeps(self, start: int, end: int) -> bool:
        """Whether the characters [start, end) belong to a keyword: only those tokens take part in MaxSim."""
        return any(w.start <= start and end <= w.end and w.text in self.keywords for w in self.words)


def split_words(text: str) -> list[str]:
    """Return the lower-cased words of ``text`` without possessive ``'s``."""
    return [_without_possessive(word) for word in _WORD.findall(text.lower())]


def _without_possessive(word: str) -> str:
    return word[:-2] if word.endswith(_POSSESSIVES) else word


def parse_question(text: str) -> Question:
    """Read a question."""
    words = tuple(
        Word(_without_possessive(match.group().lower()), match.start(), match.end()) for match in _WORD.finditer(text)
    )
    texts = [word.text for word in words]
    stop = stop_words_for(texts)
    keywords = dict.fromkeys(word for word in texts if word not in stop)
    first = texts[0] if texts else ""
    joined = f" {' '.join(texts)} "
    return Question(
        text=text,
        words=words,
        keywords=tuple(keywords or dict.fromkeys(texts))[:MAX_TERMS],
        asks_when=first in ("when", "wann", "cuándo", "quand")
        or any(f" {phrase} " in joined for phrase in ("what time", "what date", "what day", "how long", "which day")),
        asks_who=first in ("who", "whose", "whom", "wer", "wem", "wen", "quién", "qui"),
        asks_why=first in ("why", "warum", "pourquoi") or joined.startswith((" por qué ", " how come ")),
        asks_where=first in ("where", "wo", "dónde", "où"),
        asks_how_many=any(
            f" {phrase} " in joined
            for phrase in ("how many", "how much", "how old", "wie viele", "wie viel", "combien")
        ),
    )


def dates_in(text: str, earliest: datetime, latest: datetime) -> list[DateRange]:
    """Return the days, else the months, else the years that ``text`` names.

    A date without a year stands for that date in every year from ``earliest`` to ``latest``.
    """
    years = range(earliest.year, latest.year + 1)
    days = [(m[3], _month(m[2]), int(m[1])) for m in _DAY_MONTH.finditer(text)]
    days += [(m[3], _month(m[1]), int(m[2])) for m in _MONTH_DAY.finditer(text)]
    days += [(m[1], int(m[2]), int(m[3])) for m in _ISO_DAY.finditer(text)]
    if days:
        return [r for year, month, day in days for y in _years(year, years) for r in _day(y, month, day)]
    months = [(m[2], _month(m[1])) for m in _MONTH_ONLY.finditer(text)]
    if months:
        return [r for year, month in months for y in _years(year, years) for r in _span(y, month)]
    return [r for m in _YEAR_ONLY.finditer(text) for r in _span(int(m[1]), None)]


def _month(name: str) -> int:
    return next(number for month, number in _MONTHS.items() if month.startswith(name.lower()[:3]))


def _years(year: str | None, known: Iterable[int]) -> list[int]:
    return [int(year)] if year else list(known)


def _day(year: int, month: int, day: int) -> list[DateRange]:
    try:
        start = datetime(year, month, day, tzinfo=UTC)
    except ValueError:  # "February 30" names no day
        return []
    return [DateRange(start, start + timedelta(days=1), is_day=True)]


def _span(year: int, month: int | None) -> list[DateRange]:
    start = datetime(year, month or 1, 1, tzinfo=UTC)
    end = datetime(year + (month in (None, 12)), (month % 12 + 1) if month else 1, 1, tzinfo=UTC)
    return [DateRange(start, end, is_day=False)]


class AuthorNames:
    """Which people a text names, by any word of their shown or account names. Built once for many questions."""

    def __init__(self, names: Mapping[int, tuple[str, ...]]) -> None:
        self._by_word: dict[str, set[int]] = defaultdict(set)
        for author, known in names.items():
            for word in {word for name in known for word in split_words(name)}:
                if len(word) > 1:
                    self._by_word[word].add(author)
        self._only = {word: next(iter(authors)) for word, authors in self._by_word.items() if len(authors) == 1}

    def named_in(self, question: Question) -> list[int]:
        """Return the authors whom the question names, first-named first.

        A word that several people share names them all while they are at most two; a word that is also an everyday
        word ("Will", "May") counts only when it is capitalised inside the sentence.
        """
        named: dict[int, None] = {}
        for position, word in enumerate(question.words):
            if word.text in STOP_WORDS["en"] or word.text in _MONTHS:
                capital = question.text[word.start].isupper() and position > 0
                if not capital:
                    continue
            authors = self._by_word.get(word.text, ())
            if 0 < len(authors) <= 2:
                named.update(dict.fromkeys(sorted(authors)))
        return list(named)

    def mentioned_in(self, words: Iterable[str]) -> set[int]:
        """Return the authors whom exactly one of ``words`` can mean."""
        return {self._only[word] for word in words if word in self._only}

    def is_name(self, word: str) -> bool:
        """Whether a word belongs to somebody's name."""
        return word in self._by_word
