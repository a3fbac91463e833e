"""The packed forward pass: its two ways of attention agree, and what it keeps between calls is bounded and right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cogs.memory.rerankers import qwen3_packed
from cogs.memory.rerankers.qwen3_attention import CausalMasks, PaddedAttention, SingleAttention
from cogs.memory.rerankers.qwen3_contexts import Context, ContextCache
from cogs.memory.rerankers.qwen3_packed import PackedQwen3
from cogs.memory.rerankers.qwen3_plain import PlainQwen3
from cogs.memory.rerankers.qwen3_plan import Span
from cogs.memory.rerankers.qwen3_prompt import Prompt
from tests.tiny_models import make_qwen3

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

KV_HEADS, GROUP, HEAD_DIM = 2, 3, 16


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """Loads the same weights anew, as often as they are taken apart."""
    import torch
    from transformers import Qwen3ForCausalLM

    folder = make_qwen3(tmp_path_factory.mktemp("packed"), layers=3)

    def load() -> Any:
        model: Any = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return model.eval()

    return load


def random_ids(*lengths: int, seed: int = 0) -> list[tuple[int, ...]]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    return [tuple(torch.randint(0, 400, (length,), generator=generator).tolist()) for length in lengths]


def attention_inputs(lengths: list[list[int]], contexts: list[int]) -> tuple[list[Span], Tensor, Tensor]:
    import torch

    torch.manual_seed(3)
    spans: list[Span] = []
    for context_length, documents in zip(contexts, lengths, strict=True):
        context = Context(context_length)
        context.grow(torch.randn(2, KV_HEADS, context_length, HEAD_DIM))
        for length in sorted(documents):
            spans.append(Span(spans[-1].stop if spans else 0, length, context))
    tokens = spans[-1].stop
    return spans, torch.randn(tokens, KV_HEADS, GROUP, HEAD_DIM), torch.randn(tokens, 2, KV_HEADS, HEAD_DIM)


@pytest.mark.parametrize(
    ("lengths", "contexts"),
    [([[5]], [9]), ([[1, 1, 2, 40, 41, 90]], [30]), ([[12, 12], [3], [700, 9, 280]], [7, 64, 20])],
)
def test_padded_and_single_attention_agree(lengths: list[list[int]], contexts: list[int]) -> None:
    import torch

    spans, q, kv = attention_inputs(lengths, contexts)
    masks = CausalMasks(GROUP, torch.float32, q.device)
    single, padded = SingleAttention(spans, masks), PaddedAttention(spans, masks, q.device)
    one, other = torch.zeros_like(q), torch.zeros_like(q)
    single.all_rows(q, kv, 0, one)
    padded.all_rows(q, kv, 0, other)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    last = q[[span.stop - 1 for span in spans]]
    torch.testing.assert_close(single.last_rows(last, kv, 0), padded.last_rows(last, kv, 0), atol=1e-5, rtol=1e-5)


def test_documents_attend_to_their_context_and_causally_to_themselves() -> None:
    import torch

    spans, q, kv = attention_inputs([[4, 6], [5]], [8, 3])
    out = torch.zeros_like(q)
    SingleAttention(spans, CausalMasks(GROUP, torch.float32, q.device)).all_rows(q, kv, 0, out)
    for span in spans:
        assert span.context is not None
        for row in range(span.start, span.stop):
            own = kv[span.start : row + 1].permute(1, 2, 0, 3)
            keys, values = torch.cat([span.context.layer(0), own], dim=2)  # each (kv_heads, seen, head_dim)
            weights = (q[row] @ keys.mT / HEAD_DIM**0.5).softmax(dim=-1)
            torch.testing.assert_close(out[row], weights @ values, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("padded", "prepacked"), [(False, True), (True, True), (True, False)])
def test_states_are_those_of_the_plain_pass(
    load: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, padded: bool, prepacked: bool
) -> None:
    """Padded and with plain matrices is how GPUs do it."""
    import torch

    if not prepacked:
        monkeypatch.setattr(qwen3_packed, "can_pack", lambda _: False)
    head, query, other = random_ids(20, 7, 11)
    prompts = [Prompt(head, (query, other)[i % 2], ids) for i, ids in enumerate(random_ids(1, 30, 4, 300, 9, seed=1))]
    prompts.append(Prompt(head, (), other))
    packed = PackedQwen3(load(), padded=padded)
    expected = PlainQwen3(load()).states(prompts)
    torch.testing.assert_close(packed.states(prompts), expected, atol=1e-4, rtol=1e-4)
    # now all contexts are known
    torch.testing.assert_close(packed.states(prompts[::-1]), expected.flip(0), atol=1e-4, rtol=1e-4)


def test_the_layers_are_taken_out_of_the_model(load: Callable[[], Any]) -> None:
    model = load()
    PackedQwen3(model)
    assert not any("layers" in name for name, _ in model.named_parameters())


def test_known_stems_cost_nothing(load: Callable[[], Any]) -> None:
    packed = PackedQwen3(load())
    head, query, *documents = random_ids(20, 7, 10, 10, 10)  # 57 tokens
    prompts = [Prompt(head, query, ids) for ids in documents]
    assert [packed.fit(prompts, budget) for budget in (1, 29, 45, 46)] == [1, 1, 1, 3]
    packed.states(prompts[:1])  # leaves 30
    assert [packed.fit(prompts, budget) for budget in (1, 12, 23, 24)] == [1, 1, 1, 3]
    assert packed.fit([Prompt(head, documents[0], documents[1])] * 2, 20) == 1


def test_runs_are_about_equally_long(load: Callable[[], Any]) -> None:
    packed = PackedQwen3(load())
    head, query, *documents = random_ids(20, 7, *[10] * 25, seed=2)
    left = [Prompt(head, query, ids) for ids in documents]
    packed.states(left[:1])
    runs = []
    while left:
        count = packed.fit(left, 80)
        runs.append(count)
        left = left[count:]
    assert runs == [8, 8, 9]


def test_passes_on_several_threads_give_the_same_states(load: Callable[[], Any]) -> None:
    import torch

    head, query, other = random_ids(20, 7, 11)
    documents = random_ids(*range(1, 60, 2), seed=4)
    prompts = [Prompt(head, (query, other)[i % 2], ids) for i, ids in enumerate(documents)]
    packed = PackedQwen3(load())
    expected = packed.states(prompts)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        threaded = PackedQwen3(load())
        for _ in range(3):  # with the stems to compute, and without
            torch.testing.assert_close(threaded.states(prompts), expected, atol=1e-4, rtol=1e-4)
        assert torch.get_num_threads() == 2
        threaded.close()
    finally:
        torch.set_num_threads(before)


def test_an_error_on_one_thread_ends_all_and_is_the_one_raised(load: Callable[[], Any]) -> None:
    import torch

    head, query = random_ids(20, 7)
    documents = random_ids(*[30] * 20, seed=4)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        packed = PackedQwen3(load())
        with pytest.raises(IndexError):  # no such token in the stem: the others wait for it
            packed.states([Prompt((*head, 10**6), query, ids) for ids in documents])
        assert packed.states([Prompt(head, query, ids) for ids in documents]).isfinite().all()
        packed.close()
    finally:
        torch.set_num_threads(before)


def test_contexts_used_longest_ago_are_dropped() -> None:
    import torch

    def context(length: int) -> Context:
        context = Context(length)
        context.grow(torch.zeros(2, 1, length, 1, dtype=torch.uint8))  # two bytes a token
        return context

    cache = ContextCache(max_bytes=100)
    cache.store({(1,): context(20), (2,): context(20)})
    cache.store({(1,): context(20)})
    cache.store({(3,): context(10)})
    assert [(key,) in cache for key in (1, 2, 3)] == [True, True, True]
    cache.store({(4,): context(10)})
    assert [(key,) in cache for key in (1, 2, 3, 4)] == [True, False, True, True]
    cache.store({(5,): context(60)})
    assert not any((key,) in cache for key in (1, 2, 3, 4, 5))


def test_a_pass_that_fails_leaves_no_half_made_context(load: Callable[[], Any]) -> None:
    import torch

    packed = PackedQwen3(load())
    head, query, document = random_ids(20, 7, 10)
    with pytest.raises(IndexError):
        packed.states([Prompt(head, query, (10**6,))])  # no such token
    expected = PlainQwen3(load()).states([Prompt(head, query, document)])
    torch.testing.assert_close(packed.states([Prompt(head, query, document)]), expected, atol=1e-4, rtol=1e-4)
