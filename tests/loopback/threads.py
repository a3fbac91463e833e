"""Threads and forum posts of the loopback world."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from .channels import Channel, ChannelKind, now
from .messages import THREAD_CREATED, Message
from .people import Author, User, user_of
from .permissions import Permission

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from .guilds import Guild
    from .messages import Attachment
    from .world import World


@dataclass(eq=False, kw_only=True)
class Thread(Channel):
    """A thread. It has its parent's permissions; a private one is seen by its members and by MANAGE_THREADS."""

    guild: Guild
    parent: Channel
    owner: User
    thread_members: dict[int, datetime] = field(default_factory=dict)
    """When each member joined, by user id."""
    archived: bool = False
    locked: bool = False
    archived_at: datetime = field(default_factory=now)
    invitable: bool = True

    @property
    def private(self) -> bool:
        """Whether only members see the thread."""
        return self.kind is ChannelKind.PRIVATE_THREAD

    def permissions_for(self, who: Author) -> int:
        """Compute what a user may do here, as the parent channel decides it."""
        return self.parent.decide(user_of(who), sending=Permission.SEND_MESSAGES_IN_THREADS)

    def can_view(self, who: Author) -> bool:
        """Whether a user sees the thread."""
        if not self.parent.can_view(who):
            return False
        moderates = self.permissions_for(who) & Permission.MANAGE_THREADS
        return not self.private or bool(moderates) or user_of(who).id in self.thread_members

    def post(self, author: Author, content: str = "", **fields: Any) -> Message:
        """Send a message; the author joins the thread, and an archived thread opens again."""
        self.join(user_of(author))
        if self.archived:
            self.set_archived(False)
        return super().post(author, content, **fields)

    def join(self, user: User) -> None:
        """Add a user to the thread, unless he is in it already or is not on the server."""
        if user.id not in self.thread_members and user.id in self.guild.members:
            self.thread_members[user.id] = now()
            if user is self.world.bot:
                self.announce("THREAD_CREATE", self)
            self.announce("THREAD_MEMBERS_UPDATE", self, added=[user], removed=[])

    def remove(self, user: User) -> None:
        """Take a user out of the thread."""
        if user.id in self.thread_members:
            del self.thread_members[user.id]
            self.announce("THREAD_MEMBERS_UPDATE", self, added=[], removed=[user])

    def set_archived(self, archived: bool, *, at: datetime | None = None) -> None:
        """Archive the thread or open it again."""
        self.archived = archived
        self.archived_at = at or now()
        self.announce("THREAD_UPDATE", self)

    def archive(self, *, at: datetime | None = None) -> None:
        """Archive the thread; `at` puts the moment into the past."""
        self.set_archived(True, at=at)

    def update(self, **fields: Any) -> None:
        """Change fields such as `name` or `locked`."""
        for name, value in fields.items():
            if not hasattr(self, name):
                raise AttributeError(name)
            setattr(self, name, value)
        self.announce("THREAD_UPDATE", self)

    def delete(self) -> None:
        """Delete the thread and its messages."""
        self.guild.delete_thread(self)


def open_thread(
    parent: Channel,
    name: str,
    owner: Author,
    *,
    private: bool = False,
    starter: Message | None = None,
    at: datetime | None = None,
    locked: bool = False,
) -> Thread:
    """Open a thread in a text or announcement channel; one on a message has that message's id."""
    if private:
        kind = ChannelKind.PRIVATE_THREAD
    elif parent.kind is ChannelKind.ANNOUNCEMENT:
        kind = ChannelKind.ANNOUNCEMENT_THREAD
    else:
        kind = ChannelKind.PUBLIC_THREAD
    thread = _create(parent, name, owner, kind=kind, thread_id=starter.id if starter else None, at=at, locked=locked)
    if starter is None and not private:
        parent.post(owner, name, type=THREAD_CREATED, at=at)
    return thread


def open_forum_post(
    forum: Channel,
    title: str,
    author: Author,
    content: str,
    *,
    at: datetime | None = None,
    attachments: Sequence[Attachment] = (),
) -> Thread:
    """Open a post in a forum: a thread whose first message has the thread's own id."""
    thread = _create(forum, title, author, kind=ChannelKind.PUBLIC_THREAD, at=at)
    thread.post(author, content, id=thread.id, attachments=attachments)
    return thread


def _create(
    parent: Channel,
    name: str,
    owner: Author,
    *,
    kind: ChannelKind,
    thread_id: int | None = None,
    at: datetime | None = None,
    locked: bool = False,
) -> Thread:
    world: World = parent.world
    guild = cast("Guild", parent.guild)
    account = user_of(owner)
    thread = Thread(
        world=world,
        id=thread_id or world.new_id(at),
        kind=kind,
        name=name,
        guild=guild,
        parent=parent,
        owner=account,
        nsfw=parent.nsfw,
        locked=locked,
        thread_members={account.id: at or now()},
    )
    guild.add_thread(thread)
    return thread
