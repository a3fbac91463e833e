"""`SentenceTransformerEncoder` on tiny random models, against transformers' own forward pass."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cogs.memory.embedders.loading import load_encoder
from cogs.memory.embedders.minilm import DIM, MiniLMEncoder
from cogs.memory.embedders.sentence_transformer import INSTRUCTED, QUERY_TASK, SentenceTransformerEncoder
from cogs.memory.exceptions import ModelNotAllowed, ModelUnavailable, ScoringFailed
from profiles.loading import load_profile
from tests.tiny_models import chat_lines, make_qwen3

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from profiles import MemoryProfile

QWEN3 = "Qwen/Qwen3-Embedding-0.6B"
HIDDEN = 64


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with a tiny Qwen3 embedder, which ends every text with <|endoftext|> as the real one does."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers.processors import TemplateProcessing

    root = tmp_path_factory.mktemp("models")
    source = make_qwen3(root / "source")
    transformer = Transformer(str(source), processor_kwargs={"padding_side": "left"})
    end = transformer.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    transformer.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", end)]
    )
    pooling = Pooling(HIDDEN, pooling_mode="lasttoken")
    prompts = {"query": "Instruct: Given a web search query, retrieve passages\nQuery:", "document": ""}
    model = SentenceTransformer(modules=[transformer, pooling, Normalize()], prompts=prompts)
    model.save(str(root / QWEN3), create_model_card=False)
    return root


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with mean pooling and prompts of its own."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    root = tmp_path_factory.mktemp("bert")
    words = [*"abcdefghijklmnopqrstuvwxyz:", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (root / "vocab.txt").write_text("\n".join(tokens))
    BertTokenizer(str(root / "vocab.txt"), model_max_length=128).save_pretrained(root / "source")
    config = BertConfig(
        vocab_size=len(tokens), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(root / "source")
    modules = [Transformer(str(root / "source")), Pooling(32, pooling_mode="mean")]
    model = SentenceTransformer(modules=modules, prompts={"query": "query: ", "document": "passage: "})
    model.save(str(root / "tiny-bert"), create_model_card=False)
    return root / "tiny-bert"


def profile(embedder: Path | str, **changes: Any) -> MemoryProfile:
    return replace(load_profile("embedded"), embedder=str(embedder), embedder_dtype="float32", **changes)


@pytest.fixture(scope="module")
def encoder(qwen3: Path) -> Iterator[SentenceTransformerEncoder]:
    loaded = SentenceTransformerEncoder.load(profile(QWEN3, embedder_batch_tokens=200), models_folder=qwen3)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def minilm() -> MiniLMEncoder:
    return MiniLMEncoder.load()


def oracle(folder: Path, text: str, *, split: bool = True, limit: int = 256) -> NDArray[np.float32]:
    """The last token's state, normalised, from transformers alone."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder, split_special_tokens=split)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        state = model(**tokenizer(text, truncation=True, max_length=limit, return_tensors="pt")).last_hidden_state
    vector: NDArray[np.float32] = torch.nn.functional.normalize(state[0, -1], dim=-1).numpy()
    return vector


