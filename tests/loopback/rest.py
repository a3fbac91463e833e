"""The loopback Discord's REST API as an aiohttp application: recording, faults, authorisation, error answers."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web

from . import routes_application, routes_channels, routes_guilds, routes_interactions, routes_messages
from .awake import doze
from .errors import ApiError
from .faults import Delay, Drop, Hold, RateLimited, Status
from .routes_application import PIXEL
from .wire import Answer, Call, read_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .backend import Backend
    from .faults import Fault

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    Route = Callable[[Backend, Call], Awaitable[Any]]

PREFIX = "/api/v10"

_log = logging.getLogger(__name__)


def build_application(backend: Backend) -> web.Application:
    """Make the aiohttp application: REST API, gateway and CDN."""
    application = web.Application(client_max_size=64 * 1024 * 1024)
    router = application.router
    modules = (routes_application, routes_channels, routes_guilds, routes_interactions, routes_messages)
    for module in modules:
        for method, path, route, public in module.routes.table:
            router.add_route(method, PREFIX + path, _serving(backend, route, public=public))
    router.add_get("/gateway/", backend.gateway.serve)
    router.add_get("/attachments/{channel_id}/{attachment_id}/{filename}", _attachment(backend))
    router.add_get("/{kind:avatars|icons|embed|guilds}/{rest:.*}", _image)
    router.add_route("*", "/{rest:.*}", _unsupported(backend))
    return application


def _serving(backend: Backend, route: Route, *, public: bool) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        call = await read_call(request, request.path.removeprefix(PREFIX))
        backend.requests.append(call)
        fault = backend.faults.take(call.method, call.path)
        if isinstance(fault, Delay):
            await doze(fault.seconds)
        elif isinstance(fault, Hold):
            await fault.released.wait()
        elif fault is not None and not (isinstance(fault, Drop) and fault.after_effect):
            return _fail(request, call, fault)
        answer = await _answer(backend, call, route, public=public)
        if isinstance(fault, Drop):
            return _fail(request, call, fault)
        call.status = answer.status
        return _json(answer.status, answer.body)

    return serve


async def _answer(backend: Backend, call: Call, route: Route, *, public: bool) -> Answer:
    if not public and call.authorization != f"Bot {backend.token}":
        return Answer(401, {"message": "401: Unauthorized", "code": 0})
    try:
        result = await route(backend, call)
    except ApiError as error:
        return Answer(error.status, error.body())
    except (KeyError, TypeError, ValueError) as error:
        # Not 500, which discord.py repeats for half a minute before a test could see it.
        _log.exception("the loopback Discord cannot read %s %s", call.method, call.path)
        return Answer(400, {"code": 50035, "message": f"the loopback Discord cannot read this request: {error!r}"})
    if isinstance(result, Answer):
        return result
    return Answer(204) if result is None else Answer(200, result)


def _json(status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
    if body is None:
        return web.Response(status=status, headers=headers)
    # discord.py compares the content type as a whole: a charset would make it text.
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json", headers=headers)


def _fail(request: web.Request, call: Call, fault: Fault) -> web.StreamResponse:
    if isinstance(fault, RateLimited):
        call.status = 429
        if not fault.via:
            headers = {"Retry-After": str(fault.retry_after)}
            return web.Response(status=429, text="error code: 1015", headers=headers)
        scope = {"X-RateLimit-Global": "true"} if fault.everywhere else {"X-RateLimit-Scope": "user"}
        body = {"message": "You are being rate limited.", "retry_after": fault.retry_after, "global": fault.everywhere}
        return _json(429, body, {"Via": "1.1 google", "Retry-After": str(fault.retry_after), **scope})
    if isinstance(fault, Status):
        call.status = fault.code
        return web.Response(status=fault.code, text=fault.text)
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _attachment(backend: Backend) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        wanted = int(request.match_info["attachment_id"])
        for attachment in backend.every_attachment(int(request.match_info["channel_id"])):
            if attachment.id == wanted:
                return web.Response(body=attachment.data, content_type=attachment.content_type.split(";")[0])
        return web.Response(status=404, text="This content is no longer available.")

    return serve


async def _image(_: web.Request) -> web.StreamResponse:
    return web.Response(body=PIXEL, content_type="image/png")


def _unsupported(backend: Backend) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        name = f"{request.method} {request.path}"
        backend.unsupported.append(name)
        _log.error("the loopback Discord has no route for %s", name)
        return _json(501, {"code": 0, "message": f"the loopback Discord has no route for {name}"})

    return serve
