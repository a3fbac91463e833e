"""Quotes in place of a language model, alone and where one fails."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cogs.chat.conversation import Conversation, Turn
from cogs.chat.exceptions import ReplyFailed
from cogs.chat.providers.extractive import ExtractiveProvider
from cogs.chat.providers.failures import ProviderFailed
from cogs.chat.providers.fallback import with_fallback
from cogs.chat.providers.reply_texts import ENGLISH, GERMAN, reply_texts_for
from cogs.chat.splitting import split_reply
from cogs.memory.context_builder import MemoryContext
from tests.chat.samples import TRACE, remembered
from tests.discord_reading import read
from tests.injection_corpus import NAMES, PAYLOADS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cogs.chat.providers import ReplyProvider

ASKED = (Turn("user", "Ada", "when is tea?"),)


async def answered(provider: ReplyProvider, memory: MemoryContext | None) -> str:
    return "".join([piece async for piece in provider.reply(Conversation("", ASKED, memory))])


async def test_it_quotes_the_best_memories_first_by_their_numbers() -> None:
    memory = remembered("Tea is at five.", "Bring cups.", "Mind the cat.", "Not so important.")
    assert await answered(ExtractiveProvider(), memory) == (
        "Here is what I remember:\n"
        "> **Mia**, 2025-03-01: Tea is at five. [4]\n"
        "> **Mia**, 2025-03-01: Bring cups. [3]\n"
        "> **Mia**, 2025-03-01: Mind the cat. [2]"
    )
    assert [source.message.text for source in memory.sources][3] == "Tea is at five."


async def test_what_only_stands_beside_what_was_found_comes_last() -> None:
    memory = remembered("Tea is at five.", "Who knows when?")
    best, beside = memory.sources[1], replace(memory.sources[0], rank=0, relevance=0.0)
    answer = await answered(ExtractiveProvider(), replace(memory, sources=(beside, best)))
    assert [line[-3:] for line in answer.splitlines()[1:]] == ["[2]", "[1]"]


async def test_it_says_so_when_there_is_nothing() -> None:
    for memory in (None, MemoryContext("", (), 0, TRACE)):
        assert await answered(ExtractiveProvider(), memory) == "I don't remember anything about that."
        assert await answered(ExtractiveProvider(reply_texts_for("de")), memory) == "Daran erinnere ich mich nicht."


def test_german_has_a_sentence_of_its_own_for_everything() -> None:
    same = {name for name in ENGLISH.__slots__ if getattr(ENGLISH, name) == getattr(GERMAN, name)}
    assert same == {"quoted"}


async def test_long_memories_are_cut_and_fit_into_one_message() -> None:
    answer = await answered(ExtractiveProvider(), remembered(*(f"{n} " + "tea " * 500 for n in range(3))))
    assert split_reply(answer) == [answer]
    assert answer.count("…") == 3


@pytest.mark.parametrize("payload", [*PAYLOADS, *NAMES])
async def test_a_payload_is_quoted_and_does_nothing(payload: str) -> None:
    answer = await answered(ExtractiveProvider(), remembered(payload, "Tea is at five.", author=payload))
    lines = answer.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("> **") for line in lines[1:])
    assert sorted(re.findall(r"(?<!\\)\[(\d+)\]", answer)) == ["1", "2"]
    for part in (answer, *split_reply(answer)):
        reading = read(part)
        assert (reading.pings, reading.unfurled, reading.masked) == ([], [], [])


class Failing:
    """Says something, and fails."""

    name = "failing"
    remote = True

    def __init__(self, *pieces: str, error: ReplyFailed | None) -> None:
        self.pieces = pieces
        self.error = error
        self.closed = 0

    async def reply(self, _: Conversation) -> AsyncIterator[str]:
        for piece in self.pieces:
            yield piece
        if self.error is not None:
            raise self.error

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def close(self) -> None:
        self.closed += 1


async def test_a_provider_that_fails_is_stood_in_for_with_one_honest_sentence() -> None:
    memory = remembered("Tea is at five.")
    quotes = await answered(ExtractiveProvider(), memory)
    failing = with_fallback(Failing(error=ProviderFailed("unreachable")))
    assert await answered(failing, memory) == f"The language model cannot be reached right now.\n{quotes}"
    own_words = with_fallback(Failing(error=ReplyFailed("I am out of tea.")))
    assert await answered(own_words, memory) == f"I am out of tea.\n{quotes}"
    german = with_fallback(Failing(error=ProviderFailed("slow")), texts=GERMAN)
    assert (await answered(german, None)).splitlines() == [GERMAN.slow, GERMAN.nothing]


async def test_an_answer_that_breaks_off_is_kept_and_one_that_is_empty_is_a_failure() -> None:
    memory = remembered("Tea is at five.")
    broken = await answered(with_fallback(Failing("Tea is", error=ProviderFailed("broke_off"))), memory)
    assert broken.startswith(f"Tea is\n\n{ENGLISH.broke_off}\nHere is what I remember:\n> ")
    empty = await answered(with_fallback(Failing(" ", error=None)), memory)
    assert empty.strip().startswith(f"{ENGLISH.empty}\nHere is what I remember:\n> ")


async def test_a_provider_without_a_deadline_of_its_own_gets_one() -> None:
    class Hanging(Failing):
        async def reply(self, _: Conversation) -> AsyncIterator[str]:
            yield "Tea"
            await asyncio.Event().wait()

    answer = await answered(with_fallback(Hanging(error=None), deadline_s=0.1), None)
    assert answer == f"Tea\n\n{ENGLISH.slow}\n{ENGLISH.nothing}"


async def test_a_provider_that_answers_is_left_alone() -> None:
    inner = Failing("At", " five.", error=None)
    provider = with_fallback(inner)
    assert await answered(provider, None) == "At five."
    assert (provider.name, provider.remote, provider.count_tokens("tea")) == ("failing", True, 3)
    await provider.close()
    assert inner.closed == 1
    extractive = ExtractiveProvider()
    assert with_fallback(extractive) is extractive
