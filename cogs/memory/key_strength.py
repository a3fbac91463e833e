"""Which keys of an encrypted database are easily guessed: they work, and whoever set one is told."""

from __future__ import annotations

from typing import Final

MIN_CHARACTERS: Final = 12
WEAK: Final = (
    f"The key of the database is easily guessed: it has fewer than {MIN_CHARACTERS} characters, is one part repeated "
    "or a row such as abcdefghijkl. Make another with “openssl rand -base64 32”, then run “bot.py decrypt” with the "
    "old key and “bot.py encrypt” with the new one, while the bot is stopped."
)
_ROWS: Final = ("abcdefghijklmnopqrstuvwxyz", "0123456789" * 2, "qwertyuiopasdfghjklzxcvbnm")


def weakness(key: str | None) -> str | None:
    """Return what is to be said about a key, if anything."""
    return WEAK if key is not None and is_weak(key) else None


def is_weak(key: str) -> bool:
    """Whether a key is short, one part repeated, or a row of characters; what else can be guessed it does not know."""
    longest_part = min(MIN_CHARACTERS - 1, len(key) // 2)
    is_repetition = any(key.startswith(key[length:]) for length in range(1, longest_part + 1))
    is_row = any(each in row for row in _ROWS for each in (key.lower(), key.lower()[::-1]))
    return len(key) < MIN_CHARACTERS or is_repetition or is_row
