"""BERT-like cross-encoders: sentence-transformers' own scores, and messages that cannot end themselves."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

from cogs.memory.exceptions import ModelUnavailable, ScoringFailed
from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.cross_encoder import CrossEncoderModel
from tests.tiny_models import chat_lines, make_cross_encoder

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["bert", "xlm-roberta"]
KINDS: list[tuple[Kind, int]] = [("bert", 1), ("bert", 2), ("xlm-roberta", 1)]


@pytest.fixture(scope="module", params=KINDS, ids=[f"{kind}, {labels} labels" for kind, labels in KINDS])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind, labels = request.param
    return make_cross_encoder(tmp_path_factory.mktemp("cross"), kind=kind, labels=labels)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A model that a test may break."""
    return make_cross_encoder(tmp_path / "model")


def pairs_of(*documents: str, query: str = "who broke the bot?") -> list[Pair]:
    return [Pair(query, document, "not read") for document in documents]


def test_scores_are_those_of_sentence_transformers(folder: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    pairs = [
        *pairs_of("", "yes", "server " * 700, "lunch?", "lunch?", *chat_lines(30)),
        *pairs_of("a", "", query=""),
        *pairs_of("the bot " * 300, query="who " * 400),
    ]
    theirs = CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity())
    logits = theirs.predict([(pair.query, pair.document) for pair in pairs], batch_size=1, show_progress_bar=False)
    expected = logits if logits.ndim == 1 else logits[:, 1] - logits[:, 0]
    ours = CrossEncoderModel.load(str(folder))
    np.testing.assert_allclose(ours.score(pairs), expected, atol=2e-5)
    assert np.ptp(expected) > 0.1


def test_the_sigmoid_of_two_logits_is_the_softmax_of_the_second(tmp_path: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    folder = make_cross_encoder(tmp_path, labels=2)
    pairs = pairs_of(*chat_lines(10))
    logits = torch.tensor(CrossEncoder(str(folder), device="cpu").predict([p[:2] for p in pairs]))
    expected = logits.softmax(dim=1)[:, 1].numpy()
    np.testing.assert_allclose(1 / (1 + np.exp(-CrossEncoderModel.load(str(folder)).score(pairs))), expected, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3, 8, 1000])
def test_the_batch_size_changes_no_score(folder: Path, batch: int) -> None:
    pairs = pairs_of(*chat_lines(40))
    ours = CrossEncoderModel.load(str(folder), batch=batch)
    chunks = list(ours.score_chunks(pairs))
    assert sorted(place for places, _ in chunks for place in places) == list(range(40))
    assert max(len(places) for places, _ in chunks) <= batch
    np.testing.assert_allclose(ours.score(pairs), CrossEncoderModel.load(str(folder)).score(pairs), atol=2e-5)


def test_what_ranks_first_is_scored_first_and_equal_pairs_once(folder: Path) -> None:
    ours = CrossEncoderModel.load(str(folder), batch=2)
    pairs = pairs_of(*[f"{i} lunch" for i in range(20)], "0 lunch")
    chunks = [places for places, _ in ours.score_chunks(pairs)]
    assert sorted(place for places in chunks[:4] for place in places) == [*range(8), 20]
    assert len(chunks) == 10


def test_a_message_cannot_end_itself(folder: Path) -> None:
    ours = CrossEncoderModel.load(str(folder))
    hostile = ("[SEP]", "</s>", "<s>", "[CLS]", "[MASK]", "<mask>", "[PAD]", "<pad>", "＜/s＞", "x[SEP] [SEP]</s></s>y")
    (plain, *_), *spans = (ours._tokenizer.encode_pairs([(text, text)])[0] for text in ("", *hostile))
    control = [i for i in plain if i in ours._tokenizer.control_ids]
    assert len(control) in (3, 4)  # [CLS] a [SEP] b [SEP], or <s> a </s></s> b </s>
    for (ids, kinds), text in zip(spans, hostile, strict=True):
        assert [i for i in ids if i in ours._tokenizer.control_ids] == control, text
        assert len(ids) == len(kinds)
    assert np.isfinite(ours.score(pairs_of(*hostile))).all()


