"""Tokenising what people wrote so that it never becomes a control token of the model.

A tokenizer reads ``<|im_end|>`` or ``[SEP]`` in a text as the token of that name, and whoever writes it steers the
model. `split_special_tokens`, the usual remedy, leaves out added tokens that are not special, such as Qwen's
``<think>``, and does not help where a vocabulary or a normaliser brings the token back. So three things are done here:
the copy of the tokenizer takes all control tokens for special, does not look for special tokens in a text, and what
comes out all the same is dropped.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tokenizers import Encoding, Tokenizer


class ContentTokenizer:
    """A copy of a tokenizer for texts from people.

    Args:
        tokenizer: copied, not changed; its truncation and padding are left behind.
        words: ids that are words even if the tokenizer lists them as added tokens.

    Attributes:
        control_ids: ids that never stand in a text.
        backend: the copy; truncation may be set on it.
    """

    def __init__(self, tokenizer: Tokenizer, *, words: Collection[int] = ()) -> None:
        from tokenizers import Tokenizer

        definition = without_limits(tokenizer)
        self.control_ids = _control_ids(definition).difference(words)
        for token in definition["added_tokens"]:
            token["special"] = token["id"] in self.control_ids
        self.backend = Tokenizer.from_str(json.dumps(definition))
        self.backend.encode_special_tokens = True

    def encode(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the ids of each text."""
        encodings = self.backend.encode_batch_fast([clean(text) for text in texts], add_special_tokens=False)
        return [self._without_control(encoding.ids) for encoding in encodings]

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        """Return ids and type ids of each pair, joined by the model's own control tokens."""
        encodings = self.backend.encode_batch_fast([(clean(a), clean(b)) for a, b in pairs], add_special_tokens=True)
        return [self._pair_without_control(encoding) for encoding in encodings]

    def _without_control(self, ids: list[int]) -> tuple[int, ...]:
        return tuple(ids) if self.control_ids.isdisjoint(ids) else tuple(i for i in ids if i not in self.control_ids)

    def _pair_without_control(self, encoding: Encoding) -> tuple[list[int], list[int]]:
        """Keep control tokens only where the tokenizer put them itself."""
        kept = [
            (token, kind)
            for token, kind, added in zip(encoding.ids, encoding.type_ids, encoding.special_tokens_mask, strict=True)
            if added or token not in self.control_ids
        ]
        return [token for token, _ in kept], [kind for _, kind in kept]


def without_limits(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return a tokenizer's definition (``tokenizer.json``) without truncation and padding."""
    definition: dict[str, Any] = json.loads(tokenizer.to_str())
    return definition | {"truncation": None, "padding": None}


def clean(text: str) -> str:
    """Replace lone surrogates, which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _control_ids(definition: dict[str, Any]) -> frozenset[int]:
    """Return the ids of added tokens that are no words, without the one for unknown words."""
    model = definition["model"]
    added = definition["added_tokens"]
    unknown = {model.get("unk_id")} | {token["id"] for token in added if token["content"] == model.get("unk_token")}
    control = (token["id"] for token in added if token["special"] or not token["content"].isalnum())
    return frozenset(control) - unknown
