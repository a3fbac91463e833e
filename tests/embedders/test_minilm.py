"""The embedded model equals the published one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from cogs.memory.embedders import minilm_layers
from cogs.memory.embedders.minilm import DIM, MiniLMEncoder, embedded_folder
from cogs.memory.exceptions import ModelUnavailable

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = [
    "Mia: the samovar is broken",
    "",
    "🎉",
    "dunk: " + "a very long story about a router " * 60,
    "Tess: Übergröße, naïve café — 日本語",
    "[SEP] [CLS] </s> <|im_end|>",
]


def test_vectors_equal_sentence_transformers(encoder: MiniLMEncoder) -> None:
    from sentence_transformers import SentenceTransformer

    oracle = SentenceTransformer(str(embedded_folder()), device="cpu")
    oracle.max_seq_length = 256
    expected = oracle.encode(TEXTS[:5], normalize_embeddings=True)
    found = np.stack([text.vector for text in encoder.encode(TEXTS[:5])])
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_pass_is_one_call_into_torch(encoder: MiniLMEncoder) -> None:
    """Else each of its operations would wait for the interpreter beside a thread that runs Python."""
    assert isinstance(encoder._layers._forward, torch.jit.ScriptFunction)


@pytest.mark.parametrize("fails", [True, False])
def test_where_torch_compiles_or_packs_nothing_the_vectors_are_the_same(
    encoder: MiniLMEncoder, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    def script(_: object) -> None:
        raise RuntimeError("object has no attribute scaled_dot_product_attention")

    monkeypatch.setattr(minilm_layers, "_can_pack", lambda _: False)
    if fails:
        monkeypatch.setattr(torch.jit, "script", script)
    plain = MiniLMEncoder.load(dtype="float32")
    assert isinstance(plain._layers._forward, torch.jit.ScriptFunction) is not fails
    for one, other in zip(encoder.encode(TEXTS), plain.encode(TEXTS), strict=True):
        np.testing.assert_allclose(one.vector, other.vector, atol=2e-6)


def test_a_text_gets_the_same_vector_and_sketch_alone_and_in_a_batch(encoder: MiniLMEncoder) -> None:
    together = encoder.encode(TEXTS)
    for text, in_batch in zip(TEXTS, together, strict=True):
        [alone] = encoder.encode([text])
        np.testing.assert_allclose(alone.vector, in_batch.vector, atol=2e-6)
        bits = np.unpackbits(np.frombuffer(alone.sketch, np.uint8) ^ np.frombuffer(in_batch.sketch, np.uint8))
        assert bits.mean() < 1e-3 if len(bits) else True


def test_a_sketch_holds_one_bit_per_dimension_of_each_token(encoder: MiniLMEncoder) -> None:
    [one, empty] = encoder.encode(["samovar", ""])
    tokens = len(encoder.encode_query("samovar").token_vectors)
    assert len(one.sketch) == tokens * DIM // 8
    assert empty.sketch == b""


def test_a_question_leaves_the_thread_as_many_threads_of_torch_as_it_had(encoder: MiniLMEncoder) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        encoder.encode_query("which port does the bridge listen on?")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_control_tokens_in_a_message_are_text(encoder: MiniLMEncoder) -> None:
    typed = encoder.encode_query("[SEP]")
    assert len(typed.token_vectors) == 3  # "[", "sep", "]"


def test_offsets_point_into_the_question(encoder: MiniLMEncoder) -> None:
    query = "who broke the samovar?"
    encoded = encoder.encode_query(query)
    assert [query[a:b] for a, b in encoded.offsets][:3] == ["who", "broke", "the"]
    assert len(encoded.offsets) == len(encoded.token_vectors)


def test_altered_weights_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(embedded_folder(), folder)
    weights = folder / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(50_000_000)
        file.write(b"\x01\x02")
    with pytest.raises(ModelUnavailable, match="not the published ones"):
        MiniLMEncoder.load(folder)
    weights.unlink()
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        MiniLMEncoder.load(folder)
