r"""The prompt of Qwen3-Reranker, as text and as token ids.

    prefix    <|im_start|>system … <|im_start|>user\n                       control tokens, the same for everyone
    stem      <Instruct>: {instruction}\n<Query>: {query}\n<Document>:     shared by all documents of a question
    document  {document}                                                   cut to fit
    suffix    <|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n   never cut

Texts from people are tokenised apart from the prefix and the suffix by a `ContentTokenizer`, so a message that says
``<|im_end|>`` stays a message that says so. For every other text the ids are those of the official code, which
tokenises stem and document as one string.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cogs.memory.exceptions import ModelUnavailable
from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.content_tokens import ContentTokenizer, copy_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

DEFAULT_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
"""What the model's authors use when nothing is said."""

PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"

CHAT_TEMPLATE = (
    "{%- set instruct = messages | selectattr('role', 'eq', 'system') | map(attribute='content') | first -%}"
    + PREFIX
    + "{{ '<Instruct>: ' + (instruct or '"
    + DEFAULT_INSTRUCTION
    + "') + '\\n<Query>: ' + (messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first)"
    + " + '\\n<Document>: ' + (messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first) }}"
    + "{{ '<|im_end|>\\n<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' }}"
)
"""The same prompt as a chat template with the roles system (instruction), query and document.

For servers and libraries that score through a template; without one they concatenate the texts and score nonsense.
"""

_CHARACTERS_PER_TOKEN = 64
"""No text is tokenised beyond so many characters per token that may be kept: a megabyte of text costs no second."""

_PROBES = (
    Pair("what is the red planet?", "Mars, the 4th planet.", DEFAULT_INSTRUCTION),
    Pair("where's the log", "\n\nline one\n  line two\t!", "Find messages."),
    Pair("wer weiß das", "  zwei Leerzeichen, Übergröße …", "Find the answer:"),
    Pair("谁知道", "我不知道。 😀👍🏽", "Judge"),
    Pair("a", "", "b"),
    Pair("why?!", "...?", "1. x"),
    Pair("c++ 100%", "42 == 6*7 // https://example.org/a?b=c", "x\n"),
)


class Prompt(NamedTuple):
    """The token ids of one pair; the three spans joined are the whole prompt."""

    head: tuple[int, ...]
    """Prefix and instruction: the same for all questions under one instruction."""
    query: tuple[int, ...]
    """The rest of what all documents of a question share."""
    document: tuple[int, ...]
    """The document and the suffix; never empty."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The whole prompt."""
        return self.head + self.query + self.document


def official_text(pair: Pair) -> str:
    """Return the whole prompt as the model's authors write it."""
    return f"{PREFIX}{_body_text(pair)}{SUFFIX}"


class AnswerTokens(NamedTuple):
    """The ids of the two possible answers."""

    yes: int
    no: int


