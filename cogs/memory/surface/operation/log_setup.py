"""The program's log: to stderr, as lines for people or as JSON, without credentials and without what people wrote."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from pydantic import SecretStr

from cogs.memory.surface.operation.log_redaction import RedactingFilter, Redaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from profiles import Settings

LINE: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
TERMINAL_LINE: Final = "%(levelname)s: %(message)s"
_SECRET_NAME: Final = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSPHRASE|_KEY|APIKEY)S?$")
_PASSWORD_IN_ADDRESS: Final = re.compile(r"://[^\s/@:]*:([^\s@]+)@")

log = logging.getLogger(__name__)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and error_id and exception where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        error_id = getattr(record, "error_id", None)
        if error_id is not None:
            entry["error_id"] = str(error_id)
        if record.exc_info and record.exc_text is None:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            entry["exception"] = record.exc_text
        return json.dumps(entry, ensure_ascii=False)


def set_up_logging(settings: Settings, *, quiet: bool) -> None:
    """Log to stderr from now on; nothing where somebody has set up logging already.

    Args:
        settings: level and format; their secrets are kept out of every line.
        quiet: log only what is wrong, for a command that answers in the terminal.
    """
    if logging.getLogger().handlers:
        return
    level = max(logging.WARNING, logging.getLevelName(settings.log_level)) if quiet else settings.log_level
    handler = logging.StreamHandler()
    line = logging.Formatter(TERMINAL_LINE if quiet else LINE)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else line)
    handler.addFilter(RedactingFilter(Redaction(secrets_of(settings, os.environ))))
    logging.basicConfig(level=level, handlers=[handler])
    for library in ("faiss", "torch"):  # they log every instruction set they try, and statistics of caches at the end
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def secrets_of(settings: Settings, environment: Mapping[str, str]) -> set[str]:
    """Return the credentials that this process knows: secret settings, passwords in addresses, variables so named."""
    values = [*settings.__dict__.values(), *environment.values()]
    secret = {value.get_secret_value() for value in values if isinstance(value, SecretStr)}
    if settings.memory_key_file is not None:
        secret.add(settings.database_key() or "")
    secret |= {value for name, value in environment.items() if _SECRET_NAME.search(name.upper())}
    texts = {value for value in values if isinstance(value, str)} | secret
    return secret | {password for text in texts for password in _passwords(text)}


def _passwords(text: str) -> Iterator[str]:
    """The passwords in the addresses of a text, as they are written and as they are meant."""
    for found in _PASSWORD_IN_ADDRESS.finditer(text):
        yield found[1]
        yield unquote(found[1])


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("The program ends because of an error in itself", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(uncaught: Any) -> None:
    error: BaseException | None = uncaught.exc_value
    if error is not None and not isinstance(error, SystemExit):
        log.critical("A thread ended because of an error in itself", exc_info=error)
