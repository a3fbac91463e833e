"""Forget somebody: no byte of him is left in the data folder, plain or encrypted, nor comes back with a backup."""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path
from typing import Final

from cogs.memory.records import ChannelInfo
from cogs.memory.stores.data_folder import DataFolder
from cogs.memory.stores.sqlite import SqliteStore
from cogs.memory.stores.sqlite_backup import back_up, restore
from cogs.memory.stores.sqlite_copies import convert
from cogs.memory.stores.sqlite_engine import SqliteEngine
from cogs.memory.surface.restored_settings import merge_settings
from tests.soak.figure import Figure
from tests.stores.samples import BOB, GARDEN, GUILD, SPACE, embed_all, message

ROUNDS: Final = 20
MESSAGES: Final = 400
NEEDLES: Final = tuple(text.encode(code) for text in ("zqcanary", "canary") for code in ("utf-8", "utf-16-le"))


def run(*, seed: int, scale: float) -> list[Figure]:
    """Forget 20 times at scale 1, half of them in an encrypted database."""
    rounds = max(2, round(ROUNDS * scale))
    found: dict[str, int] = {}
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix="discord-memory-") as folder:
            key = "a key" if number % 2 else None
            for place, count in asyncio.run(_round(Path(folder), random.Random(f"{seed} {number}"), key)).items():
                found[place] = found.get(place, 0) + count
    value = ", ".join(f"{count} {place}" for place, count in found.items())
    return [Figure(f"canary bytes after {rounds} erasures", value, not any(found.values()), seed, "0 anywhere")]


async def _round(folder: Path, rng: random.Random, key: str | None) -> dict[str, int]:
    memory, backup = folder / "memory", folder / "backup"
    found: dict[str, int] = {}
    store = await _opened(memory, key)
    await store.put_channels([ChannelInfo(GARDEN, GUILD, "zqcanary-garden")])
    whose = [rng.choice(("Bob", "garden", "others")) for _ in range(MESSAGES)]
    texts = ["zqcanary " * rng.randint(1, 60) if who != "others" else "said " * rng.randint(1, 60) for who in whose]
    for start in range(0, MESSAGES, 50):
        part = [
            message(i + 1, texts[i], **(BOB if whose[i] == "Bob" else {}), **_place(whose[i]))
            for i in range(start, start + 50)
        ]
        await store.upsert(rng.sample(part, len(part)))
        if rng.random() < 0.5:
            await embed_all(store)
    if key is not None:
        found["in an encrypted folder right after ingest"] = _count(memory)
    await asyncio.to_thread(back_up, DataFolder(memory), backup, SqliteEngine(key))
    await store.erase(GUILD, author_id=BOB["author_id"])
    await store.erase(GUILD, channel_id=GARDEN)
    found["while open"] = _count(memory)
    await store.close()
    found["when closed"] = _count(memory)
    await _restored(memory, backup, key)
    found["after restoring an older backup"] = _count(memory)
    if key is not None:  # to see what is really in there
        data = DataFolder(memory)
        data.acquire()
        await asyncio.to_thread(convert, data, SqliteEngine(key), SqliteEngine())
        data.release()
        (memory / "memory.db").chmod(0o600)
        for aside in memory.glob("memory-before-restore-*"):
            aside.unlink()
        found["in the restored database when decrypted"] = _count(memory)
    return found


async def _restored(memory: Path, backup: Path, key: str | None) -> None:
    data = DataFolder(memory)
    data.acquire()
    try:
        await restore(data, backup, SqliteEngine(key), merge_settings, force=True)
    finally:
        data.release()


def _place(who: str) -> dict[str, int]:
    return {"channel_id": GARDEN} if who == "garden" else {}


async def _opened(folder: Path, key: str | None) -> SqliteStore:
    store = SqliteStore(folder, key=key)
    await store.open()
    await store.use_space(SPACE)
    return store


def _count(folder: Path) -> int:
    return sum(file.read_bytes().lower().count(needle) for file in folder.iterdir() for needle in NEEDLES)
