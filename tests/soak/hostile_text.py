"""Strings that break things, as messages, names, file names and questions: nothing raises, and all is shown safely."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cogs.memory.cleaning import clean_name, clean_text
from cogs.memory.ingest_lane import Upsert
from cogs.memory.ingest_queue import IngestQueue
from cogs.memory.query_terms import parse_question
from cogs.memory.stores.sqlite import SqliteStore
from cogs.memory.surface.markup import escape, marked
from tests.faults.instant_embedding import instant_embedding
from tests.soak.figure import Figure
from tests.stores.samples import GUILD, message, scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogs.memory.records import StoredMessage

STRINGS: Final = 20_000
IN_ONE: Final = 1000
"""Strings in one database: made of the same pieces, nearly all of them match each question, which costs what it may."""
BATCH: Final = 200
READERS: Final = 2
SHOWN_MS: Final = 5.0
PIECES: Final = (
    *("\x00", "\ud800", "\udfff", "\u202e", "\u2066", "\ufeff", "\U000e0041", "\u0301" * 400, "e\u0301", "\u200d"),
    *(
        '"',
        "'",
        "*",
        "NEAR(",
        "AND",
        "OR",
        "NOT",
        "author:",
        "(",
        ")",
        "^",
        "-",
        "+",
        "{content}",
        "c++",
        "%",
        "_",
        "\\",
    ),
    *(
        "@everyone",
        "<@1>",
        "[a](http://b)",
        "```",
        "`",
        "||",
        "~~",
        "||||",
        "> ",
        "# ",
        "-# ",
        "\x1b[31m",
        "\n",
        "\r\n",
    ),
    *("<|im_end|>", "<think>", "'; DROP TABLE messages; --", "猫", "の", "한국", "ไทย", "مرحبا", "👩‍👩‍👧‍👦", "🏳️‍🌈"),
    *("word", "tea", "9" * 40, "a" * 300, " ", "\t", "http://x.y/z?a=b", "İ", "ß", "ﬁ", "\u0130\u0307"),
)


def run(*, seed: int, scale: float) -> list[Figure]:
    """Try 20,000 strings at scale 1, each as a message, as names, and as a question among some thousand others."""
    count = max(BATCH, round(STRINGS * scale))
    tried = Tried()
    for start in range(0, count, IN_ONE):
        with tempfile.TemporaryDirectory(prefix="discord-memory-") as folder:
            asyncio.run(_try(Path(folder) / "memory", f"{seed} {start}", min(IN_ONE, count - start), tried))
    value = (
        f"{len(tried.errors)} errors, {tried.refused} refused, {count - tried.kept} missing, "
        f"shown in {tried.slowest_ms:.1f} ms of processor time at most"
    )
    passed = not tried.errors and not tried.refused and tried.kept == count and tried.slowest_ms <= SHOWN_MS
    asked = f"0 errors, 0 missing, shown within {SHOWN_MS:g} ms"
    value = "; ".join([value, *sorted(set(tried.errors))])
    return [Figure(f"{count:,} hostile strings", value, passed, seed, asked)]


@dataclass
class Tried:
    """What came of the strings."""

    errors: list[str] = field(default_factory=list)
    refused: int = 0
    kept: int = 0
    slowest_ms: float = 0.0


async def _try(folder: Path, seed: str, count: int, tried: Tried) -> None:
    rng = random.Random(seed)
    store = SqliteStore(folder)
    await store.open()
    queue = IngestQueue(store, await instant_embedding(store))
    queue.start()
    try:
        for start in range(0, count, BATCH):
            texts = ["".join(rng.choices(PIECES, k=rng.randint(1, 40))) for _ in range(BATCH)]
            await queue.put(Upsert(tuple(_message(start + i + 1, text, rng) for i, text in enumerate(texts))))
            for pair in _pairs(texts):  # questions keep all readers of the database busy
                answers = await asyncio.gather(*(_ask(store, text) for text in pair), return_exceptions=True)
                tried.errors += [type(answer).__name__ for answer in answers if isinstance(answer, BaseException)]
            for text in texts:
                try:
                    tried.slowest_ms = max(tried.slowest_ms, _shown_in_ms(clean_text(text * rng.choice((1, 1, 9)))))
                except Exception as error:  # noqa: BLE001 - whatever it is, it is what is counted
                    tried.errors.append(type(error).__name__)
        await queue.embedded()
        tried.kept += len([m async for m in store.iterate(GUILD)])
        tried.refused += queue.refused
    finally:
        await queue.stop()
        await store.close()


def _message(number: int, text: str, rng: random.Random) -> StoredMessage:
    parts = [text, *rng.choices(PIECES, k=3)]
    return message(
        number,
        clean_text(parts[0]),
        author_name=clean_name(parts[1]),
        author_handle=clean_text(parts[2]),
        extra=clean_text(parts[3]),
        attachments=(clean_text(parts[3]),),
    )


def _pairs(texts: list[str]) -> Iterator[list[str]]:
    return (texts[i : i + READERS] for i in range(0, len(texts), READERS))


async def _ask(store: SqliteStore, text: str) -> None:
    """Ask for a string, raw and cleaned."""
    await store.lexical(scope(), [text], 5)
    await store.lexical(scope(), parse_question(clean_text(text)).keywords, 5)


def _shown_in_ms(text: str) -> float:
    """Show a text of at most 4,000 characters; return the milliseconds it took, the garbage collector's aside."""
    best = float("inf")
    for _ in range(3):
        started = time.thread_time()
        marked(text[:4000], lambda word: word == "tea", limit=4000)
        escape(text[:4000])
        best = min(best, (time.thread_time() - started) * 1000)
        if best <= SHOWN_MS:
            break
    return best
