"""What a server's admins have decided about replies."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from cogs.memory.exceptions import StoreError
from cogs.memory.records import MAX_ID

if TYPE_CHECKING:
    from collections.abc import Callable

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
            ids = getattr(self, name)
            _require(isinstance(ids, frozenset) and all(type(i) is int and 0 < i <= MAX_ID for i in ids), name)
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


class ChatSettingsStore:
    """Reads and writes the chat settings of all guilds; each guild's are read from the store once.

    There must be only one of these for a store.

    Args:
        store: where settings are kept.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._known: dict[int, ChatSettings] = {}
        self._writing = asyncio.Lock()

    async def get(self, guild_id: int) -> ChatSettings:
        """Return a guild's settings.

        Raises:
            DamagedChatSettings: something else is stored in their place.
            StoreError: the store cannot be read.
        """
        known = self._known.get(guild_id)
        if known is None:
            async with self._writing:
                known = await self._read(guild_id)
        return known

    async def change(self, guild_id: int, change: Callable[[ChatSettings], ChatSettings]) -> ChatSettings:
        """Apply ``change`` to a guild's settings, so that no other change is lost, and return the result.

        Raises what `get` raises.
        """
        async with self._writing:
            settings = change(await self._read(guild_id))
            text = None if settings == ChatSettings() else encode_settings(settings)
            await self._store.put_setting(guild_id, SETTINGS_KEY, text)
            self._known[guild_id] = settings
        return settings

    async def reset(self, guild_id: int) -> None:
        """Give a guild the settings of one that decided nothing, damaged or not. Raises StoreError."""
        async with self._writing:
            await self._store.put_setting(guild_id, SETTINGS_KEY, None)
            self._known[guild_id] = ChatSettings()

    async def _read(self, guild_id: int) -> ChatSettings:
        known = self._known.get(guild_id)
        if known is None:
            text = await self._store.get_setting(guild_id, SETTINGS_KEY)
            known = self._known[guild_id] = ChatSettings() if text is None else decode_settings(text)
        return known


def encode_settings(settings: ChatSettings) -> str:
    """Return settings as the JSON text that is stored."""
    data = asdict(settings)
    return json.dumps({name: sorted(value) if isinstance(value, frozenset) else value for name, value in data.items()})


def decode_settings(text: str) -> ChatSettings:
    """Return the settings that a JSON text holds; a field it lacks has its default.

    Raises:
        DamagedChatSettings: it is no JSON object, a field is unknown, or a value is not allowed.
    """
    try:
        data: Any = json.loads(text)
        if not isinstance(data, dict) or data.keys() - {field.name for field in fields(ChatSettings)}:
            raise ValueError("unknown fields")
        for name in ("always", "never"):
            if name in data:
                data[name] = frozenset(data[name])
        return ChatSettings(**data)
    except (TypeError, ValueError) as error:
        raise DamagedChatSettings(
            "The chat settings of this server cannot be understood; an admin can set them anew with /chat reset."
        ) from error


def _is_within(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _require(fits: bool, name: str) -> None:
    if not fits:
        raise ValueError(f"{name} has a value that is not allowed")
