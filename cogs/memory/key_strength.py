"""Which keys an encrypted database may be made with; one that is there opens with any that fits it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogs.memory.exceptions import WeakKey
from cogs.memory.stores.data_folder import DataFolder
from cogs.memory.stores.sqlite_engine import is_plain

if TYPE_CHECKING:
    from pathlib import Path

MIN_CHARACTERS: Final = 12
REFUSED: Final = (
    f"The key for the database is too easily guessed: it must have at least {MIN_CHARACTERS} characters, not one part "
    "repeated and no row such as abcdefghijkl. “openssl rand -base64 32” makes a good one; put it into MEMORY_KEY or "
    "MEMORY_KEY_FILE."
)
IN_USE: Final = (
    "The key of the database is too easily guessed: make another with “openssl rand -base64 32”, then run "
    "“bot.py decrypt” with the old key and “bot.py encrypt” with the new one, while the bot is stopped."
)
_ROWS: Final = ("abcdefghijklmnopqrstuvwxyz", "0123456789" * 2, "qwertyuiopasdfghjklzxcvbnm")


def is_weak(key: str) -> bool:
    """Whether a key is short, one part repeated, or a row of characters; what else can be guessed it does not know."""
    longest_part = min(MIN_CHARACTERS - 1, len(key) // 2)
    is_repetition = any(key.startswith(key[length:]) for length in range(1, longest_part + 1))
    is_row = any(each in row for row in _ROWS for each in (key.lower(), key.lower()[::-1]))
    return len(key) < MIN_CHARACTERS or is_repetition or is_row


def require_strong(key: str | None) -> None:
    """Allow a key for a database that is to be encrypted. Raises WeakKey."""
    if key is not None and is_weak(key):
        raise WeakKey(REFUSED)


def check_key(key: str | None, folder: Path) -> str | None:
    """Return what is to be said about the key of the database in a folder, if there is one already.

    Raises:
        WeakKey: a database is yet to be made there, and the key is too weak for that.
    """
    if key is None or not is_weak(key):
        return None
    database = DataFolder(folder).database
    try:
        if database.exists() and database.stat().st_size > 0:
            return None if is_plain(database) else IN_USE  # a plain one does not open with a key, and says so
    except OSError:  # who opens it says why it cannot be read
        return None
    raise WeakKey(REFUSED)
