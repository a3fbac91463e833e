"""What all routes of the loopback's REST API share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .commands import Commands
from .faults import Faults
from .messages import Attachment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .errors import Json
    from .gateway import Gateway
    from .interactions import Interaction
    from .messages import Message
    from .wire import Call
    from .world import World


@dataclass
class Backend:
    """The server behind the routes."""

    world: World
    gateway: Gateway
    token: str
    commands: Commands = field(init=False)
    faults: Faults = field(default_factory=Faults)
    requests: list[Call] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    """Requests for which the loopback has no route."""
    interactions: dict[str, Interaction] = field(default_factory=dict)
    """By token."""

    def __post_init__(self) -> None:
        self.commands = Commands(self.world)

    @property
    def with_content(self) -> bool:
        """Whether the application may read message text."""
        return self.world.application.message_content_intent

    def every_attachment(self, channel_id: int) -> Iterator[Attachment]:
        """The files of a channel, those of ephemeral answers too."""
        channel = self.world.channels.get(channel_id)
        messages = list(channel.history()) if channel else []
        for interaction in self.interactions.values():
            messages += [each for each in (interaction.message, *interaction.followups) if each is not None]
        for message in messages:
            yield from message.attachments

    def attachments(self, call: Call, payload: Json) -> list[Attachment]:
        """Turn a request's uploads into attachments, named as the request says."""
        named = {int(each["id"]): each for each in payload.get("attachments") or [] if str(each.get("id")).isdigit()}
        return [
            Attachment(
                id=self.world.new_id(),
                filename=named.get(index, {}).get("filename", upload.filename),
                data=upload.data,
                content_type=upload.content_type,
                description=named.get(index, {}).get("description"),
            )
            for index, upload in sorted(call.files.items())
        ]

    def apply_edit(self, message: Message, call: Call, payload: Json) -> None:
        """Change a message as an edit request says; what it does not name stays."""
        if "content" in payload:
            message.revisions.append(message.content)
            message.content = payload["content"] or ""
        for name in ("embeds", "components"):
            if name in payload:
                setattr(message, name, payload[name] or [])
        if "flags" in payload and payload["flags"] is not None:
            kept = message.flags & ~_EDITABLE_FLAGS
            message.flags = kept | int(payload["flags"]) & _EDITABLE_FLAGS
        if "allowed_mentions" in payload:
            message.allowed_mentions = payload["allowed_mentions"]
        if "attachments" in payload or call.files:
            message.attachments = _kept(message, payload) + self.attachments(call, payload)
        message.resolve_mentions()


_EDITABLE_FLAGS = 1 << 2 | 1 << 15
"""An edit can suppress embeds and turn a message into a layout; it cannot make it ephemeral."""


def _kept(message: Message, payload: Json) -> list[Attachment]:
    wanted: list[Any] = payload.get("attachments") or []
    ids = {int(each["id"]) for each in wanted if str(each.get("id")).isdigit()}
    return [each for each in message.attachments if each.id in ids]
