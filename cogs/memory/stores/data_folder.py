"""The folder that holds the database: its file modes, and the lock that keeps a second process out."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cogs.memory.exceptions import StoreDamaged, StoreError, StoreLocked, StoreReadOnly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

FOLDER_MODE = 0o700
FILE_MODE = 0o600

_BLOCK = 1 << 20
_SPARE = 8 << 20
"""Bytes that a copy of the database leaves free."""


class DataFolder:
    """One folder with ``memory.db`` and ``memory.lock``; private to the user who runs the bot.

    A folder that is made here is readable by its owner alone; one that exists keeps its mode. The files in
    it are always the owner's alone (SQLite gives its WAL the mode of the database).

    What may stand beside them: ``memory.new…`` and ``memory.old…`` while one database takes the place of another,
    ``memory-damaged-….db`` and ``memory-before-restore-….db``, copies that were put aside.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "memory.db"
        self._lock_file = path / "memory.lock"
        self._lock: int | None = None

    def acquire(self) -> None:
        """Make the folder where it is missing, take its lock and create an empty database if there is none.

        Raises:
            StoreLocked: another process (or another store in this one) holds the lock.
            StoreReadOnly: the folder, the disk or the database refuses writes.
            StoreDamaged: the database is empty although a write-ahead log of it exists.
            StoreError: the path is not a folder, or its file system cannot lock.
        """
        if self._lock is not None:
            raise StoreLocked(f"The data folder {self.path} is open already.")
        try:
            with folder_errors(self.path):
                self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
                self._take_lock()
                self._clear_what_was_cut_off()
                self._create_database()
        except StoreError:
            self.release()
            raise

    def release(self) -> None:
        """Let go of the lock; may be called twice."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def bytes_on_disk(self) -> int:
        """Size of the database and its write-ahead log."""
        return sum(_size(self.path / name) for name in ("memory.db", "memory.db-wal"))

    def check_room(self, needed: int) -> None:
        """See that the disk has so many bytes free, and some to go on with.

        Raises:
            StoreReadOnly: it has not.
        """
        free = shutil.disk_usage(self.path).free
        if free < needed + _SPARE:
            has, needs = (f"{amount / 1e6:,.0f} MB" for amount in (free, needed + _SPARE))
            raise StoreReadOnly(f"The disk of {self.path} has {has} free, and {needs} are needed.")

    def put_aside_damaged(self) -> str:
        """Copy a database that cannot be read, and its log, once; return a sentence that names the copy."""
        try:
            name = f"memory-damaged-{self.database.stat().st_mtime_ns}.db"
            if not (self.path / name).exists():
                self.check_room(self.bytes_on_disk())
                for end in ("-wal", ""):  # the database last: where it is, the copy is whole
                    source = self.path / f"memory.db{end}"
                    if source.exists():
                        copy_private(source, self.path / f"{name}{end}")
        except (OSError, StoreReadOnly) as error:
            log.warning("the damaged database could not be copied: %s", error)
            return ""
        return f" A copy of it is kept as {name}."

    def put_aside_present(self, stamp: str) -> str:
        """Give the database, which nobody has open, a second name that stays when another takes its place."""
        name = f"memory-before-restore-{stamp}.db"
        for end in ("-wal", ""):
            source = self.path / f"memory.db{end}"
            if source.exists():
                os.link(source, self.path / f"{name}{end}")
        return name

    def drop_what_was_put_aside(self) -> None:
        """Remove the copies that were put aside: they hold what is to be forgotten. Raises OSError."""
        for pattern in ("memory-damaged-*", "memory-before-restore-*"):
            for file in self.path.glob(pattern):
                discard(file)

    def _clear_what_was_cut_off(self) -> None:
        """Remove what is left of a rewriting, a conversion or a restoring that did not come to its end."""
        for file in (*self.path.glob("memory.new*"), *self.path.glob("memory.old*")):
            if file.is_dir():
                for inner in file.iterdir():
                    discard(inner)
                file.rmdir()
            elif self.database.exists() and file.samefile(self.database):
                file.unlink()  # the second name of a database that is in place still
            else:
                discard(file)

    def _take_lock(self) -> None:
        lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, FILE_MODE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise StoreLocked(
                f"The data folder {self.path} is in use by process {owner or '(unknown)'}: "
                "stop that process, or choose another data folder."
            ) from error
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode("ascii"), 0)

    def _create_database(self) -> None:
        create_private(self.database)
        # SQLite takes an empty file for a new database and throws the log beside it away.
        if not _size(self.database) and _size(self.database.with_name("memory.db-wal")):
            raise StoreDamaged(
                f"The database {self.database} is empty although its log is not: it was cut off. "
                "Put a backup of it in its place, or move the files away to begin anew."
            )


def create_private(file: Path) -> None:
    """Make a file, if it is not there, and have it readable and writable by its owner alone.

    Raises:
        OSError: the file or its folder refuses.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, FILE_MODE)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, FILE_MODE)
    finally:
        os.close(descriptor)


def copy_private(source: Path, target: Path) -> None:
    """Copy a file's bytes into one that its owner alone may read.

    Raises:
        OSError: a file or its folder refuses.
    """
    partial = target.with_name(f"{target.name}.part")
    create_private(partial)
    shutil.copyfile(source, partial)
    durable_replace(partial, target)


def discard(file: Path) -> None:
    """Overwrite a file's bytes, then remove it; on a disk that writes elsewhere (SSD, snapshots) the old ones may last.

    Raises:
        OSError: the file or its folder refuses.
    """
    with file.open("r+b") as stream:
        status = os.fstat(stream.fileno())
        left = status.st_size if status.st_nlink == 1 else 0  # under its other name it is still needed
        while left > 0:
            left -= stream.write(bytes(min(left, _BLOCK)))
        stream.flush()
        os.fsync(stream.fileno())
    file.unlink()


def durable_replace(new: Path, old: Path) -> None:
    """Put one file in the place of another, so that after a power cut there is the one or the other.

    Raises:
        OSError: the file or its folder refuses.
    """
    _sync(new)
    new.replace(old)
    _sync(old.parent)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # a log comes and goes
        return 0


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def folder_errors(folder: Path) -> Iterator[None]:
    """Translate errors of the file system into the `StoreError` family."""
    try:
        yield
    except OSError as error:
        kind, sentence = _SENTENCES.get(error.errno or 0, (StoreError, f"cannot be used: {error.strerror}"))
        raise kind(f"The data folder {folder} {sentence}.") from error


_NOT_WRITABLE = (StoreReadOnly, "cannot be written to: check its owner and permissions")
_FULL = (StoreReadOnly, "is on a full disk: free some space and try again")
_IN_THE_WAY = (StoreError, "cannot be made: something else of that name is in the way")
_NO_LOCKS = (StoreError, "is on a file system that cannot lock files: choose one on a local disk")
_SENTENCES: dict[int, tuple[type[StoreError], str]] = {
    errno.EACCES: _NOT_WRITABLE,
    errno.EPERM: _NOT_WRITABLE,
    errno.EROFS: _NOT_WRITABLE,
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.ENOLCK: _NO_LOCKS,
    errno.ENOTSUP: _NO_LOCKS,
}
