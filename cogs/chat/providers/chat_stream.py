"""What can be told of a streamed chat answer: its text, how it ended, and that it is not endless."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import httpx2

from cogs.chat.providers.failures import ProviderFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MAX_BYTES: Final = 8 * 1024 * 1024
"""Bytes of one answer that are read: a piece of a few characters comes with a few hundred bytes around it."""

_END: Final = b"[DONE]"


def text_of(chunk: Any, finish: str | None) -> tuple[str, str | None]:
    """Return a chunk's text, and why the answer ends, if this chunk or one before says so.

    Raises:
        AttributeError, LookupError, TypeError: the chunk is of no known shape.
    """
    if not chunk.choices:  # some servers send how much was used in a chunk of its own
        return "", finish
    choice = chunk.choices[0]
    text = choice.delta.content if choice.delta is not None else None
    if text is not None and not isinstance(text, str):
        raise TypeError("the text of a chunk is no text")
    return text or "", choice.finish_reason or finish


async def whole_answer(response: httpx2.Response) -> tuple[str, str | None] | None:
    """Return text and end of an answer that came in one piece, though a stream was asked for; None for a stream.

    Raises:
        ValueError, LookupError, TypeError: it is JSON of another shape.
    """
    if not response.headers.get("content-type", "").startswith("application/json"):
        return None
    choice = json.loads(await response.aread())["choices"][0]
    text = choice["message"]["content"]
    if not isinstance(text, str):
        raise TypeError("the text of an answer is no text")
    return text, choice.get("finish_reason") or "stop"


class _WatchedBody(httpx2.AsyncByteStream):
    """A response's bytes, counted, the last ones kept."""

    def __init__(self, body: httpx2.AsyncByteStream) -> None:
        self._body = body
        self._count = 0
        self.tail = b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._body:
            self._count += len(data)
            if self._count > MAX_BYTES:
                raise ProviderFailed("unreadable")
            self.tail = (self.tail + data)[-64:]
            yield data

    async def aclose(self) -> None:
        await self._body.aclose()


async def watch_endings(response: httpx2.Response) -> None:
    """Let `was_ended` know, later, how a response ended; a hook of the HTTP client."""
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _WatchedBody(response.stream)


def was_ended(response: httpx2.Response) -> bool:
    """Whether a response that is over ended with the protocol's own mark, and not just somewhere."""
    return isinstance(response.stream, _WatchedBody) and _END in response.stream.tail
