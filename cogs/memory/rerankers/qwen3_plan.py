"""What a packed forward pass runs over: which tokens, in which order, continuing what. No tensors here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from cogs.memory.rerankers.qwen3_contexts import Context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.rerankers.qwen3_contexts import ContextCache
    from cogs.memory.rerankers.qwen3_prompt import Prompt


class Span(NamedTuple):
    """Where a sequence lies among the tokens of a pass, and what it continues."""

    start: int
    length: int
    context: Context | None

    @property
    def stop(self) -> int:
        """One past the last token."""
        return self.start + self.length

    @property
    def offset(self) -> int:
        """Position of the first token in its own prompt."""
        return self.context.length if self.context else 0


class Stem(NamedTuple):
    """A span that others continue; the pass computes ``result``."""

    span: Span
    result: Context


@dataclass(slots=True)
class Pass:
    """Tokens that go through the layers together: stems first, then documents by context and length."""

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    stems: list[Stem] = field(default_factory=list)
    documents: list[Span] = field(default_factory=list)

    def add(self, tokens: Sequence[int], context: Context | None) -> Span:
        """Append a sequence that continues ``context``."""
        span = Span(len(self.ids), len(tokens), context)
        self.ids.extend(tokens)
        self.positions.extend(range(span.offset, span.offset + span.length))
        return span


@dataclass(frozen=True, slots=True)
class Plan:
    """Passes that may run at once: the first computes the stems, the others follow it layer by layer."""

    passes: list[Pass]
    order: list[int]
    """The prompts that the passes' documents belong to, pass after pass."""
    contexts: dict[tuple[int, ...], Context]
    """Every context the plan uses, old and new."""


def make_plan(prompts: Sequence[Prompt], cache: ContextCache, parts: int) -> Plan:
    """Lay out prompts in at most ``parts`` passes of about equally many tokens."""
    stems = _Stems(cache)
    continued = [stems.context_of(prompt) for prompt in prompts]
    rank = {id(context): number for number, context in enumerate(continued)}
    order = sorted(range(len(prompts)), key=lambda i: (rank[id(continued[i])], len(prompts[i].document)))
    passes = [stems.plan]
    tokens = len(stems.plan.ids)
    share = (tokens + sum(len(prompt.document) for prompt in prompts)) / parts
    for i in order:
        document = prompts[i].document
        if passes[-1].documents and tokens + len(document) / 2 > share * len(passes):
            passes.append(Pass())
        passes[-1].documents.append(passes[-1].add(document, continued[i]))
        tokens += len(document)
    return Plan(passes, order, stems.contexts)


class _Stems:
    """Finds the contexts of prompts, and plans those that are not known."""

    def __init__(self, cache: ContextCache) -> None:
        self.plan = Pass()
        self.contexts: dict[tuple[int, ...], Context] = {}
        self._cache = cache

    def context_of(self, prompt: Prompt) -> Context:
        """Return what a prompt's document continues."""
        head = self._get(prompt.head, prompt.head, None)
        return self._get(prompt.head + prompt.query, prompt.query, head)

    def _get(self, ids: tuple[int, ...], own: tuple[int, ...], parent: Context | None) -> Context:
        """Return the context of ``ids``: known, planned already, or planned now as ``own`` behind ``parent``."""
        context = self.contexts.get(ids) or self._cache.get(ids)
        if context is None:
            context = Context(len(ids))
            self.plan.stems.append(Stem(self.plan.add(own, parent), context))
        self.contexts[ids] = context
        return context


def tokens_to_run(prompts: Sequence[Prompt], cache: ContextCache) -> list[int]:
    """Return for each prompt how many tokens a plan for it and those before it would run."""
    known: set[tuple[int, ...]] = set()
    used, totals = 0, []
    for prompt in prompts:
        used += len(prompt.document)
        for ids, own in ((prompt.head, len(prompt.head)), (prompt.head + prompt.query, len(prompt.query))):
            used += 0 if ids in known or ids in cache else own
            known.add(ids)
        totals.append(used)
    return totals
