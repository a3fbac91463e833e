"""What can go wrong, as sentences for the person in front of the bot.

    MemoryCogError
    ├── InvalidQuery            the question cannot be searched
    ├── InvalidImport           a file is not what the importer reads
    ├── InvalidEvaluationFile   a file is not ``recall-eval/1``
    ├── StoreError
    │   ├── StoreLocked         another process has the data folder
    │   ├── StoreReadOnly       the folder or the disk refuses writes
    │   ├── StoreBusy           another program holds the database
    │   ├── StoreTooNew         written by a newer version
    │   ├── KeyMismatch         the key that is set does not open the database
    │   ├── StoreDamaged        the database cannot be read
    │   ├── StoreUnreachable    the database server is away
    │   └── StoreTimeout        the database took too long
    ├── ModelError
    │   ├── ModelNotAllowed     the name is not on the allow-list
    │   ├── ModelUnavailable    missing, truncated or of the wrong kind
    │   └── ScoringFailed       a loaded model gave no usable score
    │       ├── NonFiniteScores some are NaN or infinite
    │       └── OutOfMemory     the batch was too large for the device
    └── Busy                    too much waits already

``str(error)`` is always fit to be shown: no ids of hidden things, no message text, no traceback.
"""

from __future__ import annotations

from typing import ClassVar


class MemoryCogError(Exception):
    """Base of every expected failure."""

    may_pass: ClassVar[bool] = False
    """Whether the same may work later, because the disk, the file or another program is at fault."""


class InvalidQuery(MemoryCogError, ValueError):
    """The question cannot be searched."""


class InvalidImport(MemoryCogError, ValueError):
    """A file is not what the importer reads."""


class InvalidEvaluationFile(MemoryCogError, ValueError):
    """A file is not in the ``recall-eval/1`` format."""


class StoreError(MemoryCogError):
    """The store cannot do what was asked."""


class StoreLocked(StoreError):
    """Another process has the data folder open."""


class StoreReadOnly(StoreError):
    """The data folder or the disk refuses writes."""

    may_pass = True


class StoreBusy(StoreError):
    """Another program holds the database; it will let go of it."""

    may_pass = True


class StoreTooNew(StoreError):
    """The database was written by a newer version of the program."""


class KeyMismatch(StoreError):
    """The key that is set does not open the database, only one of the two is there, or nothing that could use it."""


class StoreDamaged(StoreError):
    """The database file cannot be read."""

    may_pass = True


class StoreUnreachable(StoreError):
    """The database server is away; it is tried again with every request."""

    may_pass = True


class StoreTimeout(StoreError):
    """The database took longer than a request may wait."""

    may_pass = True


class ModelError(MemoryCogError):
    """A model cannot do what was asked."""


class ModelNotAllowed(ModelError, ValueError):
    """The model's name is not on the allow-list."""


class ModelUnavailable(ModelError):
    """The model is missing, truncated or of the wrong kind."""


class ScoringFailed(ModelError):
    """A loaded model gave no usable score."""


class NonFiniteScores(ScoringFailed):
    """Scores came, but some are NaN or infinite."""


class OutOfMemory(ScoringFailed):
    """The batch was too large for the device; a smaller one may fit."""


class Busy(MemoryCogError):
    """Too much waits already; try again in a moment."""


PASSING = (StoreBusy, StoreTimeout, StoreUnreachable)
"""Failures of a store that is there, or will be again: whatever does not need it goes on without."""
