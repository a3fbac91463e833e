"""What people do with a bot in Discord's client: commands, buttons, menus, modals. Mixed into `LoopbackDiscord`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .command_limits import MESSAGE_MENU, USER_MENU
from .errors import Json, UserError
from .events import gateway_message_json
from .forms import fill_in
from .interactions import Interaction, Kind, find_component
from .limits import BUTTON, FILE_SIZE, LINK_STYLE, SELECTS, STRING_SELECT
from .options import Resolved, command_data
from .payloads import channel_json, member_json, user_json
from .people import Author, user_of

if TYPE_CHECKING:
    from .backend import Backend
    from .channels import Channel
    from .messages import Message
    from .people import User


class UserActions:
    """Plays the users. Each action exists as a coroutine that waits for the bot's answer, as a person would.

    The ``start_…`` variants return at once; wait with the methods of `Interaction`.
    """

    backend: Backend

    # --- slash commands

    def start_slash(self, user: Author, channel: Channel, path: str, /, **options: Any) -> Interaction:
        """Send a slash command, e.g. ``start_slash(ada, general, "memory forget me")``.

        Raises:
            UserError: Discord's client would not send it (hidden, unknown, an option missing or wrong).
        """
        command = self.backend.commands.find(path.split(maxsplit=1)[0], channel)
        self.backend.commands.require_visible(command, user, channel)
        resolved = Resolved(channel, user_of(user))
        data = command_data(command, path, options, resolved)
        return self._begin(Kind.COMMAND, user, channel, data)

    async def slash(self, user: Author, channel: Channel, path: str, /, **options: Any) -> Interaction:
        """Send a slash command and wait for the answer (or a modal)."""
        return await self.start_slash(user, channel, path, **options).answered()

    async def autocomplete(
        self, user: Author, channel: Channel, path: str, option: str, /, **options: Any
    ) -> list[tuple[str, Any]]:
        """Type into an option; returns the choices offered, as (name, value)."""
        command = self.backend.commands.find(path.split(maxsplit=1)[0], channel)
        self.backend.commands.require_visible(command, user, channel)
        resolved = Resolved(channel, user_of(user))
        data = command_data(command, path, options, resolved, focused=option)
        interaction = await self._begin(Kind.AUTOCOMPLETE, user, channel, data).acknowledged()
        return [(choice["name"], choice["value"]) for choice in interaction.choices or []]

    # --- context menus

    def start_message_menu(self, user: Author, message: Message, name: str) -> Interaction:
        """Choose a message's context menu command.

        Raises:
            UserError: it is hidden or unknown.
        """
        command = self.backend.commands.find(name, message.channel, kind=MESSAGE_MENU)
        self.backend.commands.require_visible(command, user, message.channel)
        data = {"id": command["id"], "name": name, "type": MESSAGE_MENU, "target_id": str(message.id)}
        data["resolved"] = {"messages": {str(message.id): gateway_message_json(message)}}
        return self._begin(Kind.COMMAND, user, message.channel, data)

    async def message_menu(self, user: Author, message: Message, name: str) -> Interaction:
        """Choose a message's context menu command and wait for the answer."""
        return await self.start_message_menu(user, message, name).answered()

    async def user_menu(self, user: Author, channel: Channel, target: Author, name: str) -> Interaction:
        """Choose a user's context menu command and wait for the answer."""
        command = self.backend.commands.find(name, channel, kind=USER_MENU)
        self.backend.commands.require_visible(command, user, channel)
        resolved = Resolved(channel, user_of(user))
        data = {"id": command["id"], "name": name, "type": USER_MENU, "target_id": resolved.add(target)}
        return await self._begin(Kind.COMMAND, user, channel, data | {"resolved": resolved.payload}).answered()

    # --- buttons and menus

    def start_press(self, where: Interaction | Message, button: str, *, user: Author | None = None) -> Interaction:
        """Press a button, named by custom id, label or emoji.

        Args:
            where: the message, or the interaction whose answer has the button.
            button: custom id, label or emoji.
            user: who presses; without one the user of the interaction.

        Raises:
            UserError: there is no such button, it is disabled or a link, or the user does not see the message.
        """
        message, presser = _target(where, user)
        component = find_component(message, button, (BUTTON,))
        if component.get("style") == LINK_STYLE:
            raise UserError(f"{button!r} is a link, nothing is sent when it is pressed")
        data = {"component_type": BUTTON, "custom_id": component["custom_id"], "id": component.get("id", 1)}
        return self._begin(Kind.COMPONENT, presser, message.channel, data, source=message)

    async def press(self, where: Interaction | Message, button: str, *, user: Author | None = None) -> Interaction:
        """Press a button and wait for the answer: an update, a new message or a modal."""
        return await self.start_press(where, button, user=user).answered()

    async def select(
        self, where: Interaction | Message, menu: str, *values: object, user: Author | None = None
    ) -> Interaction:
        """Choose from a select menu, named by custom id or placeholder, and wait for the answer.

        Values are those of string options (or their labels), or users, roles and channels.
        """
        message, presser = _target(where, user)
        component = find_component(message, menu, SELECTS)
        low, high = component.get("min_values", 1), component.get("max_values", 1)
        if not low <= len(values) <= high:
            raise UserError(f"{menu!r} takes {low} to {high} values, not {len(values)}")
        resolved = Resolved(message.channel, presser)
        chosen = [_option(component, value, resolved) for value in values]
        data = {"component_type": component["type"], "custom_id": component["custom_id"], "values": chosen}
        if resolved.payload:
            data["resolved"] = resolved.payload
        return await self._begin(Kind.COMPONENT, presser, message.channel, data, source=message).answered()

    # --- modals

    async def submit(self, opener: Interaction, /, **values: str | list[str]) -> Interaction:
        """Fill in the modal that an interaction opened and wait for the answer.

        Fields are named by custom id or label (in lower case, spaces as underscores); those not named keep their
        default. A select menu in the modal takes a list.
        """
        if opener.modal is None:
            raise UserError(f"no modal was opened by {opener}")
        data = {"custom_id": opener.modal["custom_id"], "components": fill_in(opener.modal, values)}
        interaction = self._begin(Kind.MODAL_SUBMIT, opener.user, opener.channel, data, source=opener.source)
        return await interaction.answered()

    # --- all of them

    def _begin(
        self, kind: Kind, who: Author, channel: Channel, data: Json, *, source: Message | None = None
    ) -> Interaction:
        user, world = user_of(who), self.backend.world
        if not channel.can_view(user):
            raise UserError(f"{user} does not see {channel}")
        interaction = Interaction(world.new_id(), kind, user, channel, data, source)
        self.backend.interactions[interaction.token] = interaction
        self.backend.gateway.dispatch("INTERACTION_CREATE", _payload(interaction), guild=channel.guild)
        return interaction


