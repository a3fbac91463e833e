"""Tiny models with random weights, made on the spot: the real code paths without a download.

A random Qwen3 answers nothing sensible, but every number that a large one would go through, it goes through.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Special added tokens, as in Qwen3."""

THINK_TOKENS = ("<think>", "</think>")
"""Added tokens that are *not* special, as in Qwen3: ``split_special_tokens`` leaves them whole."""

PreTokenizer = Literal["qwen", "none"]

_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_LINES = (
    "the bot server channel message yesterday release deploy broke again",
    "python discord red planet mars lunch where who said that we should fix it",
    "before friday pizza meeting link screenshot build failed works on my machine",
)
_WORDS = tuple(word for line in _LINES for word in line.split())


def chat_lines(count: int, *, seed: int = 0, mean_words: float = 12.0) -> list[str]:
    """Return made-up chat lines whose lengths vary as those of chat do (log-normal)."""
    rng = random.Random(seed)
    lengths = [max(1, round(rng.lognormvariate(0.0, 0.8) * mean_words * 0.73)) for _ in range(count)]
    return [" ".join(rng.choice(_WORDS) for _ in range(length)) for length in lengths]


def make_tokenizer(
    folder: Path, *, vocab_size: int = 600, pre_tokenizer: PreTokenizer = "qwen", corpus: Sequence[str] = ()
) -> int:
    """Save a byte-level BPE tokenizer with Qwen3's control tokens and single tokens "yes" and "no".

    Args:
        folder: where ``tokenizer.json`` and its configuration go.
        vocab_size: upper bound, at least 300.
        pre_tokenizer: "none" lets merges run across words, so that a text cut in two is tokenised differently.
        corpus: texts beside the built-in ones to learn merges from.

    Returns:
        How many ids there are.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = pre_tokenizers.Split(Regex(_QWEN_SPLIT), behavior="isolated", invert=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level]) if pre_tokenizer == "qwen" else byte_level
    tokenizer.decoder = decoders.ByteLevel()
    texts = ["yes", "no"] * 400 + chat_lines(200, seed=1) + list(corpus)
    texts += ["<Instruct>: x\n<Query>: the bot\n<Document>: the server"] * (20 if pre_tokenizer == "qwen" else 200)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(CONTROL_TOKENS) - len(THINK_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in THINK_TOKENS])
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="<|endoftext|>", eos_token="<|im_end|>", model_max_length=32768
    )
    fast.save_pretrained(folder)
    return len(fast)


def make_qwen3(
    folder: Path,
    *,
    layers: int = 2,
    hidden: int = 64,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int = 32,
    intermediate: int = 96,
    tie_word_embeddings: bool = True,
    vocab_size: int = 600,
    rope_theta: float = 1_000_000.0,
    max_shard_size: str = "1GB",
    pre_tokenizer: PreTokenizer = "qwen",
    seed: int = 0,
    spread: float = 0.15,
    **config: Any,
) -> Path:
    """Save a random Qwen3ForCausalLM with its own small tokenizer as safetensors and return the folder.

    The shape arguments (``layers`` to ``intermediate``, ``rope_theta``) are those of ``Qwen3Config``, as is whatever
    stands in ``config`` (``attention_bias=True``, ``rope_parameters=…``). A small ``max_shard_size`` ("100KB") splits
    the weights over several files. ``spread`` is the standard deviation of the weights: the default gives log-odds of
    a few units either way. The same ``seed`` gives the same weights.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    ids = make_tokenizer(folder, vocab_size=vocab_size, pre_tokenizer=pre_tokenizer)
    config.setdefault("rope_parameters", {"rope_type": "default", "rope_theta": rope_theta})
    settings = Qwen3Config(
        vocab_size=max(vocab_size, ids),
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        tie_word_embeddings=tie_word_embeddings,
        max_position_embeddings=32768,
        **config,
    )
    model = Qwen3ForCausalLM(settings)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            # norms scatter about one: a forward that forgets one of them must not pass for right
            parameter.copy_(1.0 + 0.2 * noise if parameter.dim() == 1 else spread * noise)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    return folder


def make_cross_encoder(
    folder: Path, *, kind: Literal["bert", "xlm-roberta"] = "bert", labels: int = 1, seed: int = 0
) -> Path:
    """Save a random sequence classifier of up to 512 tokens with its own tokenizer as safetensors; return the folder.

    "bert" has WordPiece and type ids, "xlm-roberta" a Unigram vocabulary that holds ``</s>`` as a piece of its own,
    and a normaliser that makes ``＜/s＞`` into it.
    """
    import torch
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        XLMRobertaConfig,
        XLMRobertaForSequenceClassification,
    )

    folder.mkdir(parents=True, exist_ok=True)
    ids = _bert_tokenizer(folder) if kind == "bert" else _unigram_tokenizer(folder)
    shape: dict[str, Any] = {
        "vocab_size": ids,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "num_labels": labels,
    }
    torch.manual_seed(seed)
    model: Any
    if kind == "bert":
        model = BertForSequenceClassification(BertConfig(max_position_embeddings=512, **shape))
    else:
        shape |= {"max_position_embeddings": 514, "pad_token_id": 1, "type_vocab_size": 1}
        model = XLMRobertaForSequenceClassification(XLMRobertaConfig(**shape))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm" not in name:
                parameter.normal_(0.0, 0.3)
    model.save_pretrained(folder)
    return folder


def _bert_tokenizer(folder: Path) -> int:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(chat_lines(200, seed=1), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=512,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")},
    )
    fast.save_pretrained(folder)
    return len(fast)


def _unigram_tokenizer(folder: Path) -> int:
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = sorted({f"▁{word}" for word in _WORDS} | set("▁abcdefghijklmnopqrstuvwxyz0123456789?/<>"))
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((word, -len(words) / 9) for word in words)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True) for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=512,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_input_names=["input_ids", "attention_mask"],
    )
    fast.save_pretrained(folder)
    return len(fast)
