"""Strings that break things, as messages, names, file names and questions: nothing raises, and all is shown safely."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cogs.memory.cleaning import clean_name, clean_text
from cogs.memory.ingest_queue import IngestQueue, Upsert
from cogs.memory.query_terms import parse_question
from cogs.memory.stores.sqlite import SqliteStore
from cogs.memory.surface.markup import escape, marked
from tests.faults.instant_embedding import instant_embedding
from tests.soak.figure import Figure
from tests.stores.samples import GUILD, message, scope

if TYPE_CHECKING:
    from cogs.memory.records import StoredMessage

STRINGS: Final = 20_000
BATCH: Final = 200
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
    """Try 20,000 strings at scale 1."""
    with tempfile.TemporaryDirectory(prefix="discord-memory-") as folder:
        return asyncio.run(_run(Path(folder) / "memory", seed, max(BATCH, round(STRINGS * scale))))


async def _run(folder: Path, seed: int, count: int) -> list[Figure]:
    rng = random.Random(seed)
    store = SqliteStore(folder)
    await store.open()
    queue = IngestQueue(store, await instant_embedding(store))
    queue.start()
    errors: list[str] = []
    slowest = 0.0
    try:
        for start in range(0, count, BATCH):
            texts = ["".join(rng.choices(PIECES, k=rng.randint(1, 40))) for _ in range(BATCH)]
            await queue.put(Upsert(tuple(_message(start + i + 1, text, rng) for i, text in enumerate(texts))))
            for text in texts:
                try:
                    slowest = max(slowest, await _ask_and_show(store, text))
                except Exception as error:  # noqa: BLE001 - whatever it is, it is what is counted
                    errors.append(type(error).__name__)
        await queue.embedded()
        kept = len([m async for m in store.iterate(GUILD)])
    finally:
        await queue.stop()
        await store.close()
    value = f"{len(errors)} errors, {queue.refused} refused, {count - kept} missing, shown in {slowest:.0f} ms at most"
    passed = not errors and not queue.refused and kept == count
    return [Figure(f"{count:,} hostile strings", "; ".join([value, *sorted(set(errors))]), passed, seed)]


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


async def _ask_and_show(store: SqliteStore, text: str) -> float:
    """Ask for a string, raw and cleaned, and show it; return the milliseconds that showing took."""
    await store.lexical(scope(), [text], 5)
    await store.lexical(scope(), parse_question(clean_text(text)).keywords, 5)
    started = time.perf_counter()
    marked(clean_text(text), lambda word: word == "tea", limit=4000)
    escape(clean_text(text))
    return (time.perf_counter() - started) * 1000
