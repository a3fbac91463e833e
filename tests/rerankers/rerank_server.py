"""A rerank server on the loopback: scores by shared words, speaks both shapes, and misbehaves when told to."""

from __future__ import annotations

import contextlib
import json
import math
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

Score = Callable[[str, str], float]


def shared_words(query: str, document: str) -> float:
    """Log-odds that grow with the share of the query's words that the document has."""
    asked, said = (set(re.findall(r"\w+", text.lower())) for text in (query, document))
    return 12.0 * len(asked & said) / max(1, len(asked)) - 6.0


def sigmoid(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


@dataclass
class Answer:
    """What the server says in place of a score; ``drop`` closes the connection instead."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    hold: threading.Event | None = None
    """Not answered before this is set."""
    drop: bool = False


class RerankServer:
    """Listens while it is entered. ``answers`` are used up first, one a request; then it scores."""

    def __init__(
        self,
        *,
        shape: Literal["cohere", "tei"] = "cohere",
        score: Score = shared_words,
        probabilities: bool = True,
        rewrite: Callable[[list[dict[str, Any]]], Any] | None = None,
        api_key: str | None = None,
    ) -> None:
        self.shape = shape
        self.score = score
        self.probabilities = probabilities
        self.rewrite = rewrite
        self.api_key = api_key
        self.answers: list[Answer] = []
        self.requests: list[dict[str, Any]] = []
        self.hits: list[str] = []
        self.authorizations: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body go out apart: 40 ms a request otherwise

            def do_POST(self) -> None:
                server._serve(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.hits.append(handler.path)
        self.authorizations.append(handler.headers.get("Authorization"))
        answer = self.answers.pop(0) if self.answers else self._scored(handler, body)
        time.sleep(answer.delay_s)
        if answer.hold is not None:
            answer.hold.wait(60)
        if answer.drop:
            handler.close_connection = True
            return
        handler.send_response(answer.status)
        for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
            handler.send_header(name, value)
        with contextlib.suppress(ConnectionError):  # the client did not wait
            handler.end_headers()
            handler.wfile.write(answer.body)

    def _scored(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        if handler.path != {"cohere": "/v1/rerank", "tei": "/rerank"}[self.shape]:
            return Answer(404)
        if self.api_key and handler.headers.get("Authorization") != f"Bearer {self.api_key}":
            return Answer(401, b'{"error": "who are you"}')
        request = json.loads(body)
        self.requests.append(request)
        texts = request["documents" if self.shape == "cohere" else "texts"]
        name = "relevance_score" if self.shape == "cohere" else "score"
        raw = [self.score(request["query"], text) for text in texts]
        scores = [sigmoid(value) for value in raw] if self.probabilities else raw
        results = [{"index": i, name: value} for i, value in enumerate(scores)]
        results.sort(key=lambda result: -float(result[name]))  # as real servers do
        content = self.rewrite(results) if self.rewrite else results
        return Answer(body=json.dumps({"results": content} if self.shape == "cohere" else content).encode())
