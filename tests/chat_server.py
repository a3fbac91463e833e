r"""An OpenAI-compatible chat server on 127.0.0.1: real HTTP, real server-sent events, and it misbehaves when told to.

    async with ChatServer("Tea is at five [1].") as server:
        provider = … base URL server.url, any model name …
        …
        assert server.last.messages[0]["role"] == "system"

It answers every request with its answer, in pieces of a word. Orders come first, one a request, in their order:

    server.order(Answer("Hello there", wait_s=0.5))           # a slow first byte
    server.order(Answer("one two three", pause_s=0.05))       # drips
    server.order(Refusal(429, retry_after="0.05"), Answer())  # busy, then well again
    server.order(Refusal(500), Refusal(401))
    server.order(BreakOff("Tea is"))                          # the connection breaks in the middle of the answer
    server.order(BreakOff("Tea is", cleanly=True))            # ends in the middle as if that were all
    server.order(Raw("data: {nonsense\n\n"))                  # malformed; any bytes, any content type
    server.order(Answer(""))                                  # well-formed and empty
    server.order(Hang())                                      # never a byte; lasts until the client or the server goes

``server.always(order)`` stands for every request from then on that no other order is for. A server that is down is the
``url`` of one that was left, or `nobody_listens`. What came in is in ``server.requests``; ``server.open`` counts the
answers under way, so a test can see that a cancelled reply lets go of its connection (``await server.idle()``).

The server demands what real ones demand (400): a model, messages with known roles and texts, the system role only at
the beginning, then user and assistant in turns with a user at the end, as the templates of many models want it.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Answer:
    """A good answer, though perhaps a slow one."""

    text: str | None = None
    """None for the server's own."""
    wait_s: float = 0.0
    """Before the first byte."""
    pause_s: float = 0.0
    """Before each further piece."""
    finish_reason: str | None = "stop"
    done: bool = True
    """Whether ``[DONE]`` ends the stream."""


@dataclass(frozen=True)
class Refusal:
    """An error status with the usual JSON, which quotes the address and the key as careless servers do."""

    status: int
    retry_after: str | None = None
    """The header, as it is written."""
    parameter: str | None = None
    """Which parameter the server complains about."""


@dataclass(frozen=True)
class BreakOff:
    """The beginning of an answer, and then no more."""

    text: str = ""
    cleanly: bool = False
    """Whether the response ends in good order: no error at the client, but no end of the answer either."""
    before_headers: bool = False
    """Whether not even a status comes."""


@dataclass(frozen=True)
class Raw:
    """Bytes in place of an answer."""

    body: str | bytes
    content_type: str = "text/event-stream"


@dataclass(frozen=True)
class Hang:
    """Nothing, for ever."""


Order = Answer | Refusal | BreakOff | Raw | Hang


