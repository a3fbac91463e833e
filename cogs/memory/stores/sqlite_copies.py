"""Whole copies of a database: into a backup, from plain to encrypted and back. Everything here blocks."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from cogs.memory.exceptions import StoreBusy, StoreDamaged, StoreError
from cogs.memory.stores.data_folder import create_private, discard, durable_replace, folder_errors
from cogs.memory.stores.migrations import require_known
from cogs.memory.stores.sqlite_connections import engine_errors
from cogs.memory.stores.sqlite_engine import DAMAGED, SqliteEngine, cipher_library, database_errors, is_plain

if TYPE_CHECKING:
    from pathlib import Path

    from cogs.memory.stores.data_folder import DataFolder

_CONTENTS = ("messages", "vectors", "sketches", "tombstones", "erasures", "channels", "settings")
_IN_THE_WAY = "The database is in use by another program: stop it and try again."


def write_copy(source: Path, target: Path, read: SqliteEngine, write: SqliteEngine) -> None:
    """Write what is in a database, as of one moment, into a new file; others may read and write it meanwhile.

    Of deleted rows the copy has nothing. ``target`` is not there before, nor after a failure.

    Raises:
        KeyMismatch: the key of ``read`` does not open the source.
        StoreDamaged: the source cannot be read.
        StoreReadOnly: the target's disk or folder refuses.
    """
    with folder_errors(source.parent):
        read.check(source)
    with folder_errors(target.parent), engine_errors():
        target.unlink(missing_ok=True)
        create_private(target)
        try:
            if read.encrypts == write.encrypts:
                with closing(read.connect(source, read_only=True)) as connection:
                    connection.execute("PRAGMA temp_store = MEMORY")
                    connection.execute("VACUUM INTO ?", (str(target),))
            else:
                _export(source, target, read, write)
        except BaseException:
            with suppress(FileNotFoundError):
                discard(target)
            raise


def require_whole(database: Path, engine: SqliteEngine) -> int:
    """Read all of a database that nobody else uses; return the number of its messages.

    Raises:
        KeyMismatch: the key does not open it.
        StoreTooNew: a newer version of the program wrote it.
        StoreDamaged: something in it is not as it should be, or it is another program's.
    """
    with folder_errors(database.parent):
        engine.check(database)
    with engine_errors(), closing(engine.connect(database)) as connection:
        [version] = connection.execute("PRAGMA user_version").fetchone()
        require_known(int(version))
        if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            raise StoreDamaged(DAMAGED)
        try:
            connection.execute("INSERT INTO message_search (message_search, rank) VALUES ('integrity-check', 1)")
            [count] = connection.execute("SELECT count(*) FROM messages").fetchone()
        except database_errors() as error:
            raise StoreDamaged(DAMAGED) from error
    return int(count)


def convert(folder: DataFolder, read: SqliteEngine, write: SqliteEngine) -> int:
    """Replace a database by one with another key, or with none; return the number of its messages.

    The caller holds the folder's lock. Whenever this is cut off, the old database or the new one is in place, whole;
    what else is left is cleared at the next start. The old one's bytes are overwritten.

    Raises:
        StoreError: the database is as it was.
    """
    database = folder.database
    fold_log(database, read)
    new, old = folder.path / "memory.new", folder.path / "memory.old"
    with folder_errors(folder.path):
        folder.check_room(folder.bytes_on_disk())
        write_copy(database, new, read, write)
        try:
            count = require_whole(new, write)
            if _contents(new, write) != _contents(database, read):
                raise StoreError("The copy differs from the database; nothing was changed. Try again.")
            fold_log(database, read)
            old.hardlink_to(database)
            durable_replace(new, database)
        finally:
            new.unlink(missing_ok=True)
        discard(old)
    return count


def fold_log(database: Path, engine: SqliteEngine) -> None:
    """Bring what stands in the write-ahead log into the database, and remove the log.

    Raises:
        StoreBusy: another program has the database open.
    """
    with engine_errors(), closing(engine.connect(database)) as connection:
        [busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy or database.with_name(f"{database.name}-wal").exists():
        raise StoreBusy(_IN_THE_WAY)


def engine_of(database: Path, engine: SqliteEngine) -> SqliteEngine:
    """What opens a file that may be plain although there is a key. Raises OSError."""
    return SqliteEngine() if is_plain(database) else engine


def _export(source: Path, target: Path, read: SqliteEngine, write: SqliteEngine) -> None:
    """Copy between plain and encrypted: SQLCipher reads and writes both."""
    library: Any = cipher_library()
    with closing(library.connect(":memory:", isolation_level=None, uri=True)) as connection:
        connection.execute("PRAGMA cipher_log_level = NONE")
        connection.execute("PRAGMA temp_store = MEMORY")
        attach = "ATTACH ? AS {} KEY ?"
        connection.execute(attach.format("source"), (f"{source.absolute().as_uri()}?mode=ro", read.key_of(source)))
        connection.execute(attach.format("target"), (str(target), write.key_of(target)))
        if not write.encrypts:
            connection.execute("PRAGMA target.page_size = 8192")
        [version] = connection.execute("PRAGMA source.user_version").fetchone()
        connection.execute("BEGIN")
        connection.execute("SELECT sqlcipher_export('target', 'source')")
        connection.execute(f"PRAGMA target.user_version = {int(version)}")
        connection.execute("COMMIT")


def _contents(database: Path, engine: SqliteEngine) -> list[tuple[int, ...]]:
    """What two copies of a database have in common: the size and the sums of each table."""
    with engine_errors(), closing(engine.connect(database, read_only=True)) as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in _CONTENTS]  # noqa: S608
        sums = connection.execute("SELECT total(id), total(length(content)), total(vector_space) FROM messages")
        return [*counts, *sums.fetchall()]