class PromptTokenizer:
    """Turns pairs into prompts.

    Args:
        tokenizer: a loaded ``tokenizers.Tokenizer``; it is copied, not changed.
        max_length: tokens of a whole prompt, at most.

    Attributes:
        answers: ids of the two possible answers.
        max_length: as given.
        has_frame: whether the tokenizer puts tokens of its own around every text.
        is_split: whether stem and document are tokenised apart.

    Raises:
        ModelUnavailable: no single token "yes" or "no", or ``max_length`` leaves no room for a document.
    """

    MIN_ROOM = 64
    """Tokens that must be left for stem and document."""

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        self.answers = _answer_tokens(tokenizer)
        self.max_length = max_length
        template = copy_of(tokenizer)
        before, after = _own_frame(template)
        self.has_frame = bool(before or after)
        self._prefix = (*template.encode(PREFIX, add_special_tokens=False).ids, *before)
        self._suffix = (*after, *template.encode(SUFFIX, add_special_tokens=False).ids)
        self._content = ContentTokenizer(tokenizer, words={*self.answers, *_template_words(template)})
        self._room = max_length - len(self._prefix) - len(self._suffix)
        if self._room < self.MIN_ROOM:
            least = max_length - self._room + self.MIN_ROOM
            raise ModelUnavailable(f"max_length must be at least {least} for this model's prompt; it is {max_length}.")

        self.is_split = self._splitting_is_exact()

    def prompts(self, pairs: Sequence[Pair]) -> list[Prompt]:
        """Return the prompt of each pair, in order."""
        return self._split_prompts(pairs) if self.is_split else self._joint_prompts(pairs)

    @property
    def control_ids(self) -> frozenset[int]:
        """Ids that stand in no text, only in the prefix and the suffix."""
        return self._content.control_ids

    def close(self) -> None:
        """Nothing to end here: see `TokenizerProcess`."""

    def document_lengths(self, pairs: Sequence[Pair]) -> list[int]:
        """Return how many tokens each pair costs beyond what it shares with the others of its question."""
        documents = self._encode([f" {pair.document}" for pair in pairs])
        return [min(len(ids), self._room) + len(self._suffix) for ids in documents]

    # --- two ways to the same ids

    def _split_prompts(self, pairs: Sequence[Pair]) -> list[Prompt]:
        heads = self._encode_distinct([_head_text(pair) for pair in pairs])
        queries = self._encode_distinct([_query_text(pair) for pair in pairs])
        documents = self._encode_distinct([f" {pair.document}" for pair in pairs])
        prompts = []
        for pair, head, query, document in zip(pairs, heads, queries, documents, strict=True):
            if len(head) + len(query) + min(len(document), self._reserve) > self._room:
                head, query = self._bounded_stem(pair)  # noqa: PLW2901 - the same two spans, cut
            left = self._room - len(head) - len(query)
            prompts.append(Prompt(self._prefix + head, query, document[:left] + self._suffix))
        return prompts

    @property
    def _reserve(self) -> int:
        """Tokens kept for the document when instruction and question would take everything."""
        return min(128, self._room // 4)

    def _bounded_stem(self, pair: Pair) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Cut the instruction to a quarter of the room and the question to what is left."""
        instruct, query_mark, question, document_mark = self._encode(
            [f"<Instruct>: {pair.instruction}", "\n<Query>:", f" {pair.query}", "\n<Document>:"]
        )
        head = instruct[: self._room // 4] + query_mark
        left = self._room - self._reserve - len(head) - len(document_mark)
        return head, question[: max(0, left)] + document_mark

    def _joint_prompts(self, pairs: Sequence[Pair]) -> list[Prompt]:
        """Tokenise stem and document as one string; what the documents of a question share is found afterwards."""
        bodies = [ids[: self._room] for ids in self._encode_distinct([_body_text(pair) for pair in pairs])]
        shared: dict[tuple[str, str], tuple[int, ...]] = {}
        for pair, body in zip(pairs, bodies, strict=True):
            question = (pair.query, pair.instruction)
            shared[question] = _common_prefix(shared.get(question, body), body)
        prompts = []
        for pair, body in zip(pairs, bodies, strict=True):
            stem = shared[pair.query, pair.instruction]
            prompts.append(Prompt(self._prefix, stem, body[len(stem) :] + self._suffix))
        return prompts

    def _splitting_is_exact(self) -> bool:
        """Whether texts tokenised in three pieces give the ids of the official one string."""
        for pair in _PROBES:
            *pieces, joint = self._encode([_head_text(pair), _query_text(pair), f" {pair.document}", _body_text(pair)])
            if sum(pieces, ()) != joint:
                return False
        return True

    # --- tokenising

    def _encode_distinct(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        distinct = list(dict.fromkeys(texts))
        ids = dict(zip(distinct, self._encode(distinct), strict=True))
        return [ids[text] for text in texts]

    def _encode(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        limit = self.max_length * _CHARACTERS_PER_TOKEN
        return self._content.encode([text[:limit] for text in texts])


def _head_text(pair: Pair) -> str:
    return f"<Instruct>: {pair.instruction}\n<Query>:"


def _query_text(pair: Pair) -> str:
    return f" {pair.query}\n<Document>:"


def _body_text(pair: Pair) -> str:
    return f"{_head_text(pair)}{_query_text(pair)} {pair.document}"


def _answer_tokens(tokenizer: Tokenizer) -> AnswerTokens:
    yes, no = tokenizer.token_to_id("yes"), tokenizer.token_to_id("no")
    if yes is None or no is None:
        raise ModelUnavailable('The model\'s tokenizer has no single tokens "yes" and "no": this is no Qwen3 reranker.')
    return AnswerTokens(yes, no)


def _own_frame(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return what the tokenizer puts around every text by itself: the official code lets it. Qwen's puts nothing."""
    text = _body_text(_PROBES[0])
    bare, framed = tokenizer.encode(text, add_special_tokens=False).ids, tokenizer.encode(text).ids
    for start in range(len(framed) - len(bare) + 1):
        if framed[start : start + len(bare)] == bare:
            return framed[:start], framed[start + len(bare) :]
    return [], []


def _template_words(tokenizer: Tokenizer) -> set[int]:
    """Return what harmless prompts consist of: a vocabulary may have ``<Query>`` or a line break added to it."""
    return {token for pair in _PROBES for token in tokenizer.encode(_body_text(pair), add_special_tokens=False).ids}


def _common_prefix(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return a[:i]
    return min(a, b, key=len)
