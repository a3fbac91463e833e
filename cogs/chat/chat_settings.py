"""What a server's admins have decided about replies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from cogs.memory.exceptions import StoreError
from cogs.memory.surface.kept_settings import KeptSettings, check_ids, decode_record, encode_record

if TYPE_CHECKING:
    from cogs.memory.stores import MemoryStore

SETTINGS_KEY: Final = "chat-settings"

MAX_PERSONA: Final = 1000
"""Characters of a persona."""
MIN_TOKENS: Final = 200
"""Fewer would hold the fence and no quote."""
MAX_TOKENS: Final = 8000
MAX_REPLIES: Final = 100_000

When = Literal["always", "mention", "never"]
"""When the bot replies in a channel: to every message, when it is spoken to, or not at all."""


class DamagedChatSettings(StoreError):
    """What is stored as a guild's chat settings cannot be understood; nothing is assumed in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """The decisions of one guild's admins; the defaults are those of a guild whose admins decided nothing.

    Raises:
        ValueError: a value is of the wrong type or out of range.
    """

    always: frozenset[int] = frozenset()
    """Channels, with their threads, in which every message is replied to."""
    never: frozenset[int] = frozenset()
    """Channels, with their threads, in which nothing is replied to."""
    provider: str | None = None
    """The name of the provider that the admins chose; None for the first one that keeps everything on this machine."""
    persona: str = ""
    memory: bool = True
    """Whether replies may draw on the memory."""
    memory_tokens: int = 1000
    """Tokens of the quotes that a reply is given."""
    replies_a_day: int | None = None
    """Replies that the chosen provider may write in a day; None for any number."""

    def __post_init__(self) -> None:
        for name in ("always", "never"):
            check_ids(name, getattr(self, name))
        _require(self.provider is None or (isinstance(self.provider, str) and bool(self.provider.strip())), "provider")
        _require(isinstance(self.persona, str) and len(self.persona) <= MAX_PERSONA, "persona")
        _require(type(self.memory) is bool, "memory")
        _require(_is_within(self.memory_tokens, MIN_TOKENS, MAX_TOKENS), "memory_tokens")
        _require(self.replies_a_day is None or _is_within(self.replies_a_day, 0, MAX_REPLIES), "replies_a_day")

    def when(self, channel_id: int, parent_id: int | None) -> When:
        """Return when the bot replies in a channel; a thread's own setting counts before that of its channel."""
        for place in (channel_id, parent_id):
            if place in self.never:
                return "never"
            if place in self.always:
                return "always"
        return "mention"

    def with_channel(self, channel_id: int, when: When) -> ChatSettings:
        """Return the settings with another one for a channel."""
        return replace(
            self,
            always=self.always | {channel_id} if when == "always" else self.always - {channel_id},
            never=self.never | {channel_id} if when == "never" else self.never - {channel_id},
        )


class ChatSettingsStore(KeptSettings[ChatSettings]):
    """Reads and writes the chat settings of all guilds. There must be only one of these for a store."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store, SETTINGS_KEY, ChatSettings(), encode=encode_record, decode=decode_settings)


def decode_settings(text: str) -> ChatSettings:
    """Return the settings that a JSON text holds; a field it lacks has its default. Raises DamagedChatSettings."""
    return decode_record(ChatSettings, text, _damaged)


def _damaged(why: str) -> DamagedChatSettings:
    return DamagedChatSettings(
        f"The chat settings of this server cannot be understood: {why}. An admin can set them anew with /chat reset."
    )


def _is_within(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _require(fits: bool, name: str) -> None:
    if not fits:
        raise ValueError(f"{name} has a value that is not allowed")
