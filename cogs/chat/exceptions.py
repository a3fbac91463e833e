"""What can go wrong with a reply, each with a sentence fit for the channel."""

from __future__ import annotations

from cogs.memory.exceptions import MemoryCogError


class ReplyFailed(MemoryCogError):
    """A provider could not make the reply; its text says why in a sentence without secrets or addresses."""


class ProviderNotAllowed(MemoryCogError, ValueError):
    """There is no such provider, or the settings lack what it needs; its text says what is allowed or missing."""
