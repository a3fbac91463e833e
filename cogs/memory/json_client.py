"""POST JSON to a model server: in bounded time, with a bounded answer, and not again and again to a dead one.

Synchronous, for the worker thread. Bodies hold messages, so nothing of a body, an answer or a key is logged or put
into an error. Redirects are not followed: messages go to the address that the operator wrote and nowhere else.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cogs.memory.exceptions import ModelUnavailable, ScoringFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx2

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_ANSWER: Final = 16 * 1024 * 1024
"""Bytes of an answer that are read: 32 vectors of 4096 dimensions as JSON are 3 MB, most servers echo the documents."""

_CONNECT_S: Final = 2.0
_OVERLOADED: Final = (429, 503)
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 2.0

_SENTENCES: Final = {
    400: "refuses the texts (400); is one too long for its model?",
    401: "wants another API key (401)",
    403: "wants another API key (403)",
    404: "has no such route (404)",
    405: "has no such route (405)",
    413: "finds the texts too long (413)",
    422: "refuses the texts (422); is one too long for its model?",
    429: "is overloaded (429)",
    503: "is overloaded (503)",
}
_FAULTS_OF_THE_TEXTS: Final = (400, 413, 422)


class RequestFailed(ScoringFailed):
    """No usable answer came; ``status`` is the server's, None if it sent none."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