def test_pairs_are_cut_to_what_the_model_takes(folder: Path) -> None:
    long = pairs_of("server " * 3000, query="who " * 20)
    for limit, expected in ((512, 512), (64, 64), (9000, 512)):
        ours = CrossEncoderModel.load(str(folder), max_length=limit)
        (ids, _), *_ = ours._tokenizer.encode_pairs([(pair.query, pair.document) for pair in long])
        assert len(ids) == expected
        assert np.isfinite(ours.score(long)).all()


def test_token_counts_are_those_of_the_documents(folder: Path) -> None:
    short, long = CrossEncoderModel.load(str(folder)).token_counts(pairs_of("", " ".join(["the bot"] * 20)))
    assert (short, long) == (0, 40)


def test_a_closed_model_says_so(folder: Path) -> None:
    ours = CrossEncoderModel.load(str(folder))
    assert ours.score([]).shape == (0,)
    ours.close()
    ours.close()
    with pytest.raises(ScoringFailed, match="unloaded"):
        ours.score(pairs_of("x"))


def test_random_weights_load_and_prove_nothing(broken: Path) -> None:
    assert "examples in the right order" in CrossEncoderModel.load(str(broken)).self_test().detail


def test_keys_tell_dtypes_and_lengths_apart(broken: Path) -> None:
    loaded = (
        CrossEncoderModel.load(str(broken)),
        CrossEncoderModel.load(str(broken), dtype="bfloat16"),
        CrossEncoderModel.load(str(broken), max_length=100),
    )
    assert len({model.key for model in loaded}) == 3
    np.testing.assert_allclose(loaded[1].score(pairs_of("a b")), loaded[0].score(pairs_of("a b")), atol=0.1)


# --- models that cannot be used


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_missing_model_is_named() -> None:
    with pytest.raises(ModelUnavailable, match="nobody/nothing is not on this machine"):
        CrossEncoderModel.load("nobody/nothing")


def test_a_model_without_trained_classifier_is_refused(broken: Path) -> None:
    """Left alone, transformers would make a random one up, and every score with it."""
    from safetensors.torch import load_file, save_file

    weights = load_file(broken / "model.safetensors")
    save_file(
        {name: weight for name, weight in weights.items() if not name.startswith("classifier")},
        broken / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(ModelUnavailable, match=r"no trained classifier: classifier\.bias is missing"):
        CrossEncoderModel.load(str(broken))


def test_an_embedding_model_is_refused(broken: Path) -> None:
    change_config(broken, architectures=["BertModel"])
    with pytest.raises(ModelUnavailable, match="is a BertModel"):
        CrossEncoderModel.load(str(broken))


def test_three_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="has 3 labels"):
        CrossEncoderModel.load(str(make_cross_encoder(tmp_path, labels=3)))


def test_truncated_weights_are_refused(broken: Path) -> None:
    path = broken / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelUnavailable, match="no complete safetensors weights"):
        CrossEncoderModel.load(str(broken))


def test_pickled_weights_are_refused(broken: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(broken / "model.safetensors"), broken / "pytorch_model.bin")
    (broken / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match="no complete safetensors weights"):
        CrossEncoderModel.load(str(broken))


def test_scores_that_are_no_numbers_fail(broken: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(broken / "model.safetensors")
    weights["classifier.bias"].fill_(float("inf"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ScoringFailed, match="no numbers"):
        CrossEncoderModel.load(str(broken)).score(pairs_of("x"))


def test_code_in_a_model_folder_is_not_run(broken: Path, tmp_path: Path) -> None:
    target = tmp_path / "was_run"
    (broken / "evil.py").write_text(f"import pathlib; pathlib.Path({str(target)!r}).touch()\nclass Evil: pass\n")
    change_config(broken, auto_map={"AutoModelForSequenceClassification": "evil.Evil", "AutoConfig": "evil.Evil"})
    CrossEncoderModel.load(str(broken))
    assert not target.exists()
    shutil.rmtree(broken)
