"""Users, roles and members of the loopback world."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .permissions import Permission

if TYPE_CHECKING:
    from datetime import timedelta

    from .guilds import Guild


@dataclass(eq=False)
class User:
    """A Discord account."""

    id: int
    name: str
    global_name: str | None = None
    bot: bool = False
    avatar: str | None = None
    locale: str = "en-US"
    accepts_direct_messages: bool = True

    @property
    def mention(self) -> str:
        """The text that mentions this user."""
        return f"<@{self.id}>"

    def __repr__(self) -> str:
        return f"<User {self.name} {self.id}>"


@dataclass(eq=False)
class Role:
    """A role of one guild. Its id equals the guild's for @everyone."""

    guild: Guild
    id: int
    name: str
    permissions: int = 0
    position: int = 1
    managed_by: int | None = None
    """The bot whose own role this is."""

    @property
    def mention(self) -> str:
        """The text that mentions this role."""
        return f"<@&{self.id}>"

    def set_permissions(self, *permissions: Permission) -> None:
        """Replace the role's permissions and tell the bot."""
        with self.guild.access_change():
            self.permissions = int(sum(set(permissions), Permission(0)))
            self.guild.announce("GUILD_ROLE_UPDATE", self)

    def delete(self) -> None:
        """Delete the role: members lose it, overwrites for it go."""
        self.guild.delete_role(self)

    def __repr__(self) -> str:
        return f"<Role {self.name} {self.id}>"


@dataclass(eq=False)
class Member:
    """A user in a guild."""

    guild: Guild
    user: User
    roles: list[Role] = field(default_factory=list)
    nick: str | None = None
    joined_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    timed_out_until: datetime | None = None

    @property
    def id(self) -> int:
        """The user's id."""
        return self.user.id

    @property
    def mention(self) -> str:
        """The text that mentions this member."""
        return self.user.mention

    @property
    def display_name(self) -> str:
        """The name shown in this guild."""
        return self.nick or self.user.global_name or self.user.name

    @property
    def timed_out(self) -> bool:
        """Whether a moderator has silenced this member and the time is not over."""
        return self.timed_out_until is not None and self.timed_out_until > datetime.now(UTC)

    def add_role(self, role: Role) -> None:
        """Give the member a role."""
        if role not in self.roles:
            with self.guild.access_change():
                self.roles.append(role)
                self.guild.announce("GUILD_MEMBER_UPDATE", self)

    def remove_role(self, role: Role) -> None:
        """Take a role from the member."""
        if role in self.roles:
            with self.guild.access_change():
                self.roles.remove(role)
                self.guild.announce("GUILD_MEMBER_UPDATE", self)

    def rename(self, nick: str | None) -> None:
        """Change the member's nickname in this guild."""
        self.nick = nick
        self.guild.announce("GUILD_MEMBER_UPDATE", self)

    def time_out(self, duration: timedelta) -> None:
        """Silence the member for a while."""
        self.timed_out_until = datetime.now(UTC) + duration
        self.guild.announce("GUILD_MEMBER_UPDATE", self)

    def leave(self) -> None:
        """Remove the member from the guild, as a leave, a kick or a ban does."""
        self.guild.remove_member(self)

    def __repr__(self) -> str:
        return f"<Member {self.display_name} {self.id} of {self.guild.name}>"


Author = User | Member


def user_of(author: Author) -> User:
    """The account behind a user or member."""
    return author.user if isinstance(author, Member) else author
