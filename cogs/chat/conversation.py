"""What a reply is made from: the persona, what was just said, and what the memory quotes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cogs.memory.context_builder import MemoryContext


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation."""

    role: Literal["user", "assistant"]
    """Who speaks: a member, or the bot itself."""
    author: str
    """The speaker's shown name."""
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Everything that a reply may draw on."""

    persona: str
    """How the bot speaks, as the guild's admins wrote it: the only text of the system role besides our own."""
    turns: tuple[Turn, ...]
    """The reply chain and recent messages, oldest first; the last one is to be answered."""
    memory: MemoryContext | None
    """Fenced quotes with their sources; None where memory was not asked (switched off, opted out, not needed)."""