def _payload(interaction: Interaction) -> Json:
    channel, user = interaction.channel, interaction.user
    world, guild = channel.world, channel.guild
    payload: Json = {
        "id": str(interaction.id),
        "application_id": str(world.application.id),
        "type": int(interaction.kind),
        "data": interaction.data,
        "channel_id": str(channel.id),
        "channel": channel_json(channel) | {"permissions": str(channel.permissions_for(user))},
        "token": interaction.token,
        "version": 1,
        "app_permissions": str(channel.permissions_for(world.bot)),
        "locale": user.locale,
        "entitlements": [],
        "authorizing_integration_owners": {"0": str(guild.id) if guild else "0"},
        "context": 0 if guild else 1,
        "attachment_size_limit": FILE_SIZE,
    }
    if guild is None:
        payload["user"] = user_json(user)
    else:
        permissions = str(channel.permissions_for(user))
        payload["guild_id"] = str(guild.id)
        payload["guild"] = {"id": str(guild.id), "locale": guild.locale, "features": []}
        payload["guild_locale"] = guild.locale
        payload["member"] = member_json(guild.members[user.id]) | {"permissions": permissions}
    if interaction.source is not None:
        payload["message"] = gateway_message_json(interaction.source)
    return payload


def _target(where: Interaction | Message, user: Author | None) -> tuple[Message, User]:
    """Who presses what: the message, and the user or else the one whose interaction it was."""
    message = where.message if isinstance(where, Interaction) else where
    if message is None or message.deleted:
        raise UserError(f"{where} has no message")
    owner = where.user if isinstance(where, Interaction) else message.visible_to
    presser = user_of(user) if user else owner
    if presser is None:
        raise UserError("say which user presses")
    if message.visible_to not in (None, presser):
        raise UserError(f"{presser} does not see the ephemeral {message}")
    return message, presser


def _option(component: Json, value: object, resolved: Resolved) -> str:
    if component["type"] != STRING_SELECT:
        return resolved.add(value)
    for option in component["options"]:
        if value in (option["value"], option["label"]):
            return str(option["value"])
    raise UserError(f"{value!r} is not among {[option['value'] for option in component['options']]}")
