"""One REST request as the loopback sees it, and the table of routes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from aiohttp import BodyPartReader

from .errors import ApiError, Json, invalid_form, missing_access, unknown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from .backend import Backend
    from .channels import Channel
    from .guilds import Guild
    from .messages import Message


@dataclass(frozen=True, slots=True)
class Upload:
    """A file in a multipart request."""

    filename: str
    data: bytes
    content_type: str


@dataclass
class Call:
    """A request of the bot: what a route works on, and what tests find in `LoopbackDiscord.requests`."""

    method: str
    path: str
    """The path after ``/api/v10``."""
    query: dict[str, str]
    lists: dict[str, list[str]]
    """Query parameters that may be repeated, every value."""
    json: Any = None
    files: dict[int, Upload] = field(default_factory=dict)
    at: float = field(default_factory=monotonic)
    """When it came, on the monotonic clock."""
    status: int | None = None
    """What was answered; None while it is being served or when the connection was cut."""
    authorization: str = ""
    reason: str | None = None
    params: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> Json:
        """The JSON object that was sent; empty when there was none."""
        return self.json if isinstance(self.json, dict) else {}

    def number(self, name: str, *, default: int, low: int, high: int) -> int:
        """Read a number from the query.

        Raises:
            ApiError: it is no number or outside the range.
        """
        text = self.query.get(name, str(default))
        if not text.lstrip("-").isdigit() or not low <= int(text) <= high:
            raise invalid_form(name, "NUMBER_TYPE_MAX", f"int value should be between {low} and {high}.")
        return int(text)

    def snowflake(self, name: str) -> int | None:
        """Read an id from the query; None when absent.

        Raises:
            ApiError: it is no id.
        """
        text = self.query.get(name)
        if text is None:
            return None
        if not text.isdigit() or int(text) >= 1 << 63:
            raise invalid_form(name, "NUMBER_TYPE_COERCE", f'Value "{text}" is not snowflake.')
        return int(text)

    def param(self, name: str) -> int:
        """Read an id from the path.

        Raises:
            ApiError: it is no id.
        """
        text = self.params[name]
        if not text.isdigit() or int(text) >= 1 << 63:
            raise invalid_form(name, "NUMBER_TYPE_COERCE", f'Value "{text}" is not snowflake.')
        return int(text)


def call_pattern(path: str) -> re.Pattern[str]:
    """Make the pattern for a path in which ``*`` stands for one segment and ``**`` for any number."""
    parts = (re.escape(part).replace(r"\*", "[^/]+") for part in path.split("**"))
    return re.compile(".*".join(parts))


async def read_call(request: web.Request, path: str) -> Call:
    """Read a request whole, multipart uploads too."""
    call = Call(
        method=request.method,
        path=path,
        query=dict(request.query),
        lists={name: request.query.getall(name) for name in request.query},
        authorization=request.headers.get("Authorization", ""),
        reason=request.headers.get("X-Audit-Log-Reason"),
        params=dict(request.match_info),
    )
    if request.content_type == "multipart/form-data":
        await _read_multipart(request, call)
    elif request.can_read_body:
        call.json = json.loads(await request.read() or b"null")
    return call


async def _read_multipart(request: web.Request, call: Call) -> None:
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise ApiError(400, 50035, "nested multipart bodies are not understood")
        name = part.name or ""
        data = bytes(await part.read())
        if name == "payload_json":
            call.json = json.loads(data)
        elif name.startswith("files[") and name.endswith("]"):
            content_type = part.headers.get("Content-Type", "application/octet-stream")
            filename = part.filename or "unknown"
            call.files[int(name[6:-1])] = Upload(filename, data, content_type)
        else:
            raise ApiError(400, 50035, f"unexpected multipart field {name!r}")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with a status of its own; routes that return plain JSON answer 200, or 204 for None."""

    status: int
    body: Any = None


class Routes:
    """A table of routes, filled by decorators."""

    def __init__(self) -> None:
        self.table: list[tuple[str, str, Callable[[Backend, Call], Awaitable[Any]], bool]] = []

    def add(
        self, method: str, path: str, *, public: bool = False
    ) -> Callable[[Callable[[Backend, Call], Awaitable[Any]]], Callable[[Backend, Call], Awaitable[Any]]]:
        """Enter a route; `public` ones carry their own token in the path instead of the bot's."""

        def enter(route: Callable[[Backend, Call], Awaitable[Any]]) -> Callable[[Backend, Call], Awaitable[Any]]:
            self.table.append((method, path, route, public))
            return route

        return enter


def visible_channel(backend: Backend, call: Call, name: str = "channel_id") -> Channel:
    """Find the channel in the path.

    Raises:
        ApiError: it does not exist (404) or the bot may not see it (403).
    """
    channel = backend.world.channels.get(call.param(name))
    if channel is None:
        raise unknown("Channel", 10003)
    if not channel.can_view(backend.world.bot):
        raise missing_access()
    return channel


def joined_guild(backend: Backend, call: Call) -> Guild:
    """Find the guild in the path.

    Raises:
        ApiError: it does not exist (404) or the bot is not on it (403).
    """
    guild = backend.world.guilds.get(call.param("guild_id"))
    if guild is None or guild.unavailable:
        raise unknown("Guild", 10004)
    if not guild.has_bot:
        raise missing_access()
    return guild


def existing_message(channel: Channel, call: Call, name: str = "message_id") -> Message:
    """Find the message in the path.

    Raises:
        ApiError: it does not exist (404).
    """
    message = channel.message(call.param(name))
    if message is None:
        raise unknown("Message", 10008)
    return message
