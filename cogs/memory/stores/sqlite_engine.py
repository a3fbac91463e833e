"""`SqliteEngine`: how a database file is opened, plainly by Python's SQLite or, where there is a key, by SQLCipher.

An encrypted file is an ordinary SQLCipher 4 database: any tool of that kind opens it with the same passphrase. Its key
is derived here, once for each file, and handed over ready-made, because SQLCipher would derive it anew for each
connection. Nothing of an encrypted file is legible, its first bytes are the salt of the key.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
from typing import TYPE_CHECKING, Any, Final

from cogs.memory.exceptions import KeyMismatch, StoreDamaged

if TYPE_CHECKING:
    from pathlib import Path

PLAIN_HEADER: Final = b"SQLite format 3\x00"
SALT_BYTES: Final = 16
CIPHER_PAGE: Final = 4096
"""Bytes of an encrypted page, the default of SQLCipher 4."""
ITERATIONS: Final = 256_000
"""Rounds of PBKDF2-HMAC-SHA512 from the passphrase to the key, as SQLCipher 4 does it."""
_DISTINCT: Final = 200
"""Different byte values in a page of ciphertext, at least; text and zeros have far fewer."""

NO_LIBRARY: Final = (
    "A key for the database is set, but the package that encrypts is not installed: pip install 'sqlcipher3>=0.6.4,<1'"
)
NO_KEY: Final = (
    "The database is encrypted, and no key is set: put its key into MEMORY_KEY or MEMORY_KEY_FILE "
    "(if it never was encrypted, it is damaged: put a backup of it in its place)."
)
WRONG_KEY: Final = (
    "The key that is set does not open the database: put the right one into MEMORY_KEY or MEMORY_KEY_FILE "
    "(if it is the right one, the database is damaged: put a backup of it in its place)."
)
NOT_ENCRYPTED: Final = (
    "A key is set, but the database is not encrypted: run “bot.py encrypt” once, "
    "or take the key out of MEMORY_KEY and MEMORY_KEY_FILE."
)
DAMAGED: Final = (
    "The database is damaged and cannot be read: put a backup of it in its place, or move the file away to begin anew."
)


class SqliteEngine:
    """Opens database files, each connection for one thread at a time.

    Args:
        passphrase: opens encrypted files and encrypts new ones; None opens and makes plain files.
    """

    def __init__(self, passphrase: str | None = None) -> None:
        self._passphrase = passphrase
        self._keys: dict[bytes, str] = {}  # salt → what PRAGMA key takes
        self._new_salt = os.urandom(SALT_BYTES)

    @property
    def encrypts(self) -> bool:
        """Whether there is a key."""
        return self._passphrase is not None

    def check(self, database: Path) -> None:
        """See that a file is what this engine opens, as far as its first page tells; a new file is.

        Raises:
            KeyMismatch: it is encrypted and there is no key, or the other way round; or the package that encrypts is
                missing.
            StoreDamaged: it is neither an encrypted nor a plain database.
            OSError: it cannot be read.
        """
        if self.encrypts:
            cipher_library()
        with database.open("rb") as file:
            page = file.read(CIPHER_PAGE)
            size = os.fstat(file.fileno()).st_size
        if not page:
            return
        if page.startswith(PLAIN_HEADER):
            if self.encrypts:
                raise KeyMismatch(NOT_ENCRYPTED)
        elif not _looks_encrypted(page, size):
            raise StoreDamaged(DAMAGED)
        elif not self.encrypts:
            raise KeyMismatch(NO_KEY)

    def connect(self, database: Path, *, read_only: bool = False) -> sqlite3.Connection:
        """Open a file, making it if it is not there; deriving a key takes a few tenths of a second.

        Raises:
            KeyMismatch: the key does not open it, or the package that encrypts is missing.
        """
        address = f"{database.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        if self._passphrase is None:
            plain = sqlite3.connect(address, isolation_level=None, uri=True)
            plain.execute("PRAGMA page_size = 8192")  # for a new file: a vector of 384 numbers fits ten times
            return plain
        connection: sqlite3.Connection = cipher_library().connect(address, isolation_level=None, uri=True)
        try:
            connection.execute("PRAGMA cipher_log_level = NONE")  # it would write to stderr what is raised here anyway
            connection.execute(f'PRAGMA key = "{self.key_of(database)}"')
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException as error:
            connection.close()
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
                raise KeyMismatch(WRONG_KEY) from error
            raise
        return connection

    def key_of(self, database: Path) -> str:
        """The key of a file as SQLCipher's ``PRAGMA key`` and ``ATTACH … KEY`` take it; empty without a passphrase."""
        if self._passphrase is None:
            return ""
        try:
            with database.open("rb") as file:
                salt = file.read(SALT_BYTES)
        except FileNotFoundError:
            salt = b""
        salt = salt if len(salt) == SALT_BYTES else self._new_salt
        if salt not in self._keys:
            key = hashlib.pbkdf2_hmac("sha512", self._passphrase.encode(), salt, ITERATIONS, dklen=32)
            self._keys[salt] = f"x'{key.hex()}{salt.hex()}'"
        return self._keys[salt]


def database_errors() -> tuple[type[Exception], ...]:
    """What the libraries in use raise when a database fails."""
    cipher = sys.modules.get("sqlcipher3.dbapi2")
    return (sqlite3.DatabaseError,) if cipher is None else (sqlite3.DatabaseError, cipher.DatabaseError)


def is_plain(database: Path) -> bool:
    """Whether a file is an unencrypted database. Raises OSError."""
    with database.open("rb") as file:
        return file.read(len(PLAIN_HEADER)) == PLAIN_HEADER


def cipher_library() -> Any:
    """SQLCipher's DB-API module; it opens plain files as well. Raises KeyMismatch where it is not installed."""
    try:
        from sqlcipher3 import dbapi2  # optional, and only those who encrypt pay for it
    except ImportError as error:
        raise KeyMismatch(NO_LIBRARY) from error
    return dbapi2


def _looks_encrypted(page: bytes, size: int) -> bool:
    return size % CIPHER_PAGE == 0 and len(set(page)) >= _DISTINCT
