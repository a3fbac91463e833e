"""`MemoryService.reload`: other models, all of them or none, and no answer of the former ones afterwards."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cogs.memory.embedders.minilm import MiniLMEncoder
from cogs.memory.embedding_service import EmbeddingService
from cogs.memory.exceptions import ModelUnavailable, StoreError
from cogs.memory.memory_service import MemoryService
from cogs.memory.model_loading import ModelSources
from cogs.memory.records import Scope
from cogs.memory.worker import ModelWorker
from profiles import ProfileError, choose_profile, load_profile, load_settings
from profiles.memory_profile import EMBEDDED_MODEL
from tests.conftest import CHANNEL, GUILD, said
from tests.plugin_rerankers import PROFILE, Loader, WordReranker
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from pathlib import Path

    from cogs.memory.embedders import Encoder
    from cogs.memory.embedding_service import LoadEncoder
    from profiles import MemoryProfile

SCOPE = Scope(GUILD, frozenset([CHANNEL]))


def apart(shared: Encoder, closed: threading.Event) -> Encoder:
    """The shared embedder as one of its own, which tells when it is closed."""

    class Apart(MiniLMEncoder):
        def close(self) -> None:
            closed.set()

    other = object.__new__(Apart)
    other.__dict__ = shared.__dict__
    return other


async def test_a_tier_comes_with_the_operators_settings(tmp_path: Path, load_shared: LoadEncoder) -> None:
    settings = load_settings(env_file=None, memory_profile="embedded", reranker_top_n=9, reranker_type="qwen3")
    async with MemoryService.on_folder(
        choose_profile(settings).profile,
        tmp_path,
        load=load_shared,
        load_reranker=lambda _: WordReranker(),
        named=lambda name: choose_profile(settings, name).profile,
    ) as memory:
        await memory.reload("cpu")
        assert memory.profile == replace(load_profile("cpu"), recall_limit=9)
        await memory.reload()
        assert memory.profile.name == "cpu"
        with pytest.raises(ProfileError, match="there is no profile 'nonsense'"):
            await memory.reload("nonsense")
        assert memory.profile.name == "cpu"


async def test_a_question_under_way_is_answered_before_an_embedder_is_loaded(
    tmp_path: Path, load_shared: LoadEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogs.memory.worker.STANDS_BACK_S", 3600.0)
    loaded: list[str] = []

    def load(profile: MemoryProfile) -> Encoder:
        loaded.append(profile.name)
        return load_shared(profile)

    worker = ModelWorker()
    async with EmbeddingService(PROFILE, worker, load=load).beside(PROFILE):
        assert loaded == [PROFILE.name]
    with worker.question():
        beside = EmbeddingService(PROFILE, worker, load=load).beside(replace(PROFILE, name="other"))
        loading = asyncio.create_task(beside.__aenter__())
        await asyncio.sleep(0.05)
        assert loaded == [PROFILE.name]
    await loading
    assert loaded == [PROFILE.name, "other"]
    await beside.__aexit__(None, None, None)
    worker.shutdown()


async def test_models_read_anew_answer_anew(tmp_path: Path, load_shared: LoadEncoder) -> None:
    """The name of the reranker is the same before and after: what was kept under it must not be shown."""
    model = WordReranker()
    async with MemoryService.on_folder(
        replace(PROFILE, rerank_deadline_ms=None), tmp_path, load=load_shared, load_reranker=lambda _: model
    ) as memory:
        await memory.remember([said(1, "the samovar is broken")])
        await memory.queue.embedded()
        await memory.reranker.ready()
        before = (await memory.recall("samovar", SCOPE)).results[0].rerank_score
        assert (await memory.recall("samovar", SCOPE)).trace.cached
        model = WordReranker(key="words:2", offset=1.0)
        await memory.reload()
        after = await memory.recall("samovar", SCOPE)
    assert not after.trace.cached
    assert after.results[0].rerank_score != before


async def test_an_answer_begun_before_the_exchange_is_not_kept_for_after_it(
    tmp_path: Path, load_shared: LoadEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogs.memory.worker.STANDS_BACK_S", 0.05)
    models = [WordReranker(is_remote=True), WordReranker(key="words:2", offset=1.0)]
    profile = replace(PROFILE, rerank_deadline_ms=None)
    async with MemoryService.on_folder(
        profile, tmp_path, load=load_shared, load_reranker=lambda _: models[0] if not models[0].batches else models[1]
    ) as memory:
        await memory.remember([said(1, "the samovar is broken")])
        await memory.queue.embedded()
        await memory.reranker.ready()
        models[0].entered.clear()
        models[0].gate.clear()
        slow = asyncio.create_task(memory.recall("samovar", SCOPE))
        await asyncio.to_thread(models[0].entered.wait)
        await memory.reload()
        models[0].gate.set()
        before = await slow
        after = await memory.recall("samovar", SCOPE)
    assert not after.trace.cached
    assert after.results[0].rerank_score != before.results[0].rerank_score


async def test_a_reranker_that_cannot_be_loaded_leaves_the_embedder_too(
    tmp_path: Path, load_shared: LoadEncoder
) -> None:
    closed = threading.Event()

    def load(profile: MemoryProfile) -> Encoder:
        return apart(load_shared(profile), closed) if profile.name == "other" else load_shared(profile)

    def load_reranker(_: MemoryProfile) -> WordReranker:
        raise ModelUnavailable("There is none.")

    async with MemoryService.on_folder(
        load_profile("embedded"), tmp_path, load=load, load_reranker=load_reranker
    ) as memory:
        before = memory.embedding._encoder
        with pytest.raises(ModelUnavailable, match="There is none"):
            await memory.reload(replace(PROFILE, name="other"))
        assert memory.embedding._encoder is before
        assert closed.is_set()
        assert memory.profile.name == "embedded"


async def test_an_embedder_that_arrives_after_another_profile_was_asked_for_is_let_go(
    tmp_path: Path, load_shared: LoadEncoder
) -> None:
    may_arrive, closed = threading.Event(), threading.Event()

    class Slow(ModelSources):
        def load_encoder(self, profile: MemoryProfile) -> Encoder:
            if profile.embedder == EMBEDDED_MODEL:
                return load_shared(profile)
            may_arrive.wait()
            return apart(load_shared(profile), closed)

    profile = replace(load_profile("embedded"), name="bigger", embedder="Qwen/Qwen3-Embedding-0.6B")
    async with MemoryService.on_folder(profile, tmp_path, sources=Slow(tmp_path / "models")) as memory:
        await memory.reload("embedded")
        before = memory.embedding._encoder
        may_arrive.set()
        await asyncio.to_thread(closed.wait)
        assert memory.embedding._encoder is before
        assert memory.profile.name == "embedded"


async def test_an_embedder_that_the_store_refuses_is_let_go(tmp_path: Path, load_shared: LoadEncoder) -> None:
    closed = threading.Event()

    def load(profile: MemoryProfile) -> Encoder:
        return apart(load_shared(profile), closed) if profile.name == "other" else load_shared(profile)

    async with MemoryService.on_folder(load_profile("embedded"), tmp_path, load=load) as memory:
        before = memory.embedding._encoder
        await memory.store.close()
        with pytest.raises(StoreError):
            await memory.reload(replace(load_profile("embedded"), name="other"))
        assert memory.embedding._encoder is before
        assert closed.is_set()


async def test_a_caller_that_leaves_does_not_stop_the_exchange(tmp_path: Path, load_shared: LoadEncoder) -> None:
    loader = Loader(WordReranker())
    async with MemoryService.on_folder(PROFILE, tmp_path, load=load_shared, load_reranker=loader) as memory:
        await memory.reranker.ready()
        loader.gate.clear()
        asked = asyncio.create_task(memory.reload(replace(PROFILE, name="other")))
        await until(lambda: len(loader.profiles) == 2)
        asked.cancel()
        await asyncio.wait([asked])
        assert memory.profile.name == PROFILE.name
        loader.gate.set()
        await until(lambda: memory.profile.name == "other")


@pytest.mark.parametrize("loading", ["embedder", "reranker"])
async def test_an_exchange_that_the_end_cuts_off_lets_go_of_its_embedder(
    tmp_path: Path, load_shared: LoadEncoder, loading: str
) -> None:
    closed, begun, may_end = threading.Event(), threading.Event(), threading.Event()

    def load(profile: MemoryProfile) -> Encoder:
        if profile.name != "other":
            return load_shared(profile)
        if loading == "embedder":
            begun.set()
            may_end.wait(PATIENCE_S)
        return apart(load_shared(profile), closed)

    def load_reranker(profile: MemoryProfile) -> WordReranker:
        if profile.name == "other":
            begun.set()
            may_end.wait(PATIENCE_S)
        return WordReranker()

    async with MemoryService.on_folder(PROFILE, tmp_path, load=load, load_reranker=load_reranker) as memory:
        await memory.reranker.ready()
        asked = asyncio.create_task(memory.reload(replace(PROFILE, name="other")))
        await asyncio.to_thread(begun.wait, PATIENCE_S)
        closing = asyncio.create_task(memory.close())
        await asyncio.wait([asked])
        may_end.set()
        await closing
    assert asked.cancelled()
    assert await asyncio.to_thread(closed.wait, PATIENCE_S)
