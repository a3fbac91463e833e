"""An embedding server on the loopback: the embedded model's own vectors, over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.rerankers.rerank_server import Answer, RerankServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler

    from cogs.memory.embedders.minilm import MiniLMEncoder


class EmbeddingServer(RerankServer):
    """Answers ``/v1/embeddings``; ``answers`` come first, and ``rewrite`` has the last word."""

    def __init__(
        self,
        encoder: MiniLMEncoder,
        *,
        api_key: str | None = None,
        rewrite: Callable[[list[dict[str, Any]]], Any] | None = None,
    ) -> None:
        super().__init__(api_key=api_key, rewrite=rewrite)
        self._encoder = encoder

    def _scored(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        if handler.path != "/v1/embeddings":
            return Answer(404)
        if self.api_key and handler.headers.get("Authorization") != f"Bearer {self.api_key}":
            return Answer(401)
        request = json.loads(body)
        self.requests.append(request)
        vectors = [text.vector.tolist() for text in self._encoder.encode(request["input"])]
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
        data.reverse()  # the index counts, not the order
        return Answer(body=json.dumps({"data": self.rewrite(data) if self.rewrite else data}).encode())
