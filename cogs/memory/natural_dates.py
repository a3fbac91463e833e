"""Dates as people write them: "yesterday", "last week", "3 days ago", "in March", "2025-03-01"."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from cogs.memory.exceptions import InvalidQuery

LANGUAGES = ["en", "de", "es", "fr"]
"""Languages that dates are read in: trying all that the library knows takes seconds."""

_LAST = re.compile(r"^\s*(?:last|past|the last)\s+(day|week|month|year)\s*$", re.IGNORECASE)
_EXACT = re.compile(r"\d:\d|hour|minute|stunde|hora|heure|now", re.IGNORECASE)
_LENGTHS = {"day": 1, "week": 7, "month": 30, "year": 365}


def parse_date(text: str, now: datetime | None = None) -> datetime:
    """Return the moment a text names, in UTC; of several possible ones the last that is past.

    Slow at first use (it loads a date library): call it off the event loop.

    Raises:
        InvalidQuery: it names none.
    """
    now = now or datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None and (last := _LAST.match(text)):
        moment = now - timedelta(days=_LENGTHS[last[1].lower()])
    if moment is None and len(text) <= 60:
        moment = _parsed(re.sub(r"^\s*(?:in|on|since|seit|im|am|en|el)\s+", "", text, flags=re.IGNORECASE), now)
    if moment is None:
        raise InvalidQuery(f"“{text[:60]}” is no date I know. Try 2025-03-01, yesterday, last week or 3 days ago.")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_span(after: str | None, before: str | None) -> tuple[datetime | None, datetime | None]:
    """Return the moments between which to look, as `parse_date` reads them; None where a text is None or empty.

    Raises:
        InvalidQuery: one names no date, or nothing can lie between them.
    """
    start, end = (parse_date(text) if text else None for text in (after, before))
    if start is not None and end is not None and start >= end:
        raise InvalidQuery(f"Nothing lies after “{after}” and before “{before}”: the two are in the wrong order.")
    return start, end


def _parsed(text: str, now: datetime) -> datetime | None:
    """What the date library makes of a text: the beginning of the day, month or year that it names."""
    from dateparser.date import DateDataParser

    parser = DateDataParser(
        languages=LANGUAGES,
        settings={
            "RELATIVE_BASE": now.replace(tzinfo=None),
            "PREFER_DATES_FROM": "past",
            "PREFER_DAY_OF_MONTH": "first",
            "PREFER_MONTH_OF_YEAR": "first",
            "RETURN_AS_TIMEZONE_AWARE": True,
            "TIMEZONE": "UTC",
        },
    )
    found = parser.get_date_data(text)
    moment: datetime | None = found.date_obj
    if moment is None or found.period == "time" or _EXACT.search(text):
        return moment
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
