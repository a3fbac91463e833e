"""A `RemoteReranker` and what it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.remote import RemoteReranker

if TYPE_CHECKING:
    from tests.rerankers.rerank_server import RerankServer

INSTRUCTION = "Find the message that answers."


def pairs(query: str, *documents: str) -> list[Pair]:
    return [Pair(query, document, INSTRUCTION) for document in documents]


def load(server: RerankServer, **options: Any) -> RemoteReranker:
    return RemoteReranker.load(server.url, model="tiny", **({"time_limit_s": 60.0} | options))
