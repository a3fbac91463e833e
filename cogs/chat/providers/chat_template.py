"""A model's own chat template, filled in so that no text can become one of its control tokens.

The template is rendered with a mark in place of each text. What stands between the marks is the model's: it is
tokenised with its control tokens. The texts are people's: they are tokenised apart, by a `ContentTokenizer`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from cogs.memory.exceptions import ModelUnavailable
from cogs.memory.rerankers.content_tokens import ContentTokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cogs.chat.prompt import ChatMessage

_MARK: Final = "\ue000{}\ue001"  # of the private use area: no template holds it
_MARKS = re.compile("\ue000(\\d+)\ue001")
_PROBE: Final[tuple[ChatMessage, ...]] = (
    {"role": "system", "content": "You are kind."},
    {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": "Hello to you."},
    {"role": "user", "content": "When is tea?"},
)


class ChatTemplate:
    """Turns chat messages into the token ids of a prompt.

    Args:
        tokenizer: a fast tokenizer of transformers, with a chat template.

    Raises:
        ModelUnavailable: it has no template, or one that does not take a system message and turns.

    Attributes:
        starts_thinking: whether a prompt ends in the middle of the model's thoughts, although it was told not to think.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._scaffold = tokenizer.backend_tokenizer
        self._content = ContentTokenizer(tokenizer.backend_tokenizer)
        if not tokenizer.chat_template:
            raise ModelUnavailable("The language model has no chat template: it was not made for conversations.")
        rendered = self._rendered(_PROBE)
        self.starts_thinking = rendered.rfind("<think>") > rendered.rfind("</think>")

    def ids(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Return the prompt of a conversation, up to where the model's answer begins."""
        texts = iter(self._content.encode([message["content"].strip() for message in messages]))
        ids: list[int] = []
        for place, part in enumerate(_MARKS.split(self._rendered(messages))):
            ids += next(texts) if place % 2 else self._scaffold.encode(part, add_special_tokens=False).ids
        return ids

    def count_tokens(self, text: str) -> int:
        """Return the tokens of a text."""
        return len(self._content.encode([text])[0])

    def decoder(self) -> Callable[[int], str]:
        """Return what turns the tokens of one answer into text, one by one: a character may need several."""
        from tokenizers.decoders import DecodeStream

        stream = DecodeStream(skip_special_tokens=True)
        return lambda token: stream.step(self._scaffold, token) or ""

    def control_count(self, ids: Sequence[int]) -> int:
        """Return how many ids steer the model."""
        return sum(token in self._content.control_ids for token in ids)

    def _rendered(self, messages: Sequence[ChatMessage]) -> str:
        """Return the template's text with the marks of all messages, each once and in their order."""
        from jinja2 import TemplateError

        marked = [{"role": each["role"], "content": _MARK.format(place)} for place, each in enumerate(messages)]
        try:
            rendered: str = self._tokenizer.apply_chat_template(
                marked, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        except (TemplateError, ValueError, TypeError, KeyError) as error:
            raise ModelUnavailable("The language model's chat template does not take this conversation.") from error
        if _MARKS.findall(rendered) != [str(place) for place in range(len(messages))]:
            raise ModelUnavailable("The language model's chat template leaves out, moves or repeats messages.")
        return rendered