@dataclass(frozen=True)
class ChatRequest:
    """A request as it came in."""

    body: dict[str, Any]
    headers: dict[str, str] = field(repr=False)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The chat messages."""
        messages: list[dict[str, str]] = self.body["messages"]
        return messages

    @property
    def prompt(self) -> str:
        """All message texts."""
        return "\n".join(message["content"] for message in self.messages)


class ChatServer:
    """Listens while it is entered.

    Args:
        answer: what it says when it has no orders.
        api_key: the only key it takes; None to take any.
    """

    def __init__(self, answer: str = "I am a loopback.", *, api_key: str | None = None) -> None:
        self.answer = answer
        self.api_key = api_key
        self.requests: list[ChatRequest] = []
        self.url = ""
        """The base URL, e.g. ``http://127.0.0.1:43567/v1``."""
        self.open = 0
        self._orders: list[Order] = []
        self._always: Order = Answer()
        self._runner: web.AppRunner | None = None

    def order(self, *orders: Order) -> None:
        """Say what the next requests get, one each."""
        self._orders.extend(orders)

    def always(self, order: Order) -> None:
        """Say what requests get when nothing is ordered."""
        self._always = order

    @property
    def last(self) -> ChatRequest:
        """The latest request."""
        return self.requests[-1]

    async def idle(self, *, within: float = 60.0) -> None:
        """Wait until no answer is under way. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while self.open:  # noqa: ASYNC110 # a closed connection signals nothing here
                await asyncio.sleep(0.005)

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self._chat)
        application.router.add_get("/v1/models", self._models)
        # a client that goes away ends its request here, also one that hangs
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.05, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "loopback", "object": "model"}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.open += 1
        try:
            return await self._answer(request)
        finally:
            self.open -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(ChatRequest(body, dict(request.headers)))
        if self.api_key is not None and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return self._refuse(request, Refusal(401))
        if complaint := _complaint(body):
            return web.json_response({"error": {"message": complaint, "type": "invalid_request_error"}}, status=400)
        match self._orders.pop(0) if self._orders else self._always:
            case Answer() as answer:
                return await self._say(request, answer, as_stream=bool(body.get("stream")))
            case BreakOff() as broken:
                return await self._break_off(request, broken)
            case Raw() as raw:
                data = raw.body.encode() if isinstance(raw.body, str) else raw.body
                return web.Response(body=data, headers={"Content-Type": raw.content_type})
            case Refusal() as refusal:
                return self._refuse(request, refusal)
        await asyncio.Event().wait()  # Hang
        raise AssertionError

    def _text(self, answer: Answer) -> str:
        return self.answer if answer.text is None else answer.text

    def _refuse(self, request: web.Request, refusal: Refusal) -> web.Response:
        headers = {} if refusal.retry_after is None else {"Retry-After": refusal.retry_after}
        said = f"{self.url} says no to the key {request.headers.get('Authorization')}"
        error = {"message": said, "type": "error", "param": refusal.parameter, "code": refusal.status}
        return web.json_response({"error": error}, status=refusal.status, headers=headers)

    async def _say(self, request: web.Request, answer: Answer, *, as_stream: bool) -> web.StreamResponse:
        await asyncio.sleep(answer.wait_s)
        if not as_stream:
            return web.json_response(_completion(self._text(answer), answer.finish_reason))
        response = await _events(request)
        await response.write(_event({"role": "assistant", "content": ""}))
        for number, piece in enumerate(_pieces(self._text(answer))):
            await asyncio.sleep(answer.pause_s if number else 0)
            await response.write(_event({"content": piece}))
        if answer.finish_reason is not None:
            await response.write(_event({}, answer.finish_reason))
        if answer.done:
            await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def _break_off(self, request: web.Request, broken: BreakOff) -> web.StreamResponse:
        if broken.before_headers and request.transport is not None:
            request.transport.abort()
            raise ConnectionResetError
        response = await _events(request)
        for piece in _pieces(broken.text):
            await response.write(_event({"content": piece}))
        if broken.cleanly:
            await response.write_eof()
        elif request.transport is not None:
            request.transport.close()  # after the pieces; an end would be announced by one more
        return response


@contextmanager
def nobody_listens() -> Iterator[str]:
    """Give a base URL where connections are refused; the port stays taken meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but it does not listen
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


async def _events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    return response


def _pieces(text: str) -> list[str]:
    """Words, each with the space before it."""
    return re.findall(r"\s*\S+\s*$|\s*\S+", text)


def _event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    chunk = {
        "id": "chatcmpl-loopback",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "loopback",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
    return f"data: {json.dumps(chunk)}\n\n".encode()


def _completion(text: str, finish_reason: str | None) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-loopback",
        "object": "chat.completion",
        "created": 0,
        "model": "loopback",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    }


def _complaint(body: Any) -> str:
    """What a real server would not take, or nothing."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str) or not body["model"]:
        return "a model is required"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return "messages are required"
    if not all(isinstance(each, dict) and isinstance(each.get("content"), str) for each in messages):
        return "a message must have a text"
    roles = [each.get("role") for each in messages]
    turns = roles[1:] if roles[0] == "system" else roles
    if turns != [("user", "assistant")[place % 2] for place in range(len(turns))] or len(turns) % 2 == 0:
        return "after a system message, user and assistant must take turns, and a user must come last"
    return ""
