"""The application commands that the bot has registered, as Discord keeps and offers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .command_limits import CHAT_INPUT, SUB_COMMAND, SUB_COMMAND_GROUP, check_commands
from .errors import HiddenCommandError, Json, UserError
from .permissions import Permission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .channels import Channel
    from .people import Author
    from .world import World


class Commands:
    """Registered commands by scope: a guild's id, or None for the global ones."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._scopes: dict[int | None, list[Json]] = {None: []}
        self.enforce_visibility = True
        """False lets users call commands that are hidden from them, as when an admin has granted them to all."""

    def registered(self, scope: int | None = None) -> Sequence[Json]:
        """The commands of a scope, in the order of registration."""
        return self._scopes.get(scope, [])

    def replace(self, scope: int | None, commands: Sequence[Json]) -> Sequence[Json]:
        """Replace all commands of a scope; those with a known name and kind keep their id.

        Raises:
            ApiError: a limit is broken; nothing is changed then.
        """
        check_commands(commands)
        known = {_key(each): each["id"] for each in self.registered(scope)}
        self._scopes[scope] = [self._stored(scope, each, known.get(_key(each))) for each in commands]
        return self._scopes[scope]

    def upsert(self, scope: int | None, command: Json) -> Json:
        """Add one command or replace the one of the same name and kind.

        Raises:
            ApiError: a limit is broken; nothing is changed then.
        """
        others = [each for each in self.registered(scope) if _key(each) != _key(command)]
        self.replace(scope, [*others, command])
        return next(each for each in self.registered(scope) if _key(each) == _key(command))

    def get(self, scope: int | None, command_id: int) -> Json | None:
        """The command with this id."""
        return next((each for each in self.registered(scope) if int(each["id"]) == command_id), None)

    def remove(self, scope: int | None, command_id: int) -> None:
        """Delete a command."""
        self._scopes[scope] = [each for each in self.registered(scope) if int(each["id"]) != command_id]

    def find(self, name: str, channel: Channel, *, kind: int = CHAT_INPUT) -> Json:
        """The command of this name that Discord offers in a channel, a guild's own before a global one.

        Raises:
            UserError: there is none, or not here.
        """
        scopes = (channel.guild.id if channel.guild else None, None)
        for scope in scopes:
            for command in self.registered(scope):
                if _key(command) == (kind, name) and _is_offered_in(command, channel):
                    return command
        known = [each["name"] for scope in scopes for each in self.registered(scope)]
        raise UserError(f"no command {name!r} in {channel}; there are: {', '.join(known) or 'none'}")

    def require_visible(self, command: Json, user: Author, channel: Channel) -> None:
        """Check that Discord shows a command to a user in a channel.

        Raises:
            HiddenCommandError: it does not.
        """
        if self.enforce_visibility and not self.is_visible(command, user, channel):
            raise HiddenCommandError(f"{command['name']!r} is hidden from {user} in {channel}")

    def is_visible(self, command: Json, user: Author, channel: Channel) -> bool:
        """Whether a command is in the list that a user gets when he types ``/`` in a channel."""
        if channel.guild is None:
            return True
        permissions = channel.permissions_for(user)
        needed = command.get("default_member_permissions")
        if not channel.can_view(user) or not permissions & Permission.USE_APPLICATION_COMMANDS:
            return False
        if needed is None or permissions & Permission.ADMINISTRATOR:
            return True
        return int(needed) != 0 and permissions & int(needed) == int(needed)

    def visible_paths(self, user: Author, channel: Channel) -> list[str]:
        """The full paths of all slash commands a user is offered in a channel, such as ``memory forget me``."""
        scopes = {channel.guild.id if channel.guild else None, None}
        commands = [each for scope in scopes for each in self.registered(scope) if each["type"] == CHAT_INPUT]
        offered = [each for each in commands if _is_offered_in(each, channel)]
        return sorted(path for each in offered if self.is_visible(each, user, channel) for path in _paths(each))

    def _stored(self, scope: int | None, command: Json, known_id: str | None) -> Json:
        defaults = {"type": CHAT_INPUT, "description": "", "default_member_permissions": None, "nsfw": False}
        stored = defaults | command
        stored["id"] = known_id or str(self._world.new_id())
        stored["application_id"] = str(self._world.application.id)
        stored["version"] = str(self._world.new_id())
        if scope is not None:
            stored["guild_id"] = str(scope)
        return stored


def _key(command: Json) -> tuple[int, str]:
    return command.get("type", CHAT_INPUT), command["name"]


def _is_offered_in(command: Json, channel: Channel) -> bool:
    contexts = command.get("contexts")
    if contexts is not None:
        return (0 if channel.guild else 1) in contexts
    return channel.guild is not None or bool(command.get("dm_permission", True))


def _paths(command: Json) -> list[str]:
    nested = [each for each in command.get("options") or [] if each["type"] in (SUB_COMMAND, SUB_COMMAND_GROUP)]
    if not nested:
        return [command["name"]]
    return [f"{command['name']} {path}" for each in nested for path in _paths(each)]
