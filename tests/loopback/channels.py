"""Channels of the loopback world: who may see them, and the messages in them. Threads are in `threads.py`."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from .messages import DEFAULT_TYPE, REPLY, Attachment, Message
from .people import Author, Member, Role, User, user_of
from .permissions import ALL, DEFAULT_EVERYONE, Overwrite, Permission, base_permissions, channel_permissions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .errors import Json
    from .guilds import Guild
    from .threads import Thread
    from .world import World


class ChannelKind(IntEnum):
    """Discord's channel types."""

    TEXT = 0
    DM = 1
    VOICE = 2
    CATEGORY = 4
    ANNOUNCEMENT = 5
    ANNOUNCEMENT_THREAD = 10
    PUBLIC_THREAD = 11
    PRIVATE_THREAD = 12
    STAGE = 13
    FORUM = 15


VOCAL = (ChannelKind.VOICE, ChannelKind.STAGE)


@dataclass(eq=False)
class Channel:
    """A channel of a guild, or a direct-message channel (then `guild` is None and `recipient` is set)."""

    world: World
    id: int
    kind: ChannelKind
    name: str
    guild: Guild | None = None
    overwrites: dict[int, Overwrite] = field(default_factory=dict)
    category: Channel | None = None
    topic: str | None = None
    nsfw: bool = False
    position: int = 0
    recipient: User | None = None
    deleted: bool = False
    _messages: dict[int, Message] = field(default_factory=dict)
    _order: list[int] = field(default_factory=list)

    # --- reading

    @property
    def mention(self) -> str:
        """The text that mentions this channel."""
        return f"<#{self.id}>"

    @property
    def last_message_id(self) -> int | None:
        """The id of the newest message."""
        return self._order[-1] if self._order else None

    @property
    def threads(self) -> list[Thread]:
        """The threads under this channel, archived ones too."""
        return [each for each in self.guild.threads.values() if each.parent is self] if self.guild else []

    def message(self, message_id: int) -> Message | None:
        """The message with this id, unless it was deleted or never existed."""
        return self._messages.get(message_id)

    def history(self, limit: int | None = None) -> list[Message]:
        """The newest `limit` messages (all when None), oldest first."""
        ids = self._order if limit is None else self._order[-limit:]
        return [self._messages[each] for each in ids]

    def page(
        self, *, limit: int, before: int | None = None, after: int | None = None, around: int | None = None
    ) -> list[Message]:
        """One page of history as the API gives it: always newest first, next to the id that was asked for."""
        if around is not None:
            middle = bisect.bisect_left(self._order, around)
            low = max(0, middle - limit // 2)
            ids = self._order[low : low + limit]
        elif after is not None:
            low = bisect.bisect_right(self._order, after)
            ids = self._order[low : low + limit]
        else:
            high = len(self._order) if before is None else bisect.bisect_left(self._order, before)
            ids = self._order[max(0, high - limit) : high]
        return [self._messages[each] for each in reversed(ids)]

    # --- permissions

    def permissions_for(self, who: Author) -> int:
        """Compute what a user may do here; 0 when he is not on the server."""
        return self.decide(user_of(who), sending=Permission.SEND_MESSAGES)

    def decide(self, user: User, *, sending: Permission) -> int:
        """Compute a user's permissions; `sending` is the one that lets him write, here or in this channel's threads."""
        if self.guild is None:
            return DEFAULT_EVERYONE if user in (self.recipient, self.world.bot) else 0
        member = self.guild.members.get(user.id)
        if member is None:
            return 0
        base = base_permissions(
            owner=self.guild.owner is user,
            everyone=self.guild.everyone.permissions,
            roles=(role.permissions for role in member.roles),
        )
        if base == ALL:
            return ALL
        return channel_permissions(
            base,
            everyone=self.overwrites.get(self.guild.id),
            roles=[self.overwrites[role.id] for role in member.roles if role.id in self.overwrites],
            member=self.overwrites.get(user.id),
            timed_out=member.timed_out,
            sending=sending,
        )

    def can_view(self, who: Author) -> bool:
        """Whether a user sees the channel and its new messages."""
        needed = Permission.VIEW_CHANNEL
        if self.kind in VOCAL:
            needed |= Permission.CONNECT
        return self.permissions_for(who) & needed == needed

    def can_read_history(self, who: Author) -> bool:
        """Whether a user may read what was said here before."""
        return self.can_view(who) and bool(self.permissions_for(who) & Permission.READ_MESSAGE_HISTORY)

    # --- what people do here

    def post(
        self,
        author: Author,
        content: str = "",
        *,
        reply_to: Message | None = None,
        at: datetime | None = None,
        embeds: Sequence[Json] = (),
        attachments: Sequence[Attachment] = (),
        components: Sequence[Json] = (),
        stickers: Sequence[Json] = (),
        **fields: Any,
    ) -> Message:
        """Send a message; `at` puts it into the past, `fields` are further fields of `Message`."""
        message = Message(
            channel=self,
            id=fields.pop("id", None) or self.world.new_id(at),
            author=user_of(author),
            content=content,
            reply_to=reply_to,
            embeds=list(embeds),
            attachments=list(attachments),
            components=list(components),
            stickers=list(stickers),
            type=fields.pop("type", REPLY if reply_to else DEFAULT_TYPE),
            **fields,
        )
        message.resolve_mentions()
        self._add(message)
        self.announce("MESSAGE_CREATE", message)
        return message

    def post_webhook(self, name: str, content: str, **fields: Any) -> Message:
        """Send a message as a webhook does: an author that is no member, and a `webhook_id`."""
        author = User(id=self.world.new_id(), name=name, bot=True)
        return self.post(author, content, webhook_id=author.id, **fields)

    def delete_messages(self, messages: Iterable[Message]) -> None:
        """Delete messages; more than one at once is a bulk delete."""
        gone = [self._messages.pop(each.id) for each in messages if each.id in self._messages]
        for message in gone:
            self._order.remove(message.id)
            message.deleted = True
        if len(gone) == 1:
            self.announce("MESSAGE_DELETE", gone[0])
        elif gone:
            self.announce("MESSAGE_DELETE_BULK", self, ids=[each.id for each in gone])

    # --- administration

    def set_overwrite(self, target: Role | Member | User, overwrite: Overwrite | None) -> None:
        """Set or (with None) remove what the channel allows and denies to a role or member."""
        with self._access_change():
            if overwrite is None:
                self.overwrites.pop(target.id, None)
            else:
                self.overwrites[target.id] = overwrite
            self.announce("CHANNEL_UPDATE", self)

    def update(self, **fields: Any) -> None:
        """Change fields such as `name`, `topic` or `nsfw`."""
        for name, value in fields.items():
            if not hasattr(self, name):
                raise AttributeError(name)
            setattr(self, name, value)
        self.announce("CHANNEL_UPDATE", self)

    def delete(self) -> None:
        """Delete the channel with its threads and messages."""
        if self.guild is None:
            raise ValueError("a direct-message channel cannot be deleted")
        self.guild.delete_channel(self)

    def announce(self, event: str, subject: object, **details: Any) -> None:
        """Tell whoever listens to the world that something happened here."""
        self.world.announce(event, subject, guild=self.guild, channel=self, **details)

    def _add(self, message: Message) -> None:
        self._messages[message.id] = message
        if not self._order or message.id > self._order[-1]:
            self._order.append(message.id)
        else:
            bisect.insort(self._order, message.id)

    def _access_change(self) -> Any:
        if self.guild is None:
            raise ValueError("direct messages have no permissions")
        return self.guild.access_change()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.kind.name.lower()} {self.name} {self.id}>"


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)
