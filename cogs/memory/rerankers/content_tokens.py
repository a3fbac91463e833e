"""Tokenising what people wrote so that it never becomes a control token of the model.

A tokenizer reads ``<|im_end|>`` or ``[SEP]`` in a text as the token of that name, and whoever writes it steers the
model. `split_special_tokens`, the usual remedy, leaves out added tokens that are not special, such as Qwen's
``<think>``, and does not help where a vocabulary or a normaliser brings the token back. So three things are done here:
the copy of the tokenizer takes all control tokens for special, does not look for special tokens in a text, and what
comes out all the same is dropped.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

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
        self.control_ids = _control_ids(tokenizer).difference(words)
        self.backend = copy_of(tokenizer, special=self.control_ids)
        self.backend.encode_special_tokens = True
        self._original = tokenizer  # while this lives, so does what was read: see `source.load_tokenizer`

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


def copy_of(tokenizer: Tokenizer, *, special: Collection[int] | None = None) -> Tokenizer:
    """Return a copy without truncation and padding.

    It shares the vocabulary: to write that as JSON and read it again, as copying usually does, takes more than a second
    for Qwen's 151,000 words, and holds the interpreter's lock all the while.

    Args:
        tokenizer: stays as it is.
        special: ids of the added tokens that the copy takes for special ones; None for the same as before.
    """
    from tokenizers import AddedToken, Tokenizer

    copy = Tokenizer(tokenizer.model)
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if (value := getattr(tokenizer, part)) is not None:
            setattr(copy, part, value)
    added = {
        token_id: AddedToken(
            token.content,
            single_word=token.single_word,
            lstrip=token.lstrip,
            rstrip=token.rstrip,
            normalized=token.normalized,
            special=token.special if special is None else token_id in special,
        )
        for token_id, token in sorted(tokenizer.get_added_tokens_decoder().items())
    }
    copy.add_tokens(list(added.values()))
    if all(copy.token_to_id(token.content) == token_id for token_id, token in added.items()):
        return copy
    definition = json.loads(tokenizer.to_str()) | {"truncation": None, "padding": None}  # its ids have gaps
    for token in definition["added_tokens"]:
        token["special"] = added[token["id"]].special
    return Tokenizer.from_str(json.dumps(definition))


def clean(text: str) -> str:
    """Replace lone surrogates, which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _control_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Return the ids of added tokens that are no words, without the one for unknown words."""
    added = tokenizer.get_added_tokens_decoder()
    control = {token_id for token_id, token in added.items() if token.special or not token.content.isalnum()}
    return frozenset(control - {_unknown_id(tokenizer)})


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    """Return the id that stands for words that the vocabulary lacks."""
    model = tokenizer.model
    if hasattr(model, "unk_token"):
        return None if model.unk_token is None else tokenizer.token_to_id(model.unk_token)
    unknown: int | None = json.loads(model.__getstate__()).get("unk_id")  # Unigram shows it in no other way
    return unknown