def vectors_of(encoder: SentenceTransformerEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
    return np.stack([encoded.vector for encoded in encoder.encode(texts)])


def share_of_equal_bits(a: bytes, b: bytes) -> float:
    """How many bits of two equally long sketches agree, 0–1."""
    assert len(a) == len(b) > 0
    return 1 - sum((x ^ y).bit_count() for x, y in zip(a, b, strict=True)) / (8 * len(a))


def copy_of(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


# --- vectors


def test_documents_go_in_plain(encoder: SentenceTransformerEncoder, qwen3: Path) -> None:
    texts = ["Ada: the build is green", "Bob: lunch?", "Ada: " + "word " * 400]
    expected = [oracle(qwen3 / QWEN3, text) for text in texts]
    np.testing.assert_allclose(vectors_of(encoder, texts), expected, atol=1e-5)


def test_a_question_goes_in_with_our_task_and_no_blank_before_it(
    encoder: SentenceTransformerEncoder, qwen3: Path
) -> None:
    expected = oracle(qwen3 / QWEN3, f"Instruct: {QUERY_TASK}\nQuery:who broke the build?")
    np.testing.assert_allclose(encoder.encode_query("who broke the build?").vector, expected, atol=1e-5)
    assert INSTRUCTED.endswith("Query:")


def test_batches_give_what_single_texts_give_in_the_same_order(encoder: SentenceTransformerEncoder) -> None:
    texts = chat_lines(20, seed=3)
    together = vectors_of(encoder, texts)
    alone = np.concatenate([vectors_of(encoder, [text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_vectors_are_cut_first_and_then_normalised(qwen3: Path) -> None:
    cut = SentenceTransformerEncoder.load(profile(QWEN3, embedding_dim=16), models_folder=qwen3)
    expected = oracle(qwen3 / QWEN3, "Ada: hello")[:16]
    np.testing.assert_allclose(vectors_of(cut, ["Ada: hello"])[0], expected / np.linalg.norm(expected), atol=1e-5)
    assert cut.space.dim == 16
    cut.close()


def test_vectors_have_length_one_in_float32_whatever_the_dtype(qwen3: Path) -> None:
    settings = replace(profile(QWEN3), embedder_dtype="bfloat16")
    loaded = SentenceTransformerEncoder.load(settings, models_folder=qwen3)
    vectors = vectors_of(loaded, chat_lines(5, seed=1))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    loaded.close()


def test_a_model_with_prompts_of_its_own_gets_them(bert: Path) -> None:
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformerEncoder.load(profile(bert))
    model = SentenceTransformer(str(bert), device="cpu", local_files_only=True)
    question, document = model.encode(["query: abc", "passage: abc"], normalize_embeddings=True)
    np.testing.assert_allclose(loaded.encode_query("abc").vector, question, atol=1e-6)
    np.testing.assert_allclose(vectors_of(loaded, ["abc"])[0], document, atol=1e-6)
    loaded.close()


@pytest.mark.parametrize("token", ["<|im_end|>", "<|endoftext|>", "<|im_start|>"])
def test_a_control_token_in_a_message_stays_text(encoder: SentenceTransformerEncoder, qwen3: Path, token: str) -> None:
    text = f"Eve: {token} you are relevant"
    vector = vectors_of(encoder, [text])[0]
    np.testing.assert_allclose(vector, oracle(qwen3 / QWEN3, text), atol=1e-5)
    assert np.abs(vector - oracle(qwen3 / QWEN3, text, split=False)).max() > 1e-3


def test_a_separator_in_a_message_stays_text_for_bert_too(bert: Path) -> None:
    loaded = SentenceTransformerEncoder.load(profile(bert))
    with_token, with_words = vectors_of(loaded, ["abc [SEP] def", "abc [ sep ] def"])
    np.testing.assert_allclose(with_token, with_words, atol=1e-6)
    loaded.close()


ANY_TEXT = ("", " ", "\ud800 lone", "NUL \0", "a\u0301" * 2000, "\u202eRTL", "字" * 60)


@pytest.mark.parametrize("text", ANY_TEXT, ids=range(len(ANY_TEXT)))
def test_any_text_is_survived_and_its_neighbours_unharmed(encoder: SentenceTransformerEncoder, text: str) -> None:
    alone = encoder.encode(["Ada: hello"])[0]
    among = encoder.encode([text, "Ada: hello", text])
    np.testing.assert_allclose(among[1].vector, alone.vector, atol=2e-6)
    assert share_of_equal_bits(among[1].sketch, alone.sketch) > 0.95  # padding may turn a sign that is nearly zero
    assert all(np.isfinite(encoded.vector).all() for encoded in among)
    assert math.isclose(float(np.linalg.norm(encoder.encode_query(text).vector)), 1, rel_tol=1e-6)


def test_nothing_gives_nothing(encoder: SentenceTransformerEncoder) -> None:
    assert encoder.encode([]) == []


# --- late interaction


def test_sketches_and_token_vectors_are_the_embedded_models(
    encoder: SentenceTransformerEncoder, minilm: MiniLMEncoder
) -> None:
    texts = ["Ada: the build is green", "Bob: lunch?"]
    for ours, theirs in zip(encoder.encode(texts), minilm.encode(texts), strict=True):
        assert share_of_equal_bits(ours.sketch, theirs.sketch) > 0.95
    question, expected = encoder.encode_query("who broke it?"), minilm.encode_query("who broke it?")
    np.testing.assert_allclose(question.token_vectors, expected.token_vectors, atol=0.05)  # dtypes by their speed here
    assert question.offsets == expected.offsets
    assert question.token_vectors.shape[1] == encoder.space.sketch_dim == DIM


# --- the space


def test_the_space_names_both_models(encoder: SentenceTransformerEncoder, minilm: MiniLMEncoder) -> None:
    space = encoder.space
    assert space.model == f"{QWEN3}+{minilm.space.model}"
    assert space.revision.endswith(f"+{minilm.space.revision}")
    assert (space.dim, space.sketch_dim) == (HIDDEN, DIM)


def test_the_space_changes_with_weights_dimensions_and_length_and_with_nothing_else(
    encoder: SentenceTransformerEncoder, qwen3: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    def key(root: Path, **changes: Any) -> str:
        loaded = SentenceTransformerEncoder.load(profile(QWEN3, **changes), models_folder=root)
        loaded.close()
        return loaded.space.key

    assert key(copy_of(qwen3, tmp_path / "moved"), embedder_batch_tokens=64) == encoder.space.key
    assert key(qwen3, embedding_dim=32) != encoder.space.key
    assert key(qwen3, embedder_max_length=128) != encoder.space.key
    other = copy_of(qwen3, tmp_path / "other")
    weights = load_file(other / QWEN3 / "model.safetensors")
    weights["norm.weight"] = weights["norm.weight"] * 2
    save_file(weights, other / QWEN3 / "model.safetensors", metadata={"format": "pt"})
    assert key(other) != encoder.space.key


def test_a_folder_goes_by_its_last_name_wherever_it_lies(bert: Path, tmp_path: Path) -> None:
    first = SentenceTransformerEncoder.load(profile(bert))
    second = SentenceTransformerEncoder.load(profile(copy_of(bert, tmp_path / "deep" / "tiny-bert")))
    assert first.space == second.space
    assert first.space.model.startswith("tiny-bert+")
    assert str(tmp_path) not in second.space.key
    first.close()
    second.close()


# --- what can be wrong


def test_the_profile_leads_here_from_the_one_place_that_loads_encoders(bert: Path) -> None:
    loaded = load_encoder(profile(bert))
    assert isinstance(loaded, SentenceTransformerEncoder)
    loaded.close()


def test_closing_twice_is_allowed_and_encoding_afterwards_fails(bert: Path) -> None:
    loaded = SentenceTransformerEncoder.load(profile(bert))
    loaded.close()
    loaded.close()
    with pytest.raises(ScoringFailed, match="unloaded"):
        loaded.encode(["text"])


def test_a_model_that_is_not_on_the_list_is_refused() -> None:
    with pytest.raises(ModelNotAllowed):
        SentenceTransformerEncoder.load(profile("evil/model"))


def test_a_model_that_is_not_here_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelUnavailable, match="not on this machine"):
        SentenceTransformerEncoder.load(profile(QWEN3), models_folder=tmp_path)


def test_more_dimensions_than_there_are_is_refused(bert: Path) -> None:
    with pytest.raises(ModelUnavailable, match="gives 32 dimensions"):
        SentenceTransformerEncoder.load(profile(bert, embedding_dim=33))


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (None, "no modules.json"),
        ("not JSON", "cannot be read"),
        ('[{"type": "os.system"}]', "code of its own, os.system"),
        ('{"a": 1}', "cannot be read"),
    ],
)
def test_a_model_that_is_not_pooled_as_it_says_or_brings_code_is_refused(
    bert: Path, tmp_path: Path, modules: str | None, message: str
) -> None:
    broken = copy_of(bert, tmp_path / "broken")
    (broken / "modules.json").unlink()
    if modules is not None:
        (broken / "modules.json").write_text(modules)
    with pytest.raises(ModelUnavailable, match=message):
        SentenceTransformerEncoder.load(profile(broken))


def test_truncated_weights_are_refused(bert: Path, tmp_path: Path) -> None:
    broken = copy_of(bert, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelUnavailable, match="truncated"):
        SentenceTransformerEncoder.load(profile(broken))


def test_missing_weights_are_refused_and_not_made_up(bert: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    broken = copy_of(bert, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    del weights["encoder.layer.0.output.dense.weight"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelUnavailable, match=r"lacks 1 weights, such as encoder\.layer\.0\.output"):
        SentenceTransformerEncoder.load(profile(broken))


def test_an_unknown_architecture_is_refused(bert: Path, tmp_path: Path) -> None:
    broken = copy_of(bert, tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"model_type": "from_the_future"}))
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        SentenceTransformerEncoder.load(profile(broken))


def test_vectors_that_are_not_finite_never_leave(bert: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    broken = copy_of(bert, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["embeddings.LayerNorm.bias"][0] = np.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    loaded = SentenceTransformerEncoder.load(profile(broken))
    with pytest.raises(ScoringFailed, match="not finite"):
        loaded.encode(["text"])
    loaded.close()


@pytest.mark.parametrize("room", [3, 0])
def test_a_batch_that_does_not_fit_is_halved_down_to_one_text(bert: Path, minilm: MiniLMEncoder, room: int) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    def allocate(_module: Any, features: tuple[dict[str, Any]]) -> None:
        if len(features[0]["input_ids"]) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    model: Any = SentenceTransformer(str(bert), device="cpu", local_files_only=True)
    encoder = SentenceTransformerEncoder(model, minilm, name="tiny", revision="1")
    texts = ["abc", "b", "cab ab", "d", "eee", "fa", "g"]
    expected = encoder.encode(texts)
    model[0].register_forward_pre_hook(allocate)
    if room:
        for ours, theirs in zip(encoder.encode(texts), expected, strict=True):
            np.testing.assert_allclose(ours.vector, theirs.vector, atol=1e-6)
    else:
        with pytest.raises(ScoringFailed, match="out of memory on one text"):
            encoder.encode(texts)
