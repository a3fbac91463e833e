"""Copies of tokenizers, and vocabularies that are made in other ways than Qwen's."""

from __future__ import annotations

import gc
import json
import weakref
from typing import TYPE_CHECKING

import pytest

from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.content_tokens import ContentTokenizer, copy_of
from cogs.memory.rerankers.qwen3_prompt import PromptTokenizer
from cogs.memory.rerankers.source import Source, load_tokenizer
from tests.rerankers.official_qwen3 import ANSWER, SYSTEM, body
from tests.tiny_models import CONTROL_TOKENS, THINK_TOKENS, chat_lines, make_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

TEXTS = ["", " two  blanks\n", "Übergröße 😀", "<|im_end|> yes <think>", *chat_lines(5)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    from tokenizers import Tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(folder)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def with_gap(tokenizer: Tokenizer) -> Tokenizer:
    """The same, its last added token seven ids further."""
    from tokenizers import Tokenizer

    definition = json.loads(tokenizer.to_str())
    definition["added_tokens"][-1]["id"] += 7
    return Tokenizer.from_str(json.dumps(definition))


@pytest.mark.parametrize("has_gap", [False, True])
def test_a_copy_tokenises_as_its_original_and_stands_alone(tokenizer: Tokenizer, has_gap: bool) -> None:
    original = with_gap(tokenizer) if has_gap else tokenizer
    copy = copy_of(original)
    for text in TEXTS:
        assert copy.encode(text).ids == original.encode(text).ids
    copy.enable_truncation(1)
    copy.encode_special_tokens = True
    assert original.truncation is None
    assert original.encode(CONTROL_TOKENS[0]).ids == [original.token_to_id(CONTROL_TOKENS[0])]


@pytest.mark.parametrize("has_gap", [False, True])
def test_no_text_gives_a_control_token(tokenizer: Tokenizer, has_gap: bool) -> None:
    original = with_gap(tokenizer) if has_gap else tokenizer
    content = ContentTokenizer(original)
    assert content.control_ids == {original.token_to_id(token) for token in (*CONTROL_TOKENS, *THINK_TOKENS)}
    [ids] = content.encode([" ".join((*CONTROL_TOKENS, *THINK_TOKENS))])
    assert ids
    assert content.control_ids.isdisjoint(ids)


def official_ids(tokenizer: Tokenizer, pair: Pair) -> list[int]:
    """As the published code does it: what a tokenizer adds of itself stands around the body."""
    ends = [tokenizer.encode(text, add_special_tokens=False).ids for text in (SYSTEM, ANSWER)]
    return [*ends[0], *tokenizer.encode(body(pair)).ids, *ends[1]]


@pytest.mark.parametrize("special", [False, True])
def test_words_of_the_prompt_may_be_added_tokens(tokenizer: Tokenizer, special: bool) -> None:
    from tokenizers import AddedToken

    own = copy_of(tokenizer)
    own.add_tokens([AddedToken(word, special=special) for word in ("<Instruct>", "<Query>:", "<Document>", "\n")])
    pair = Pair("who?", "the bot\nbroke", "Find it.")
    assert list(PromptTokenizer(own, 512).prompts([pair])[0].ids) == official_ids(own, pair)


@pytest.mark.parametrize("template", ["<|endoftext|> $A", "$A <|endoftext|>"])
def test_what_a_tokenizer_puts_around_texts_stands_where_the_official_code_has_it(
    tokenizer: Tokenizer, template: str
) -> None:
    from tokenizers import processors

    own = copy_of(tokenizer)
    ids = [("<|endoftext|>", own.token_to_id("<|endoftext|>"))]
    own.post_processor = processors.TemplateProcessing(single=template, special_tokens=ids)
    pair = Pair("who?", "the bot broke", "Find it.")
    prompt = PromptTokenizer(own, 512).prompts([pair])[0]
    assert list(prompt.ids) == official_ids(own, pair)
    long = PromptTokenizer(own, 300).prompts([Pair("who?", "word " * 1000, "Find it.")])[0]
    ending = tuple(own.encode(ANSWER, add_special_tokens=False).ids)
    assert len(long.ids) == 300
    assert prompt.ids[-len(ending) :] == long.ids[-len(ending) :] == ending


def test_an_unknown_word_may_be_an_added_token() -> None:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    words = ["<unk>", "yes", "no", "the", "bot"]
    own = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    own.add_special_tokens([AddedToken("<unk>", special=True)])
    pair = Pair("the bot", "xyzzy the", "no")
    assert list(PromptTokenizer(own, 512).prompts([pair])[0].ids) == official_ids(own, pair)


def test_a_model_loaded_beside_its_predecessor_shares_the_vocabulary_that_was_read(tmp_path: Path) -> None:
    make_tokenizer(tmp_path)
    source = Source(str(tmp_path))
    first = PromptTokenizer(load_tokenizer(source), 512)
    again = load_tokenizer(source)
    assert again is load_tokenizer(source)
    assert PromptTokenizer(again, 512).prompts([Pair("a", "b", "c")]) == first.prompts([Pair("a", "b", "c")])
    make_tokenizer(tmp_path, vocab_size=400)
    assert load_tokenizer(source) is not again
    reference = weakref.ref(again)
    del first, again
    gc.collect()
    assert reference() is None
