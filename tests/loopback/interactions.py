"""An interaction from the server's side: what the user did, and what the bot has made of it so far."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from copy import deepcopy
from dataclasses import dataclass, field
from enum import IntEnum
from time import monotonic
from typing import TYPE_CHECKING, Any

from .awake import PATIENCE_S, awake
from .errors import ApiError, Json, UserError, unknown
from .limits import BUTTON, SELECTS, TEXT_DISPLAY, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from .channels import Channel
    from .messages import Attachment, Message
    from .people import User


class Kind(IntEnum):
    """What a user did."""

    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    MODAL_SUBMIT = 5


class Response(IntEnum):
    """How the bot answered."""

    MESSAGE = 4
    DEFERRED_MESSAGE = 5
    DEFERRED_UPDATE = 6
    UPDATE = 7
    CHOICES = 8
    MODAL = 9


ACK_SECONDS = 3.0
TOKEN_SECONDS = 15 * 60.0
_GRACE_SECONDS = 0.2
_LOOK_SECONDS = 0.25
"""How often the clock is looked at while nothing happens."""


@dataclass(frozen=True, slots=True)
class Version:
    """What the user saw of the answer at one moment."""

    seconds: float
    """After the interaction began."""
    content: str
    embeds: list[Json]
    components: list[Json]


@dataclass(eq=False)
class Interaction:
    """One use of a command, button, menu or modal, and the bot's answer to it."""

    id: int
    kind: Kind
    user: User
    channel: Channel
    data: Json
    source: Message | None = None
    """The message whose button was pressed."""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    began: float = field(default_factory=awake)
    """On the clock of the time that this process was `awake`: limits are the bot's to keep, not the machine's."""
    began_at: float = field(default_factory=monotonic)
    ack_seconds: float | None = None
    """How long the bot took to acknowledge; None as long as it has not."""
    response: Response | None = None
    ephemeral: bool = False
    message: Message | None = None
    """The answer: the original response, or the updated message."""
    followups: list[Message] = field(default_factory=list)
    choices: list[Json] | None = None
    modal: Json | None = None
    versions: list[Version] = field(default_factory=list)
    """The answer as it was shown first and after each edit."""
    answered_by_followup: bool = False
    """Whether a follow-up filled a deferred answer, which Discord has deprecated."""
    expired: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    # --- what the user sees

    @property
    def deferred(self) -> bool:
        """Whether the bot acknowledged first and answered later."""
        return self.response in (Response.DEFERRED_MESSAGE, Response.DEFERRED_UPDATE)

    @property
    def failed(self) -> bool:
        """Whether Discord shows "The application did not respond"."""
        return self.ack_seconds is None and awake() - self.began > ACK_SECONDS

    @property
    def content(self) -> str:
        """The answer's text."""
        return self.message.content if self.message else ""

    @property
    def embeds(self) -> list[Json]:
        """The answer's embeds."""
        return self.message.embeds if self.message else []

    @property
    def attachments(self) -> list[Attachment]:
        """The answer's files."""
        return self.message.attachments if self.message else []

    @property
    def buttons(self) -> list[str]:
        """The labels (or emoji) of the answer's buttons that can be pressed."""
        parts = walk(self.message.components) if self.message else ()
        return [label_of(part) for part in parts if part["type"] == BUTTON and not part.get("disabled")]

    @property
    def selects(self) -> list[Json]:
        """The answer's select menus."""
        return [each for each in walk(self.message.components) if each["type"] in SELECTS] if self.message else []

    @property
    def text(self) -> str:
        """Everything readable of the answer and its follow-ups, for "… is not shown" checks."""
        shown = [each for each in (self.message, *self.followups) if each is not None]
        return "\n".join(line for message in shown for line in readable(message))

    # --- waiting

    async def until(self, condition: Callable[[Interaction], object], *, within: float = PATIENCE_S) -> Interaction:
        """Wait until the condition holds, at most `within` seconds.

        Raises:
            TimeoutError: it does not come true in time; the message tells what there is.
        """
        deadline = awake() + within
        while not condition(self):
            left = deadline - awake()
            if left <= 0:
                raise TimeoutError(f"after {within:g} s there is still only {self}")
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LOOK_SECONDS)):
                    await self._changed.wait()
        return self

    async def acknowledged(self, *, within: float = PATIENCE_S) -> Interaction:
        """Wait until the bot has acknowledged, by an answer or a deferral; later than 3 s it cannot any more."""
        within = min(within, self.began + ACK_SECONDS + _GRACE_SECONDS - awake())
        return await self.until(lambda each: each.response is not None, within=within)

    async def answered(self, *, within: float = PATIENCE_S) -> Interaction:
        """Wait until the user sees more than "thinking…"."""
        await self.acknowledged(within=within)
        return await self.until(lambda each: each.is_answered, within=within)

    @property
    def is_answered(self) -> bool:
        """Whether the user sees more than "thinking…"."""
        if self.response is Response.DEFERRED_UPDATE:
            return bool(self.versions or self.followups)
        return self.response is not None and not (self.message is not None and self.message.loading)

    # --- what the REST API does to it

    def acknowledge(self, response: Response) -> None:
        """Note the bot's first response.

        Raises:
            ApiError: it comes too late (404, 10062) or a second time (400, 40060).
        """
        if self.response is not None:
            raise ApiError(400, 40060, "Interaction has already been acknowledged.")
        if self.failed:
            raise unknown("interaction", 10062)
        self.ack_seconds = monotonic() - self.began_at
        self.response = response
        self.touch()

    def require_token(self) -> None:
        """Check that the token is still good for edits and follow-ups.

        Raises:
            ApiError: it is older than 15 minutes (401, 50027), or nothing was acknowledged (404, 10015).
        """
        if self.expired or awake() - self.began > TOKEN_SECONDS:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        if self.response is None:
            raise unknown("Webhook", 10015)

    def expire(self) -> None:
        """Let the token be older than its 15 minutes."""
        self.expired = True

    def touch(self, *, shown: bool = False) -> None:
        """Wake who waits; `shown` records what the user sees now."""
        if shown and self.message is not None:
            message = self.message
            seconds = monotonic() - self.began_at
            self.versions.append(
                Version(seconds, message.content, deepcopy(message.embeds), deepcopy(message.components))
            )
        self._changed.set()

    def __repr__(self) -> str:
        answer = self.response.name.lower() if self.response else "nothing"
        name = self.data.get("name") or self.data.get("custom_id")
        return f"<Interaction {name!r} by {self.user.name}: {answer} {self.content[:60]!r}>"


