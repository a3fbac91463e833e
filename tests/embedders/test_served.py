"""Sentence vectors from a server: the same as here, and recall that goes on without it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cogs.memory.embedders.served import ServedEncoder
from cogs.memory.json_client import CircuitBreaker, JsonClient, RequestFailed
from cogs.memory.memory_service import MemoryService
from cogs.memory.model_loading import ModelSources
from cogs.memory.records import Scope, StoredMessage
from profiles import SettingsError, apply_settings, load_profile, load_settings
from tests.embedders.embedding_server import EmbeddingServer
from tests.rerankers.rerank_server import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cogs.memory.embedders.minilm import MiniLMEncoder
    from profiles import MemoryProfile

SAID = ("Dana: the deploy key hangs behind the fridge", "Mo: lunch?", "Dana: the printer eats paper again")
SCOPE = Scope(1, frozenset({5}))


def served(server: EmbeddingServer, dim: int = 384) -> MemoryProfile:
    profile = load_profile("embedded")
    return replace(profile, embedder="minilm", embedder_url=server.url, embedding_dim=dim)


@contextmanager
def asking(
    server: EmbeddingServer, encoder: MiniLMEncoder, dim: int = 384, model: str = "minilm"
) -> Iterator[ServedEncoder]:
    clients = [JsonClient(server.url, what="embedding server", breaker=CircuitBreaker(open_s=0)) for _ in range(2)]
    try:
        yield ServedEncoder(clients[0], clients[1], encoder, model=model, dim=dim, max_length=256)
    finally:  # not the encoder's own close: the embedded model is everybody's here
        for client in clients:
            client.close()


def test_vectors_are_the_servers_and_sketches_our_own(encoder: MiniLMEncoder) -> None:
    with EmbeddingServer(encoder) as server, asking(server, encoder) as remote:
        for ours, theirs in zip(encoder.encode(SAID), remote.encode(SAID), strict=True):
            np.testing.assert_allclose(theirs.vector, ours.vector, atol=1e-6)
            assert theirs.sketch == ours.sketch
        question, expected = remote.encode_query("where is the key?"), encoder.encode_query("where is the key?")
        np.testing.assert_allclose(question.vector, expected.vector, atol=1e-6)
        assert question.problem is None
        assert question.offsets == expected.offsets


def test_vectors_are_cut_and_normalised_again(encoder: MiniLMEncoder) -> None:
    with EmbeddingServer(encoder) as server, asking(server, encoder, dim=64) as remote:
        [text] = remote.encode(SAID[:1])
        [whole] = encoder.encode(SAID[:1])
        np.testing.assert_allclose(text.vector, whole.vector[:64] / np.linalg.norm(whole.vector[:64]), atol=1e-6)


def test_a_qwen3_embedder_is_told_the_task_with_questions_alone(encoder: MiniLMEncoder) -> None:
    with EmbeddingServer(encoder) as server, asking(server, encoder, model="Qwen/Qwen3-Embedding-0.6B") as remote:
        remote.encode_query("who?")
        assert server.requests[-1]["input"][0].startswith("Instruct: ")
        remote.encode(["said"])
        assert server.requests[-1] == {"model": "Qwen/Qwen3-Embedding-0.6B", "input": ["said"]}


def test_more_texts_than_a_server_takes_go_in_several_requests(encoder: MiniLMEncoder) -> None:
    with EmbeddingServer(encoder) as server, asking(server, encoder) as remote:
        assert len(remote.encode([f"message {n}" for n in range(70)])) == 70
        assert [len(request["input"]) for request in server.requests] == [3, 32, 32, 6]


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda data: data[:-1],
        lambda data: [*data, data[0]],
        lambda data: [{**item, "embedding": item["embedding"][:100]} for item in data],
        lambda data: [{**item, "embedding": ["a"] * 384} for item in data],
        lambda data: [{**item, "embedding": [0.0] * 384} for item in data],
        lambda data: [{**item, "embedding": [float("nan")] * 384} for item in data],
        lambda data: "nothing",
    ],
    ids=["one missing", "one twice", "too short", "no numbers", "zero", "not finite", "no list"],
)
def test_an_unusable_answer_is_no_vector(
    encoder: MiniLMEncoder, rewrite: Callable[[list[dict[str, Any]]], Any]
) -> None:
    with EmbeddingServer(encoder, rewrite=rewrite) as server, asking(server, encoder) as remote:
        with pytest.raises(RequestFailed, match=r"embedding server gives|does not give exactly one"):
            remote.encode(SAID)
        question = remote.encode_query("where is the key?")
        assert question.problem is not None
        assert "words alone" in question.problem
        assert not question.vector.any()


def test_a_server_without_meaning_is_refused(encoder: MiniLMEncoder) -> None:
    def noise(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**item, "embedding": np.eye(384)[0 if item["index"] != 1 else 1].tolist()} for item in data]

    with (
        EmbeddingServer(encoder, rewrite=noise) as server,
        asking(server, encoder) as remote,
        pytest.raises(RequestFailed, match="embedder"),
    ):
        remote.encode(SAID)


async def test_recall_goes_on_by_words_while_the_server_is_away(tmp_path: Path, encoder: MiniLMEncoder) -> None:
    with EmbeddingServer(encoder, api_key="open sesame".replace(" ", "-")) as server:
        sources = ModelSources(tmp_path / "models", embedder_api_key="open-sesame")
        async with MemoryService.on_folder(served(server), tmp_path / "memory", sources=sources) as memory:
            await memory.remember([said(number, text) for number, text in enumerate(SAID, start=1)])
            await memory.queue.embedded()
            found = await memory.recall("where is the deploy key?", SCOPE)
            assert found.results[0].message.id == 1
            assert found.results[0].vector_score is not None
            assert found.trace.degraded == ()

            server.answers = [Answer(500)] * 9
            without = await memory.recall("where does the deploy key hang?", SCOPE)
            assert without.results[0].message.id == 1
            assert without.results[0].vector_score is None
            assert any("words alone" in sentence for sentence in without.trace.degraded)


async def test_a_bot_starts_while_its_server_is_away(tmp_path: Path, encoder: MiniLMEncoder) -> None:
    server = EmbeddingServer(encoder)
    with server:
        profile = served(server)
    async with MemoryService.on_folder(profile, tmp_path) as memory:
        await memory.remember([said(1, SAID[0])])
        await memory.queue.stored()
        found = await memory.recall("deploy key", SCOPE)
        assert [result.message.id for result in found.results] == [1]
        assert any("words alone" in sentence for sentence in found.trace.degraded)


def test_a_server_needs_its_models_name_and_dimensions() -> None:
    settings = load_settings(embedder_url="http://127.0.0.1:9", env_file=None)
    with pytest.raises(SettingsError, match="EMBEDDER_DIM"):
        apply_settings(load_profile("embedded"), settings)
    with pytest.raises(ValueError, match="embedding_dim"):
        replace(load_profile("embedded"), embedder_url="http://127.0.0.1:9")


def said(number: int, text: str) -> StoredMessage:
    author, _, content = text.partition(": ")
    return StoredMessage(
        id=number,
        guild_id=1,
        channel_id=5,
        author_id=7,
        author_name=author,
        content=content,
        created_at=datetime(2024, 1, number, tzinfo=UTC),
    )
