"""Replies by a server that speaks OpenAI's chat protocol: Ollama, llama.cpp, vLLM, or OpenAI itself.

Texts of members go to the address that the operator wrote and nowhere else: redirects are not followed, a proxy is not
asked for one's own machine. Neither texts nor the key get into a log, nor anything that a server says.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from cogs.chat.prompt import build_messages
from cogs.chat.providers.chat_stream import text_of, was_ended, watch_endings, whole_answer
from cogs.chat.providers.failures import ProviderFailed, Reason
from cogs.chat.providers.pieces import FIRST_SHARE, ThoughtFilter, closing, within_deadline
from cogs.memory.context_builder import estimate_tokens
from cogs.memory.json_client import is_loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import openai
    from openai import AsyncOpenAI

    from cogs.chat.conversation import Conversation
    from cogs.chat.prompt import ChatMessage

log = logging.getLogger(__name__)

ATTEMPTS: Final = 3
"""How often a server that is busy or fails is asked at most, while there is time."""
MOST_CHARACTERS: Final = 16_000
"""Of an answer; no more is read."""

_FIRST_WAIT_S: Final = 0.5
_CONNECT_S: Final = 5.0
_WORTH_ANOTHER_ATTEMPT: Final = (408, 409, 429, 500, 502, 503, 504)
_REASONS: Final[dict[int, Reason]] = {
    401: "access",
    403: "access",
    404: "no_model",
    408: "slow",
    413: "too_long",
    429: "busy",
    503: "busy",
}


class OpenAICompatibleProvider:
    """Asks a chat server, and passes its answer on as it is written.

    Args:
        base_url: the server's address; without a path, ``/v1`` is meant.
        model: the server's name for its model.
        api_key: None for servers that want none.
        timeout_s: seconds for a whole reply; half of them may pass before its first words.
        max_tokens: of a reply.
    """

    def __init__(
        self, base_url: str, model: str, *, api_key: str | None = None, timeout_s: float = 60.0, max_tokens: int = 512
    ) -> None:
        address = urlsplit(base_url)
        host = address.hostname or ""
        self.name = f"openai: {model} at {host}"
        self.remote = not is_loopback(host)
        self._login = (unquote(address.username or ""), unquote(address.password or "")) if address.username else None
        server = address._replace(netloc=address.netloc.rpartition("@")[2], path=address.path.rstrip("/") or "/v1")
        self._base_url = server.geturl()
        self._model = model
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._limit = {"max_tokens": max_tokens}
        # how llama.cpp and vLLM are told not to think first; others ignore it, and OpenAI is no server of one's own
        self._extra = {} if self.remote else {"chat_template_kwargs": {"enable_thinking": False}}
        self._client: AsyncOpenAI | None = None
        self._connecting = asyncio.Lock()
        if api_key and self.remote and address.scheme == "http":
            log.warning("The chat server's key and all texts travel to it unencrypted: its address begins with http")

    def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        """Yield the answer as the server writes it. Raises `ProviderFailed`."""
        return within_deadline(self._pieces(conversation), self._timeout_s)

    def count_tokens(self, text: str) -> int:
        """Return a safe estimate: which tokenizer the server has is not known here."""
        return estimate_tokens(text)

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _pieces(self, conversation: Conversation) -> AsyncIterator[str]:
        deadline = time.monotonic() + FIRST_SHARE * self._timeout_s
        stream = await self._ask(build_messages(conversation), deadline)
        thoughts = ThoughtFilter()
        length, finish = 0, None
        with _failures(begun=True):
            async with stream, closing(_texts(stream)) as texts:
                async for text, end in texts:
                    finish = end
                    if piece := thoughts.feed(text):
                        yield piece
                        length += len(piece)
                    if length > MOST_CHARACTERS:
                        finish = "length"
                        break
        if piece := thoughts.finish():
            yield piece
        elif not length:
            raise ProviderFailed("empty")
        if finish == "length":
            yield "…"

    async def _ask(self, messages: list[ChatMessage], deadline: float) -> openai.AsyncStream[Any]:
        """Return the stream of an answer; a server that is busy or fails is asked again while there is time."""
        client = await self._connected()
        attempt, wait = 1, _FIRST_WAIT_S
        while True:
            try:
                with _failures():
                    return await self._request(client, messages)
            except ProviderFailed as failed:
                if self._adapts(failed.__cause__):
                    continue
                pause = _pause(failed.__cause__, wait)
                if pause is None or attempt == ATTEMPTS or time.monotonic() + pause >= deadline:
                    raise
            await asyncio.sleep(pause)
            attempt, wait = attempt + 1, 2 * wait

    async def _request(self, client: AsyncOpenAI, messages: list[ChatMessage]) -> openai.AsyncStream[Any]:
        arguments: dict[str, Any] = {"model": self._model, "messages": messages, **self._limit}
        stream: openai.AsyncStream[Any] = await client.chat.completions.create(
            stream=True, extra_body=self._extra or None, **arguments
        )
        return stream

    def _adapts(self, error: BaseException | None) -> bool:
        """Ask in another way from now on, if that may be what the server minds; whether there is another one."""
        import openai

        if not isinstance(error, openai.BadRequestError):
            return False
        if error.param == "max_tokens" and "max_tokens" in self._limit:
            self._limit = {"max_completion_tokens": self._limit["max_tokens"]}
            return True
        had_extra, self._extra = bool(self._extra), {}
        return had_extra

    async def _connected(self) -> AsyncOpenAI:
        """Return the client, made on a thread the first time: importing the library takes a second."""
        async with self._connecting:
            if self._client is None:
                self._client = await asyncio.to_thread(self._connect)
            return self._client

    def _connect(self) -> AsyncOpenAI:
        import httpx2
        import openai

        connection = httpx2.AsyncClient(
            timeout=httpx2.Timeout(self._timeout_s, connect=min(_CONNECT_S, self._timeout_s)),
            follow_redirects=False,
            trust_env=self.remote,
            auth=httpx2.BasicAuth(*self._login) if self._login else None,
            event_hooks={"response": [watch_endings]},
        )
        return openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key or "none",  # None would make the library look for OPENAI_API_KEY
            max_retries=0,  # its own retries know no deadline
            default_headers={"Accept-Encoding": "identity"},  # a small compressed answer may unpack to gigabytes
            http_client=connection,
        )


async def _texts(stream: openai.AsyncStream[Any]) -> AsyncIterator[tuple[str, str | None]]:
    """Yield the texts of an answer, each with why the answer ends there, if it does.

    Raises:
        ProviderFailed: it ends for no reason.
    """
    if (whole := await whole_answer(stream.response)) is not None:
        yield whole
        return
    finish = None
    async for chunk in stream:
        text, finish = text_of(chunk, finish)
        yield text, finish
    if finish is None and not was_ended(stream.response):
        raise ProviderFailed("broke_off")


@contextmanager
def _failures(*, begun: bool = False) -> Iterator[None]:
    """Turn whatever may go wrong with a server into `ProviderFailed`, and log its kind.

    Args:
        begun: whether an answer is under way, so that a lost connection means that it broke off.
    """
    import openai

    try:
        yield
    except openai.APITimeoutError as error:
        raise _noted("slow", error) from error
    except openai.APIConnectionError as error:
        raise _noted("broke_off" if begun else "unreachable", error) from error
    except openai.APIStatusError as error:
        status = error.status_code
        raise _noted(_REASONS.get(status, "failing" if status >= 500 else "refused"), error) from error
    except openai.APIError as error:  # the server says in the middle of an answer that something went wrong
        raise _noted("failing", error) from error
    except RuntimeError as error:  # the client was closed meanwhile
        raise _noted("unreachable", error) from error
    except (ValueError, TypeError, AttributeError, LookupError) as error:  # what an answer of another shape makes of it
        raise _noted("unreadable", error) from error


def _noted(reason: Reason, error: Exception) -> ProviderFailed:
    status = getattr(error, "status_code", None)
    log.warning("The chat server gave no answer: %s (%s)", reason, status or type(error).__name__)
    return ProviderFailed(reason)


def _pause(error: BaseException | None, wait: float) -> float | None:
    """Return the seconds until another attempt is worth while: ``wait`` or what the server asks for; None for never."""
    import httpx2
    import openai

    if isinstance(error, openai.APIStatusError):
        return max(wait, _retry_after(error)) if error.status_code in _WORTH_ANOTHER_ATTEMPT else None
    # a server may have closed the connection that was kept from the last reply
    lost = isinstance(error, openai.APIConnectionError) and isinstance(
        error.__cause__, (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)
    )
    return 0.0 if lost else None


def _retry_after(error: openai.APIStatusError) -> float:
    """Return the seconds that the server asks to wait, by number or by date; 0 where it asks for nothing."""
    value = error.response.headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        seconds = _until(value)
    return 0.0 if math.isnan(seconds) else seconds


def _until(date: str) -> float:
    """Return the seconds until a date as HTTP writes it; 0 for anything else."""
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() - time.time()
    except RuntimeError as error:  # the client was closed meanwhile
        raise _noted("unreachable", error) from error
    except (ValueError, TypeError, OverflowError):
        return 0.0
