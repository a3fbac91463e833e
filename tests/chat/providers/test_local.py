"""Replies by a language model in this process: a real Qwen3, though tiny and random."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cogs.chat.conversation import Conversation, Turn
from cogs.chat.providers.causal_lm import CausalLM, Sampling
from cogs.chat.providers.failures import ProviderFailed
from cogs.chat.providers.fallback import with_fallback
from cogs.chat.providers.local import CHAT_MODELS, LocalModels, LocalProvider
from cogs.chat.providers.reply_texts import ENGLISH
from cogs.memory.context_builder import estimate_tokens
from cogs.memory.exceptions import ModelUnavailable, ScoringFailed
from cogs.memory.model_cache import ModelCache
from cogs.memory.model_loading import ModelSources
from cogs.memory.records import Scope
from cogs.memory.worker import ModelWorker
from tests.chat.providers.tiny_chat import TEMPLATE, make_chat_model
from tests.chat.samples import remembered
from tests.conftest import CHANNEL, GUILD
from tests.conftest import said as said_by_mia
from tests.injection_corpus import PAYLOADS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from cogs.chat.prompt import ChatMessage
    from cogs.chat.providers import ReplyProvider
    from cogs.memory.memory_service import MemoryService

TALK = Conversation("You are a butler.", (Turn("user", "Ada", "when is tea?"),), remembered("Tea is at five."))
GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chat_model(tmp_path_factory.mktemp("models") / "tiny", vocab_size=400)


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[CausalLM]:
    loaded = CausalLM.load(folder)
    yield loaded
    loaded.close()


@pytest.fixture
def models(tmp_path: Path) -> Iterator[LocalModels]:
    worker, cache = ModelWorker(), ModelCache()
    yield LocalModels(ModelSources(tmp_path / "models"), cache, worker)
    cache.close()
    worker.shutdown()


@pytest.fixture
async def provider(folder: Path, models: LocalModels) -> AsyncIterator[LocalProvider]:
    provider = LocalProvider(str(folder), models, timeout_s=300, max_tokens=20, sampling=GREEDY)
    yield provider
    await provider.close()


async def pieces_of(provider: ReplyProvider, conversation: Conversation = TALK) -> list[str]:
    return [piece async for piece in provider.reply(conversation)]


async def failure_of(provider: ReplyProvider) -> str:
    with pytest.raises(ProviderFailed) as caught:
        await pieces_of(provider)
    return caught.value.reason


def said(*texts: str) -> list[ChatMessage]:
    roles: list[Any] = ["system", *["user", "assistant"] * 9]
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


# --- the model


def test_the_prompt_is_the_templates(model: CausalLM, folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = model.template.ids(said("the bot", "who broke the build", "lunch", "the server"))
    assert tokenizer.decode(ids) == (
        "<|im_start|>system\nthe bot<|im_end|>\n<|im_start|>user\nwho broke the build<|im_end|>\n"
        "<|im_start|>assistant\nlunch<|im_end|>\n<|im_start|>user\nthe server<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    assert not model.template.starts_thinking


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_text_becomes_a_control_token(model: CausalLM, payload: str) -> None:
    count = model.template.control_count
    assert count(model.template.ids(said(payload, payload, payload, payload))) == count(
        model.template.ids(said("a", "b", "c", "d"))
    )


def test_it_writes_what_transformers_writes(model: CausalLM, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    ids = model.template.ids(said("the bot", "where is the server " * 20))
    transformer: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    reference = transformer.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)
    expected = model.template.decoder()
    text = "".join(expected(int(token)) for token in reference[0, len(ids) :])
    generation = model.begin(ids, 12, GREEDY)
    assert "".join(iter(generation.advance, None)) == text
    assert generation.was_cut


def test_the_same_seed_writes_the_same(model: CausalLM) -> None:
    ids = model.template.ids(said("the bot", "where is the server"))
    first, second, other = (
        "".join(iter(model.begin(ids, 12, Sampling(temperature=1.5, top_p=1, seed=seed)).advance, None))
        for seed in (1, 1, 2)
    )
    assert first == second != other


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "no complete safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"short"), "no complete safetensors"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer"),
        (lambda folder: (folder / "config.json").write_text("{}"), "config.json"),
        (lambda folder: (folder / "tokenizer_config.json").write_text("{}"), "no chat template"),
    ],
)
def test_a_damaged_model_is_refused(
    folder: Path, tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    damage(damaged)
    with pytest.raises(ModelUnavailable, match=reason):
        CausalLM.load(damaged)


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('System role not supported') }}",
        "{% for message in messages if message.role != 'system' %}{{ message.content }}{% endfor %}",
        "{{ messages[0].content }}{{ messages[0].content }}",
        "{{ nonsense",
        "{{ messages.nothing.here }}",
    ],
)
def test_a_template_that_loses_messages_is_refused(folder: Path, tmp_path: Path, template: str) -> None:
    with pytest.raises(ModelUnavailable, match="chat template"):
        CausalLM.load(make_chat_model(tmp_path / "odd", template=template, layers=1))


def test_a_template_that_begins_with_a_thought_is_known(tmp_path: Path) -> None:
    template = TEMPLATE.replace("<think>\\n\\n</think>\\n\\n", "<think>\\n")
    model = CausalLM.load(make_chat_model(tmp_path / "thinker", template=template, layers=1))
    assert model.template.starts_thinking
    model.close()
    model.close()
    with pytest.raises(ScoringFailed, match="unloaded"):
        model.begin([1], 1)


# --- the provider


async def test_an_answer_comes_in_pieces(provider: LocalProvider) -> None:
    words = "the server " * 20
    assert provider.count_tokens(words) == estimate_tokens(words)
    text = "".join(await pieces_of(provider))
    assert text.strip("… ")
    assert (provider.name, provider.remote) == ("local: tiny", False)
    assert 40 <= provider.count_tokens(words) < estimate_tokens(words)
    assert "".join(await pieces_of(provider)) == text


async def test_several_replies_do_not_mix(provider: LocalProvider) -> None:
    questions = [Conversation("", (Turn("user", "Ada", f"{word} " * 5),), None) for word in ("lunch", "planet", "bot")]
    alone = ["".join(await pieces_of(provider, question)) for question in questions]
    together = await asyncio.gather(*(pieces_of(provider, question) for question in questions))
    assert ["".join(pieces) for pieces in together] == alone


async def test_a_question_goes_between_two_steps(folder: Path, models: LocalModels) -> None:
    provider = LocalProvider(str(folder), models, timeout_s=300, max_tokens=600, sampling=GREEDY)
    order: list[str] = []
    replying = asyncio.create_task(_noting(provider, order))
    while not order:  # noqa: ASYNC110 # an async generator signals nothing
        await asyncio.sleep(0.001)
    assert await models.worker.run(threading.get_ident) != threading.get_ident()
    order.append("question")
    await replying
    assert 0 < order.index("question") < len(order) - 1
    await provider.close()


async def _noting(provider: LocalProvider, order: list[str]) -> None:
    async for _ in provider.reply(TALK):
        order.append("piece")  # noqa: PERF401 # another task writes into it meanwhile


async def test_who_leaves_stops_the_model(folder: Path, models: LocalModels) -> None:
    provider = LocalProvider(str(folder), models, timeout_s=300, max_tokens=4000, sampling=GREEDY)
    pieces = provider.reply(TALK)
    await anext(pieces)
    await pieces.aclose()  # type: ignore[attr-defined] # a generator
    await asyncio.wait_for(models.worker.run(int), 60)
    assert await anext(provider.reply(TALK))
    await provider.close()


async def test_the_deadline_ends_an_answer(folder: Path, models: LocalModels, provider: LocalProvider) -> None:
    await pieces_of(provider)  # now it is loaded
    slow = LocalProvider(str(folder), models, timeout_s=0.3, max_tokens=4000, sampling=GREEDY)
    assert await failure_of(slow) in ("slow", "loading")
    await slow.close()


async def test_a_long_conversation_is_shortened_and_a_long_memory_refused(
    folder: Path, tmp_path: Path, models: LocalModels
) -> None:
    narrow = shutil.copytree(folder, tmp_path / "narrow")
    config = json.loads((folder / "config.json").read_text())
    (narrow / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1600}))
    provider = LocalProvider(str(narrow), models, timeout_s=300, max_tokens=16, sampling=GREEDY)
    talk = Conversation("", tuple(Turn("user", "Ada", "lunch " * 100) for _ in range(12)), None)
    assert await pieces_of(provider, talk)
    memory = remembered(*(f"{n} " + "the server " * 40 for n in range(12)))
    with pytest.raises(ProviderFailed, match="too long"):
        await pieces_of(provider, Conversation("", talk.turns, memory))
    await provider.close()


async def test_a_model_that_cannot_be_loaded_is_said_and_tried_again_later(
    folder: Path, models: LocalModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    missing = tmp_path / "late"
    for name in ("no/such-model", "../etc", "Qwen/Qwen3-0.6B", str(missing)):
        provider = LocalProvider(name, models, timeout_s=300)
        assert await failure_of(provider) == "no_model"
        assert (await pieces_of(with_fallback(provider)))[0].startswith(ENGLISH.no_model)
        await provider.close()
        assert await failure_of(provider) == "no_model"
    assert "is not on the list" in caplog.text
    assert "is not on this machine" in caplog.text
    assert "There is no folder" in caplog.text
    provider = LocalProvider(str(missing), models, timeout_s=300, max_tokens=20, sampling=GREEDY)
    assert await failure_of(provider) == "no_model"
    shutil.copytree(folder, missing)
    assert await failure_of(provider) == "no_model"  # not so soon
    monkeypatch.setattr("cogs.chat.providers.local.LOAD_AGAIN_AFTER_S", 0.0)
    assert await pieces_of(provider)
    await provider.close()


@pytest.mark.parametrize("patience", [0.8, 9.0], ids=["as it is", "as if the machine stood still"])
async def test_a_load_goes_on_when_the_reply_does_not_wait_for_it(
    folder: Path, models: LocalModels, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr("cogs.chat.providers.local._PATIENCE", patience)
    release = threading.Event()

    class Slow(ModelSources):
        def bring(self, model: str) -> Path:
            release.wait(60)
            return super().bring(model)

    sources = Slow(models.sources.folder)
    slow = LocalModels(sources, models.cache, models.worker)
    provider = LocalProvider(str(folder), slow, timeout_s=0.5, max_tokens=20, sampling=GREEDY)
    assert await failure_of(provider) == "loading"
    release.set()
    async with asyncio.timeout(60):
        while (await pieces_of(with_fallback(provider)))[0].startswith(ENGLISH.loading):
            pass
    assert provider.count_tokens("the server " * 20) < estimate_tokens("the server " * 20)
    await provider.close()


async def test_a_closed_worker_is_a_failure_like_any_other(folder: Path, models: LocalModels) -> None:
    provider = LocalProvider(str(folder), models, timeout_s=300, max_tokens=20, sampling=GREEDY)
    assert await pieces_of(provider)
    models.worker.shutdown()
    assert await failure_of(provider) == "failing"
    await provider.close()
    await provider.close()


async def test_two_providers_share_one_model(folder: Path, models: LocalModels) -> None:
    first, second = (
        LocalProvider(str(folder), models, timeout_s=300, max_tokens=20, sampling=GREEDY) for _ in range(2)
    )
    await asyncio.gather(pieces_of(first), pieces_of(second))
    assert models.cache.get_statistics()["rerank_model_loads"] == 1
    await first.close()
    await second.close()


async def test_a_running_memory_has_all_that_a_local_model_needs(folder: Path, memory: MemoryService) -> None:
    provider = LocalProvider(str(folder), LocalModels.of(memory), timeout_s=300, max_tokens=20, sampling=GREEDY)
    await memory.remember([said_by_mia(1, "Tea is at five.")])
    await memory.queue.embedded()
    replying = asyncio.create_task(pieces_of(provider))
    recall = await memory.recall("when is tea?", Scope(GUILD, frozenset([CHANNEL])))
    assert [result.message.id for result in recall.results] == [1]
    assert await replying
    assert memory.models.get_statistics()["rerank_model_loads"] == 1
    await provider.close()


def test_models_are_pinned() -> None:
    assert all(len(name.partition("@")[2]) == 40 for name in CHAT_MODELS)
