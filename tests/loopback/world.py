"""The loopback Discord's state: users, servers, the bot's application, and who listens to changes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from .channels import Channel, ChannelKind, now
from .guilds import Guild
from .people import User, user_of
from .permissions import DEFAULT_BOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from .people import Author

DISCORD_EPOCH = datetime(2015, 1, 1, tzinfo=UTC)

_MESSAGE_CONTENT_LIMITED = 1 << 19
_GUILD_MEMBERS_LIMITED = 1 << 15


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened in the world, under the name of the gateway event that tells it."""

    event: str
    subject: object
    guild: Guild | None = None
    channel: Channel | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Application:
    """The bot's entry in Discord's developer portal."""

    id: int
    name: str
    owner: User
    message_content_intent: bool = True
    """Whether the message content switch is on; off, text is blank and asking for the intent is refused."""
    members_intent: bool = True
    """Whether the server members switch is on."""
    presence_intent: bool = False
    members_intent_claimed: bool | None = None
    """What the flags say of the server members switch; None for the truth."""

    @property
    def flags(self) -> int:
        """The application's flag bits."""
        content = _MESSAGE_CONTENT_LIMITED if self.message_content_intent else 0
        claimed = self.members_intent if self.members_intent_claimed is None else self.members_intent_claimed
        return content | (_GUILD_MEMBERS_LIMITED if claimed else 0)


class World:
    """Everything the loopback Discord knows. Builders return plain objects; changing them tells the bot.

    >>> world = World()
    >>> guild = world.guild("Tea House")
    >>> ada = guild.member("ada")
    >>> general = guild.text_channel("general")
    >>> message = general.post(ada, "hello")
    >>> general.history()[-1].content
    'hello'
    """

    def __init__(self, *, bot_name: str = "memory") -> None:
        self._serial: Iterator[int] = itertools.count()
        self._listeners: list[Callable[[Change], None]] = []
        self.cdn = "http://127.0.0.1"
        """Where attachments are served; the server sets it when it starts."""
        self.users: dict[int, User] = {}
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self.bot = self.user(bot_name, bot=True)
        self.bot_owner = self.user("bot-owner")
        self.application = Application(self.bot.id, bot_name, self.bot_owner)

    # --- ids and time

    def new_id(self, at: datetime | None = None) -> int:
        """Make an id that carries a moment (now, unless given) and is unique."""
        milliseconds = ((at or now()) - DISCORD_EPOCH) // timedelta(milliseconds=1)
        return (milliseconds << 22) | (next(self._serial) & 0x3FFFFF)

    @staticmethod
    def time_of(snowflake: int) -> datetime:
        """The moment that an id carries."""
        return DISCORD_EPOCH + timedelta(milliseconds=snowflake >> 22)

    # --- building

    def user(self, name: str, *, bot: bool = False, global_name: str | None = None) -> User:
        """Add an account."""
        user = User(self.new_id(), name, global_name=global_name, bot=bot)
        self.users[user.id] = user
        return user

    def guild(
        self,
        name: str,
        *,
        owner: User | None = None,
        bot_permissions: int | None = DEFAULT_BOT,
        shard: tuple[int, int] | None = None,
    ) -> Guild:
        """Add a server with the bot on it (not with `bot_permissions=None`).

        `shard`, e.g. ``(1, 2)``, gives it an id that falls to that shard of so many.
        """
        guild_id = self.new_id()
        if shard is not None:
            index, count = shard
            guild_id += ((index - (guild_id >> 22)) % count) << 22
        guild = Guild(self, guild_id, name, owner or self.user(f"owner of {name}"))
        self.guilds[guild.id] = guild
        if bot_permissions is not None:
            guild.add_bot(bot_permissions)
        return guild

    def dm(self, who: Author) -> Channel:
        """The direct-message channel between the bot and a user."""
        user = user_of(who)
        for channel in self.channels.values():
            if channel.recipient is user:
                return channel
        channel = Channel(self, self.new_id(), ChannelKind.DM, name=user.name, recipient=user)
        self.channels[channel.id] = channel
        return channel

    # --- telling

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` with every change, in order, at once."""
        self._listeners.append(listener)

    def announce(
        self, event: str, subject: object, *, guild: Guild | None = None, channel: Channel | None = None, **details: Any
    ) -> None:
        """Tell all listeners of a change."""
        change = Change(event, subject, guild, channel, details)
        for listener in self._listeners:
            listener(change)

    def unheard(self) -> AbstractContextManager[None]:
        """Let changes inside the ``with`` block happen without telling anybody, as while the bot was away."""
        return _Unheard(self._listeners)


class _Unheard:
    def __init__(self, listeners: list[Callable[[Change], None]]) -> None:
        self._listeners = listeners
        self._kept: list[Callable[[Change], None]] = []

    def __enter__(self) -> None:
        self._kept = self._listeners[:]
        self._listeners.clear()

    def __exit__(self, *_: object) -> None:
        self._listeners.extend(self._kept)
