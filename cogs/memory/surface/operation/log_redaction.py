"""What must not reach a log: credentials, what people wrote, and what libraries quote of either."""

from __future__ import annotations

import logging
import re
import traceback
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REDACTED: Final = "[redacted]"
OWN_PACKAGES: Final = frozenset({"__main__", "bot", "cogs", "profiles"})
"""Whose lines hold ids only, by this project's own rule."""
CONSTANT_LINES: Final = frozenset({"aiohttp", "aiosqlite", "asyncio", "discord"})
"""Libraries whose debug lines without arguments are constants of their source, not texts put together before."""
SHORTEST_SECRET: Final = 6
"""Characters below which a secret is not looked for: it would blank half of every line."""
LONGEST_ERROR: Final = 500

_PATTERNS: Final = (
    # What a URL carries beside its place: user:password@, a query, the token of an interaction or a webhook.
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@'\"]*:[^\s'\"]*@"), rf"\1{REDACTED}@"),
    (re.compile(r"(?i)\b((?:https?|wss?)://[^\s?'\"<>]+)\?[^\s'\"<>]*"), rf"\1?{REDACTED}"),
    (re.compile(r"(?i)(/(?:webhooks|interactions)/\d+/)[^\s/?'\"<>]+"), rf"\1{REDACTED}"),
    # A bot's token, an authorization header, and the keys of services that mark them.
    (re.compile(r"[\w-]{20,30}\.[\w-]{6}\.[\w-]{27,}"), REDACTED),
    (re.compile(r"(?i)\b((?:bot|bearer|basic) )[\w.~+/=-]{20,}"), rf"\1{REDACTED}"),
    (re.compile(r"\b(?:sk|hf|pk|rk|gh[pous]|xox[abp])[-_][\w-]{16,}"), REDACTED),
    (
        re.compile(
            r"(?i)(['\"](?:[\w-]*token|password|secret|authorization|[\w-]*api[_-]?key)['\"]\s*:\s*['\"])[^'\"]+"
        ),
        rf"\1{REDACTED}",
    ),
)
_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|“[^”]*”")
_METHOD_OR_EVENT: Final = re.compile(r"[A-Z]{3,7}|[a-z]+(_[a-z]+)*")
_NAMES_CODE: Final = (AttributeError, ImportError, NameError, OSError, TypeError)
"""Built-in errors that quote names of code or of files, never a text."""


class Redaction:
    """Blanks credentials in a text: those it was told, and whatever looks like one.

    Args:
        secrets: credentials of this process; those shorter than `SHORTEST_SECRET` are left out.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= SHORTEST_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """Return the text without credentials."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text


class RedactingFilter(logging.Filter):
    """Makes every record fit for a log. Belongs on handlers: a logger's filter does not see its children's records.

    Debug lines of libraries keep their wording, numbers and addresses, and lose everything else: discord.py shows
    whole gateway payloads there, aiosqlite the parameters of statements, clients the texts they send.

    Args:
        redact: what blanks credentials.
    """

    def __init__(self, redact: Redaction) -> None:
        super().__init__()
        self._redact = redact

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record's message, arguments and traceback; False for one that cannot be made fit."""
        if record.levelno < logging.INFO and _package(record.name) not in OWN_PACKAGES:
            if not record.args and _package(record.name) not in CONSTANT_LINES:
                return False
            record.args = _without_payloads(record.args, keep_words=_package(record.name) == "discord")
        record.msg, record.args = self._redact(_message(record)), ()
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = self._redact("".join(describe_error(record.exc_info[1])).rstrip("\n"))
        if record.stack_info:
            record.stack_info = self._redact(record.stack_info)
        return True


def describe_error(error: BaseException) -> Iterator[str]:
    """Yield the lines of an error's traceback as Python words it, without what the error may quote of a message."""
    yield from _chain(error, set())


def _chain(error: BaseException, told: set[int]) -> Iterator[str]:
    told.add(id(error))
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and id(cause) not in told:
        yield from _chain(cause, told)
        yield "\n… which led to:\n\n"
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(error.__traceback__)
    yield f"{_type_name(error)}: {error_text(error)}\n"
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            if id(part) not in told:
                yield "\n… one of its parts:\n\n"
                yield from _chain(part, told)


def error_text(error: BaseException) -> str:
    """Return an error's own words; quotations are blanked where they may be of a message."""
    text = str(error)
    if _package(type(error).__module__) not in OWN_PACKAGES and not isinstance(error, _NAMES_CODE):
        text = "…" if isinstance(error, KeyError) else _QUOTED.sub("'…'", text)
    return text if len(text) <= LONGEST_ERROR else f"{text[:LONGEST_ERROR]}…"


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _package(name: str) -> str:
    return name.partition(".")[0]


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # a wrong template must not print its arguments to stderr, as logging would
        return f"{record.msg!r} (its arguments do not fit)"


def _without_payloads(args: object, *, keep_words: bool) -> tuple[object, ...]:
    values = args if isinstance(args, tuple) else (args,)
    return tuple(_shown(value, keep_words=keep_words) for value in values)


def _shown(value: object, *, keep_words: bool) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str) and keep_words and (_METHOD_OR_EVENT.fullmatch(value) or value.startswith("http")):
        return value.partition("?")[0]
    size = f" of {len(value)}" if isinstance(value, str | bytes | dict | list | tuple) else ""
    return _Shown(f"<{type(value).__name__}{size}>")


class _Shown(str):
    """A stand-in that a template may ask for as a text, a number or a representation."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