def label_of(component: Json) -> str:
    """A button's label, or its emoji where it has none."""
    return str(component.get("label") or (component.get("emoji") or {}).get("name") or "")


def readable(message: Message) -> list[str]:
    """The lines of text in a message: content, embeds, and text components."""
    lines: list[str | None] = [message.content]
    for embed in message.embeds:
        lines += [embed.get("title"), embed.get("description"), (embed.get("footer") or {}).get("text")]
        lines += [(embed.get("author") or {}).get("name")]
        lines += [each[key] for each in embed.get("fields") or [] for key in ("name", "value")]
    lines += [each["content"] for each in walk(message.components) if each["type"] == TEXT_DISPLAY]
    return [line for line in lines if line]


def find_component(message: Message, key: str, kinds: tuple[int, ...]) -> Json:
    """The button or menu of a message by custom id, label, emoji or placeholder.

    Raises:
        UserError: there is none, more than one, or it is disabled.
    """
    parts: list[Json] = [each for each in walk(message.components) if each["type"] in kinds]
    names: list[tuple[Any, ...]] = [(each.get("custom_id"), label_of(each), each.get("placeholder")) for each in parts]
    found = [part for part, known in zip(parts, names, strict=True) if key in known]
    if len(found) != 1:
        raise UserError(f"{len(found)} components {key!r} among {names}")
    if found[0].get("disabled"):
        raise UserError(f"{key!r} is disabled")
    return found[0]
