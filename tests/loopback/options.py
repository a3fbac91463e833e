"""A slash command as a user types it: the path to the sub-command, and options checked as Discord's client does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .channels import Channel
from .command_limits import SUB_COMMAND, SUB_COMMAND_GROUP
from .errors import Json, UserError
from .messages import Attachment
from .payloads import attachment_json, channel_json, member_json, role_json, user_json
from .people import Member, Role, User

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = 3, 4, 5, 6, 7, 8, 9, 10, 11


@dataclass
class Resolved:
    """The objects that options and menus refer to by id."""

    channel: Channel
    """Where the interaction happens."""
    by: User
    """Who does it: his permissions are told with each channel."""
    payload: dict[str, Json] = field(default_factory=dict)

    def add(self, value: object) -> str:
        """Enter an object and return its id as text."""
        if isinstance(value, (User, Member)):
            return self._add_user(value)
        if isinstance(value, Role):
            return self._enter("roles", value.id, role_json(value))
        if isinstance(value, Channel):
            payload = channel_json(value) | {"permissions": str(value.permissions_for(self.by))}
            return self._enter("channels", value.id, payload)
        if isinstance(value, Attachment):
            return self._enter("attachments", value.id, attachment_json(value, self.channel, ephemeral=True))
        raise UserError(f"{value!r} cannot be chosen")

    def _add_user(self, value: User | Member) -> str:
        user = value.user if isinstance(value, Member) else value
        guild = self.channel.guild
        member = guild.members.get(user.id) if guild else None
        if member is not None:
            payload = member_json(member, with_user=False)
            payload["permissions"] = str(self.channel.permissions_for(member))
            self._enter("members", user.id, payload)
        return self._enter("users", user.id, user_json(user))

    def _enter(self, kind: str, key: int, payload: Json) -> str:
        self.payload.setdefault(kind, {})[str(key)] = payload
        return str(key)


_CHOOSABLE: dict[int, tuple[type, ...]] = {
    USER: (User, Member),
    CHANNEL: (Channel,),
    ROLE: (Role,),
    MENTIONABLE: (User, Member, Role),
    ATTACHMENT: (Attachment,),
}


def command_data(
    command: Json, path: str, values: Mapping[str, Any], resolved: Resolved, *, focused: str | None = None
) -> Json:
    """Build the ``data`` of a slash command's interaction.

    Args:
        command: the registered command.
        path: its name and those of its sub-commands, separated by spaces.
        values: the options by name; users, channels, roles and files as objects of the world.
        resolved: filled with the objects that options refer to.
        focused: the option being typed, for an autocomplete.

    Raises:
        UserError: the path ends nowhere, an option is missing, unknown, or not what its definition allows.
    """
    groups, definitions = _descend(command, path)
    options = _options(path, definitions, values, resolved, focused)
    for group in reversed(groups):
        options = [{"name": group["name"], "type": group["type"], "options": options}]
    data: Json = {"id": command["id"], "name": command["name"], "type": 1, "options": options}
    if "guild_id" in command:
        data["guild_id"] = command["guild_id"]
    if resolved.payload:
        data["resolved"] = resolved.payload
    return data


def _descend(command: Json, path: str) -> tuple[list[Json], Sequence[Json]]:
    """Follow a path to its sub-command; returns the groups on the way and the option definitions at its end."""
    groups: list[Json] = []
    definitions = command.get("options") or []
    for name in path.split()[1:]:
        nested = [each for each in definitions if each["type"] in (SUB_COMMAND, SUB_COMMAND_GROUP)]
        found = next((each for each in nested if each["name"] == name), None)
        if found is None:
            raise UserError(f"no {name!r} in {path!r}; there are: {', '.join(each['name'] for each in nested)}")
        groups.append(found)
        definitions = found.get("options") or []
    if any(each["type"] in (SUB_COMMAND, SUB_COMMAND_GROUP) for each in definitions):
        raise UserError(f"{path!r} is a group: choose one of {', '.join(each['name'] for each in definitions)}")
    return groups, definitions


def _options(
    path: str, definitions: Sequence[Json], values: Mapping[str, Any], resolved: Resolved, focused: str | None
) -> list[Json]:
    known = {each["name"] for each in definitions}
    if not set(values) <= known:
        raise UserError(f"{path!r} has no option {', '.join(set(values) - known)}; it has {', '.join(known)}")
    options = []
    for definition in definitions:
        name = definition["name"]
        if name == focused:
            options.append({"name": name, "type": definition["type"], "value": str(values[name]), "focused": True})
        elif values.get(name) is not None:
            value = _value(definition, values[name], resolved)
            options.append({"name": name, "type": definition["type"], "value": value})
        elif definition.get("required") and focused is None:
            raise UserError(f"{path!r} needs the option {name!r}")
    return options


def _value(definition: Json, value: Any, resolved: Resolved) -> Any:
    kind, name = definition["type"], definition["name"]
    if kind in _CHOOSABLE:
        if not isinstance(value, _CHOOSABLE[kind]):
            raise UserError(f"{value!r} is not what the option {name!r} takes")
        allowed = definition.get("channel_types")
        if allowed and isinstance(value, Channel) and value.kind not in allowed:
            raise UserError(f"{value!r} is not of the channel types that {name!r} takes")
        return resolved.add(value)
    _check_plain(definition, value)
    return value


_PLAIN: dict[int, tuple[type, ...]] = {STRING: (str,), INTEGER: (int,), BOOLEAN: (bool,), NUMBER: (int, float)}


def _check_plain(definition: Json, value: Any) -> None:
    kind, name = definition["type"], definition["name"]
    fits: bool = isinstance(value, _PLAIN[kind]) and (kind == BOOLEAN or not isinstance(value, bool))
    if not fits:
        raise UserError(f"{value!r} is not of the type that {name!r} takes")
    choices = definition.get("choices")
    if choices and value not in [choice["value"] for choice in choices]:
        raise UserError(f"{value!r} is not among the choices of {name!r}")
    if kind == STRING:
        _check_range(name, len(value), definition.get("min_length"), definition.get("max_length") or 6000)
    elif kind in (INTEGER, NUMBER):
        _check_range(name, value, definition.get("min_value"), definition.get("max_value"))


def _check_range(name: str, size: float, low: float | None, high: float | None) -> None:
    if (low is not None and size < low) or (high is not None and size > high):
        raise UserError(f"{name!r} must be from {low} to {high}, not {size}")
