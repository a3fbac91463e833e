"""Guilds of the loopback world: roles, members, channels, and what happens to a guild as a whole."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .channels import Channel, ChannelKind
from .people import Member, Role, User
from .permissions import DEFAULT_EVERYONE, Overwrite, Permission, allow, base_permissions, deny
from .threads import Thread, open_forum_post, open_thread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from .messages import Message
    from .people import Author
    from .world import World

Overwrites = dict[Role | Member, Overwrite]


@dataclass(eq=False)
class Guild:
    """A server."""

    world: World
    id: int
    name: str
    owner: User
    roles: dict[int, Role] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    threads: dict[int, Thread] = field(default_factory=dict)
    locale: str = "en-US"
    unavailable: bool = False
    search_index_ready: bool = True
    """False makes message search answer 202, as for a server that was never searched."""
    search_retry_after: float = 0.05

    def __post_init__(self) -> None:
        self.roles[self.id] = Role(self, self.id, "@everyone", permissions=DEFAULT_EVERYONE, position=0)
        self.members[self.owner.id] = Member(self, self.owner)

    @property
    def everyone(self) -> Role:
        """The role that every member has."""
        return self.roles[self.id]

    @property
    def me(self) -> Member:
        """The bot's membership.

        Raises:
            KeyError: the bot is not on this server.
        """
        return self.members[self.world.bot.id]

    @property
    def has_bot(self) -> bool:
        """Whether the bot is on this server."""
        return self.world.bot.id in self.members

    # --- building

    def role(self, name: str, *permissions: Permission) -> Role:
        """Add a role."""
        role = Role(self, self.world.new_id(), name, int(sum(set(permissions), Permission(0))), len(self.roles))
        self.roles[role.id] = role
        self.announce("GUILD_ROLE_CREATE", role)
        return role

    def member(self, who: str | User, *roles: Role, nick: str | None = None) -> Member:
        """Let somebody join: a user, or a new one with this name."""
        user = self.world.user(who) if isinstance(who, str) else who
        member = Member(self, user, roles=list(roles), nick=nick)
        self.members[user.id] = member
        self.announce("GUILD_MEMBER_ADD", member)
        return member

    def channel(
        self,
        name: str,
        kind: ChannelKind = ChannelKind.TEXT,
        *,
        overwrites: Mapping[Role | Member, Overwrite] | None = None,
        only: Sequence[Role | Member] = (),
        category: Channel | None = None,
        topic: str | None = None,
        nsfw: bool = False,
    ) -> Channel:
        """Add a channel; with `only` it is hidden from everyone but these roles, these members and the bot."""
        rules: Overwrites = dict(overwrites or {})
        if only:
            rules[self.everyone] = deny(Permission.VIEW_CHANNEL)
            rules |= {each: allow(Permission.VIEW_CHANNEL, Permission.CONNECT) for each in (*only, *self._bot())}
        channel = Channel(
            world=self.world,
            id=self.world.new_id(),
            kind=kind,
            name=name,
            guild=self,
            overwrites={target.id: overwrite for target, overwrite in rules.items()},
            category=category,
            topic=topic,
            nsfw=nsfw,
            position=len(self.channels),
        )
        self.channels[channel.id] = channel
        self.world.channels[channel.id] = channel
        channel.announce("CHANNEL_CREATE", channel)
        return channel

    def text_channel(self, name: str, **options: Any) -> Channel:
        """Add a text channel; options as for `channel`."""
        return self.channel(name, ChannelKind.TEXT, **options)

    def announcement_channel(self, name: str, **options: Any) -> Channel:
        """Add an announcement channel; options as for `channel`."""
        return self.channel(name, ChannelKind.ANNOUNCEMENT, **options)

    def voice_channel(self, name: str, **options: Any) -> Channel:
        """Add a voice channel, which has a text chat too; options as for `channel`."""
        return self.channel(name, ChannelKind.VOICE, **options)

    def stage_channel(self, name: str, **options: Any) -> Channel:
        """Add a stage channel, which has a text chat too; options as for `channel`."""
        return self.channel(name, ChannelKind.STAGE, **options)

    def forum(self, name: str, **options: Any) -> Channel:
        """Add a forum; options as for `channel`."""
        return self.channel(name, ChannelKind.FORUM, **options)

    def category(self, name: str, **options: Any) -> Channel:
        """Add a category; options as for `channel`."""
        return self.channel(name, ChannelKind.CATEGORY, **options)

    def thread(
        self,
        parent: Channel,
        name: str,
        owner: Author,
        *,
        private: bool = False,
        starter: Message | None = None,
        at: datetime | None = None,
        locked: bool = False,
    ) -> Thread:
        """Open a thread in a text or announcement channel, on a message if `starter` is given."""
        return open_thread(parent, name, owner, private=private, starter=starter, at=at, locked=locked)

    def forum_post(
        self, forum: Channel, title: str, author: Author, content: str, *, at: datetime | None = None
    ) -> Thread:
        """Open a post in a forum."""
        return open_forum_post(forum, title, author, content, at=at)

    def permissions_of(self, who: Author) -> int:
        """Compute a member's permissions on the server, without any channel's overwrites."""
        member = self.members.get(who.id)
        if member is None:
            return 0
        return base_permissions(
            owner=self.owner.id == who.id,
            everyone=self.everyone.permissions,
            roles=(role.permissions for role in member.roles),
        )

    # --- changing

    def add_thread(self, thread: Thread) -> None:
        """Enter a new thread."""
        self.threads[thread.id] = thread
        self.world.channels[thread.id] = thread
        thread.announce("THREAD_CREATE", thread, newly_created=True)

    def delete_thread(self, thread: Thread) -> None:
        """Delete a thread and its messages."""
        thread.announce("THREAD_DELETE", thread)
        self._drop(thread)

    def delete_channel(self, channel: Channel) -> None:
        """Delete a channel; its threads go silently with it, as on Discord."""
        for thread in channel.threads:
            self._drop(thread)
        channel.announce("CHANNEL_DELETE", channel)
        self._drop(channel)

    def delete_role(self, role: Role) -> None:
        """Delete a role from the server, its members and all overwrites."""
        with self.access_change():
            del self.roles[role.id]
            for member in self.members.values():
                if role in member.roles:
                    member.roles.remove(role)
            for channel in self.channels.values():
                channel.overwrites.pop(role.id, None)
            self.announce("GUILD_ROLE_DELETE", role)

    def remove_member(self, member: Member) -> None:
        """Let a member go. When it is the bot, the server is gone for it."""
        if member.user is self.world.bot:
            self.remove_bot()
            return
        for thread in self.threads.values():
            thread.thread_members.pop(member.id, None)
        del self.members[member.id]
        self.announce("GUILD_MEMBER_REMOVE", member)

    def update(self, *, name: str | None = None, owner: Member | None = None) -> None:
        """Rename the server or hand it to another owner."""
        self.name = name or self.name
        self.owner = owner.user if owner else self.owner
        self.announce("GUILD_UPDATE", self)

    def add_bot(self, permissions: int) -> Member:
        """Invite the bot, with a role of its own that grants `permissions`."""
        bot = self.world.bot
        role = Role(self, self.world.new_id(), bot.name, permissions, len(self.roles), managed_by=bot.id)
        self.roles[role.id] = role
        member = Member(self, bot, roles=[role])
        self.members[bot.id] = member
        self.announce("GUILD_CREATE", self, joined=True)
        return member

    def remove_bot(self) -> None:
        """Kick the bot from the server."""
        member = self.members.pop(self.world.bot.id)
        for role in [each for each in self.roles.values() if each.managed_by == member.id]:
            del self.roles[role.id]
        self.announce("GUILD_DELETE", self)

    def outage(self) -> None:
        """Let the server become unavailable, as in an outage at Discord; the bot is still a member."""
        self.unavailable = True
        self.announce("GUILD_DELETE", self)

    def recover(self) -> None:
        """End the outage."""
        self.unavailable = False
        self.announce("GUILD_CREATE", self)

    @contextmanager
    def access_change(self) -> Iterator[None]:
        """Send the threads of channels that the bot sees after the change and did not see before it."""
        before = self._visible_to_bot()
        yield
        gained = self._visible_to_bot() - before
        if gained:
            self.announce("THREAD_LIST_SYNC", self, channels=sorted(gained))

    def announce(self, event: str, subject: object, **details: Any) -> None:
        """Tell whoever listens to the world that something happened on this server."""
        self.world.announce(event, subject, guild=self, **details)

    def _visible_to_bot(self) -> set[int]:
        bot = self.world.bot
        return {channel.id for channel in self.channels.values() if self.has_bot and channel.can_view(bot)}

    def _drop(self, channel: Channel) -> None:
        channel.deleted = True
        self.channels.pop(channel.id, None)
        self.threads.pop(channel.id, None)
        self.world.channels.pop(channel.id, None)

    def _bot(self) -> tuple[Member, ...]:
        return (self.me,) if self.has_bot else ()

    def __repr__(self) -> str:
        return f"<Guild {self.name} {self.id}>"