class CircuitBreaker:
    """Stops asking a server that keeps failing: open for a while, then one attempt decides.

    Args:
        threshold: failures in a row that open it.
        open_s: seconds until an attempt is let through.
        clock: seconds that never go back.
    """

    def __init__(
        self, *, threshold: int = 3, open_s: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._threshold = threshold
        self._open_s = open_s
        self._clock = clock
        self._failures = 0
        self._opened_at = 0.0

    @property
    def has_tripped(self) -> bool:
        """Whether it opened and no attempt has succeeded since."""
        return self._failures >= self._threshold

    @property
    def wait_s(self) -> float:
        """Seconds until the next attempt is let through; 0 when one may be made now."""
        return max(0.0, self._opened_at + self._open_s - self._clock()) if self.has_tripped else 0.0

    def record_failure(self) -> None:
        """Count a failure; at the threshold, and at each failed attempt after it, stay open."""
        self._failures += 1
        if self.has_tripped:
            self._opened_at = self._clock()

    def record_success(self) -> None:
        """Close."""
        self._failures = 0

    def trip(self) -> None:
        """Open now."""
        self._failures = max(self._failures, self._threshold)
        self._opened_at = self._clock()


class JsonClient:
    """Posts JSON to one server, over a connection that is kept. Not thread-safe.

    Args:
        url: the server's address, with or without a ``/v1`` at its end.
        what: what the server is, as errors call it: "rerank server".
        api_key: sent as a bearer token.
        breaker: the one that guards this server; None for one of the usual settings.
        clock: seconds that never go back.
        sleep: waits so many seconds.

    Raises:
        ModelUnavailable: ``url`` is no http or https address.
    """

    def __init__(
        self,
        url: str,
        *,
        what: str,
        api_key: str | None = None,
        breaker: CircuitBreaker | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx2

        self._what = what
        self.breaker = breaker or CircuitBreaker(clock=clock)
        self._clock = clock
        self._sleep = sleep
        try:
            base = httpx2.URL(url.rstrip("/").removesuffix("/v1") + "/")
        except httpx2.InvalidURL:
            base = httpx2.URL("")
        if base.scheme not in ("http", "https") or not base.host:
            raise ModelUnavailable(f"The address of the {what} must begin with http:// or https://.")
        self.address = f"{base.scheme}://{base.netloc.decode('ascii')}{base.path}".rstrip("/")
        """Where it is, without a user name or password."""
        is_here = is_loopback(base.host)
        headers = {"Accept-Encoding": "identity"}  # a small compressed answer may unpack to gigabytes
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
            if base.scheme == "http" and not is_here:
                log.warning("%s: the API key and all texts travel unencrypted to %s", what, self.address)
        self._client = httpx2.Client(
            base_url=base.copy_with(username=None, password=None),  # the library logs addresses as they are
            auth=httpx2.BasicAuth(base.username, base.password) if base.userinfo else None,
            headers=headers,
            follow_redirects=False,
            trust_env=not is_here,  # a proxy would not find our own machine, but read the messages
            limits=httpx2.Limits(max_connections=1),
        )

    def deadline(self, seconds: float) -> float:
        """Return the moment so many seconds from now, on the client's clock."""
        return self._clock() + seconds

    def post(self, route: str, body: object, *, deadline: float, read: Callable[[Any], T]) -> T:
        """Send ``body`` to ``route`` and return what ``read`` makes of the JSON that comes back.

        An overloaded server (429, 503) is asked again, later and later, while the deadline allows; so is one that had
        closed the kept connection, once. No single wait for the network goes beyond the deadline.

        Args:
            route: below the server's address, without a slash at its beginning.
            body: what JSON can hold.
            deadline: see `deadline`.
            read: turns the answer into what is wanted, and raises `RequestFailed` for one that it cannot use.

        Raises:
            RequestFailed: no usable answer in time, or the server failed so often that it is left alone for a while.
        """
        if self._client.is_closed:
            raise RequestFailed(f"The connection to the {self._what} is closed.")
        if wait := self.breaker.wait_s:
            raise RequestFailed(f"The {self._what} keeps failing; it is asked again in {wait:.0f} s.")
        try:
            result = read(self._post(route, json.dumps(_without_surrogates(body)).encode(), deadline))
        except RequestFailed as error:
            if error.status not in _FAULTS_OF_THE_TEXTS:
                self.breaker.record_failure()
            raise
        self.breaker.record_success()
        return result

    def close(self) -> None:
        """Close the connection; may be called twice."""
        self._client.close()

    def _post(self, route: str, content: bytes, deadline: float) -> Any:
        import httpx2

        waits = _waits()
        may_reconnect = True
        while True:
            try:
                status, retry_after, raw = self._send(route, content, deadline)
            except httpx2.TimeoutException as error:
                raise RequestFailed(f"The {self._what} did not answer in time.") from error
            except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError) as error:
                if not may_reconnect:  # a kept connection may have been closed by the server in the meantime
                    raise RequestFailed(f"The {self._what} broke off the connection.") from error
                may_reconnect = False
                continue
            except (httpx2.TransportError, httpx2.DecodingError) as error:
                raise RequestFailed(f"The {self._what} cannot be reached at {self.address}.") from error
            if status == 200:
                return self._parse(raw)
            wait = max(next(waits), retry_after)
            if status not in _OVERLOADED or self._clock() + wait >= deadline:
                raise self._refusal(status)
            self._sleep(wait)

    def _send(self, route: str, content: bytes, deadline: float) -> tuple[int, float, bytes]:
        """Send once; return the status, the wait that the server asks for in seconds, and the body of a 200."""
        import httpx2

        left = deadline - self._clock()
        if left <= 0:
            raise httpx2.ReadTimeout("no time left")
        headers = {"Content-Type": "application/json"}
        timeout = httpx2.Timeout(left, connect=min(left, _CONNECT_S))
        with self._client.stream("POST", route, content=content, headers=headers, timeout=timeout) as response:
            body = self._read(response, deadline) if response.status_code == 200 else b""
            return response.status_code, _retry_after(response), body

    def _read(self, response: httpx2.Response, deadline: float) -> bytes:
        import httpx2

        body = bytearray()
        for part in response.iter_raw():
            body += part
            if len(body) > MAX_ANSWER:
                raise RequestFailed(f"The {self._what} sends an endless answer.", 200)
            if self._clock() > deadline:
                raise httpx2.ReadTimeout("answer too slow")
        return bytes(body)

    def _parse(self, raw: bytes) -> Any:
        try:
            return json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise RequestFailed(f"The {self._what} answers with something that is no JSON.", 200) from error

    def _refusal(self, status: int) -> RequestFailed:
        if 300 <= status < 400:
            return RequestFailed(f"The {self._what} answers with a redirect, which is not followed ({status}).", status)
        sentence = _SENTENCES.get(status, f"fails ({status})")
        return RequestFailed(f"The {self._what} {sentence}{'' if sentence.endswith('?') else '.'}", status)


def _waits() -> Iterator[float]:
    """Yield seconds to wait before the second attempt, the third, and so on."""
    wait = _FIRST_WAIT_S
    while True:
        yield wait
        wait = min(2 * wait, _LONGEST_WAIT_S)


def _retry_after(response: httpx2.Response) -> float:
    """Return the seconds that the server asks to wait; a date, or nothing, is 0."""
    value = response.headers.get("retry-after", "").strip()
    return float(value) if value.isascii() and value.isdigit() else 0.0


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _without_surrogates(value: Any) -> Any:
    """Replace lone surrogates in every text of a JSON value: strict servers refuse the whole request for one."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_surrogates(item) for key, item in value.items()}
    return value
