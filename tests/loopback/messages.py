"""Messages of the loopback world: who wrote what, whom it pings, and how it changes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .permissions import Permission

if TYPE_CHECKING:
    from .channels import Channel
    from .errors import Json
    from .guilds import Guild
    from .people import Role, User

DEFAULT_TYPE, THREAD_CREATED, REPLY, SLASH_RESPONSE, CONTEXT_MENU_RESPONSE = 0, 18, 19, 20, 23

SUPPRESS_EMBEDS, EPHEMERAL, LOADING, COMPONENTS_V2 = 1 << 2, 1 << 6, 1 << 7, 1 << 15

_USER_MENTION = re.compile(r"<@!?(\d{1,20})>")
_ROLE_MENTION = re.compile(r"<@&(\d{1,20})>")
_EVERYONE = re.compile(r"@(everyone|here)\b")


@dataclass(eq=False)
class Attachment:
    """A file on a message; its bytes are served under the loopback's CDN address."""

    id: int
    filename: str
    data: bytes
    content_type: str = "application/octet-stream"
    description: str | None = None


@dataclass
class Mentions:
    """Whom a message really notifies."""

    users: list[User] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    everyone: bool = False

    def __bool__(self) -> bool:
        return bool(self.users or self.roles or self.everyone)


@dataclass(eq=False)
class Message:
    """A message in a channel, or an ephemeral one that only one user sees."""

    channel: Channel
    id: int
    author: User
    content: str = ""
    embeds: list[Json] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    stickers: list[Json] = field(default_factory=list)
    reply_to: Message | None = None
    type: int = DEFAULT_TYPE
    flags: int = 0
    pinned: bool = False
    edited_at: datetime | None = None
    webhook_id: int | None = None
    application_id: int | None = None
    nonce: str | None = None
    allowed_mentions: Json | None = None
    interaction: Json | None = None
    """The `interaction_metadata` of a response to a command, button or modal."""
    reactions: dict[str, list[User]] = field(default_factory=dict)
    visible_to: User | None = None
    """The only user who sees an ephemeral message."""
    deleted: bool = False
    revisions: list[str] = field(default_factory=list)
    """The contents before each edit, oldest first."""
    mentions: Mentions = field(default_factory=Mentions)

    @property
    def guild(self) -> Guild | None:
        """The guild of the message, None in direct messages."""
        return self.channel.guild

    @property
    def created_at(self) -> datetime:
        """When the message was sent, as its id says."""
        return self.channel.world.time_of(self.id)

    @property
    def ephemeral(self) -> bool:
        """Whether only one user sees the message."""
        return bool(self.flags & EPHEMERAL)

    @property
    def loading(self) -> bool:
        """Whether the message still says "thinking…"."""
        return bool(self.flags & LOADING)

    @property
    def jump_url(self) -> str:
        """The link that brings a client to the message."""
        guild = self.guild.id if self.guild else "@me"
        return f"https://discord.com/channels/{guild}/{self.channel.id}/{self.id}"

    def edit(self, content: str) -> None:
        """Change the text, as its author does in the client."""
        self.revisions.append(self.content)
        self.content = content
        self.edited_at = datetime.now(UTC)
        self.resolve_mentions()
        self.channel.announce("MESSAGE_UPDATE", self)

    def unfurl(self, embed: Json) -> None:
        """Add the preview of a link: an update without an edit time, sent soon after the message."""
        self.embeds.append(embed)
        self.channel.announce("MESSAGE_UPDATE", self)

    def pin(self) -> None:
        """Pin the message: an update that leaves the text alone."""
        self.pinned = True
        self.channel.announce("MESSAGE_UPDATE", self)

    def delete(self) -> None:
        """Delete the message."""
        self.channel.delete_messages([self])

    def react(self, user: User, emoji: str) -> None:
        """Add a user's reaction."""
        users = self.reactions.setdefault(emoji, [])
        if user not in users:
            users.append(user)
            self.channel.announce("MESSAGE_REACTION_ADD", self, user=user, emoji=emoji)

    def unreact(self, user: User, emoji: str) -> None:
        """Remove a user's reaction."""
        users = self.reactions.get(emoji, [])
        if user in users:
            users.remove(user)
            if not users:
                del self.reactions[emoji]
            self.channel.announce("MESSAGE_REACTION_REMOVE", self, user=user, emoji=emoji)

    def resolve_mentions(self) -> None:
        """Work out anew whom the text notifies, within what `allowed_mentions` and permissions let through."""
        self.mentions = _resolve_mentions(self)

    def __repr__(self) -> str:
        return f"<Message {self.id} by {self.author.name}: {self.content[:40]!r}>"


def _resolve_mentions(message: Message) -> Mentions:
    rules = message.allowed_mentions
    parse = {"users", "roles", "everyone"} if rules is None else set(rules.get("parse") or ())
    named_users = {int(each) for each in (rules or {}).get("users") or ()}
    named_roles = {int(each) for each in (rules or {}).get("roles") or ()}
    world = message.channel.world
    mentions = Mentions()
    for user_id in dict.fromkeys(int(each) for each in _USER_MENTION.findall(message.content)):
        if user_id in world.users and ("users" in parse or user_id in named_users):
            mentions.users.append(world.users[user_id])
    replied = message.reply_to.author if message.reply_to else None
    pings_replied = rules is None or bool(rules.get("replied_user"))
    if replied and pings_replied and replied not in mentions.users:
        mentions.users.append(replied)
    guild = message.guild
    if guild is None:
        return mentions
    for role_id in dict.fromkeys(int(each) for each in _ROLE_MENTION.findall(message.content)):
        if role_id in guild.roles and ("roles" in parse or role_id in named_roles):
            mentions.roles.append(guild.roles[role_id])
    may_ping_all = bool(message.channel.permissions_for(message.author) & Permission.MENTION_EVERYONE)
    mentions.everyone = "everyone" in parse and may_ping_all and bool(_EVERYONE.search(message.content))
    return mentions
