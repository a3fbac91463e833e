"""REST routes for login, users and application commands, and the files that Discord's CDN serves."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from .errors import ApiError, Json, unknown
from .payloads import application_json, user_json
from .wire import Routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .backend import Backend
    from .wire import Call

routes = Routes()

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A PNG of one pixel: every avatar and icon."""


@routes.add("GET", "/users/@me")
async def own_user(backend: Backend, call: Call) -> Json:
    """The bot's own account."""
    return user_json(backend.world.bot) | {"verified": True, "mfa_enabled": True, "flags": 0}


@routes.add("GET", "/users/{user_id}")
async def user(backend: Backend, call: Call) -> Json:
    """Any account."""
    found = backend.world.users.get(call.param("user_id"))
    if found is None:
        raise unknown("User", 10013)
    return user_json(found)


@routes.add("GET", "/oauth2/applications/@me")
async def own_application(backend: Backend, call: Call) -> Json:
    """The bot's application."""
    return application_json(backend.world.application)


@routes.add("GET", "/applications/@me")
async def own_application_too(backend: Backend, call: Call) -> Json:
    """The bot's application, at its newer address."""
    return application_json(backend.world.application)


@routes.add("GET", "/gateway")
async def gateway_address(backend: Backend, call: Call) -> Json:
    """Where the gateway is."""
    return {"url": backend.gateway.url}


@routes.add("GET", "/gateway/bot")
async def gateway_for_bots(backend: Backend, call: Call) -> Json:
    """Where the gateway is, and how many shards to start."""
    limits = {"total": 1000, "remaining": 1000 - backend.gateway.identifies, "reset_after": 0, "max_concurrency": 16}
    return {"url": backend.gateway.url, "shards": backend.gateway.shards, "session_start_limit": limits}


# --- application commands

_GLOBAL = "/applications/{application_id}/commands"
_GUILD = "/applications/{application_id}/guilds/{guild_id}/commands"


def _scope(backend: Backend, call: Call) -> int | None:
    if call.param("application_id") != backend.world.application.id:
        raise ApiError(403, 20012, "You are not authorized to perform this action on this application")
    if "guild_id" not in call.params:
        return None
    guild = backend.world.guilds.get(call.param("guild_id"))
    if guild is None or not guild.has_bot:
        raise ApiError(403, 50001, "Missing Access")
    return guild.id


@routes.add("GET", _GLOBAL)
@routes.add("GET", _GUILD)
async def commands(backend: Backend, call: Call) -> Sequence[Json]:
    """All commands of a scope."""
    return backend.commands.registered(_scope(backend, call))


@routes.add("PUT", _GLOBAL)
@routes.add("PUT", _GUILD)
async def replace_commands(backend: Backend, call: Call) -> Sequence[Json]:
    """Replace all commands of a scope."""
    return backend.commands.replace(_scope(backend, call), call.json)


@routes.add("POST", _GLOBAL)
@routes.add("POST", _GUILD)
async def upsert_command(backend: Backend, call: Call) -> Json:
    """Add a command, or replace the one of that name."""
    return backend.commands.upsert(_scope(backend, call), call.body)


def _command(backend: Backend, call: Call) -> Json:
    found = backend.commands.get(_scope(backend, call), call.param("command_id"))
    if found is None:
        raise unknown("application command", 10063)
    return found


@routes.add("GET", f"{_GLOBAL}/{{command_id}}")
@routes.add("GET", f"{_GUILD}/{{command_id}}")
async def command(backend: Backend, call: Call) -> Json:
    """One command."""
    return _command(backend, call)


@routes.add("PATCH", f"{_GLOBAL}/{{command_id}}")
@routes.add("PATCH", f"{_GUILD}/{{command_id}}")
async def edit_command(backend: Backend, call: Call) -> Json:
    """Change one command."""
    return backend.commands.upsert(_scope(backend, call), _command(backend, call) | call.body)


@routes.add("DELETE", f"{_GLOBAL}/{{command_id}}")
@routes.add("DELETE", f"{_GUILD}/{{command_id}}")
async def delete_command(backend: Backend, call: Call) -> None:
    """Delete one command."""
    backend.commands.remove(_scope(backend, call), int(_command(backend, call)["id"]))
