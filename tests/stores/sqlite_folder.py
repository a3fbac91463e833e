"""What the tests of the embedded engine share: its folder, its soundness, its disk, a process that is killed."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import sys
import textwrap
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cogs.memory.stores.sqlite import SqliteStore
from tests.stores.samples import SPACE, scope, vector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

CANARY = b"zqcanary"
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(folder)
    await store.open()
    try:
        await store.use_space(SPACE)
        yield store
    finally:
        await store.close()


async def dense_ids(store: SqliteStore) -> set[int]:
    async with asyncio.timeout(60):
        while (await store.stats()).index_ready < 1:  # noqa: ASYNC110  # the protocol has nothing to wait for
            await asyncio.sleep(0.01)
    return {hit.message_id for hit in await store.dense(scope(), vector(0), 10**6)}


def check_integrity(folder: Path) -> None:
    """The file is sound, the full-text index is what the messages say, and no vector is an orphan."""
    database = sqlite3.connect(folder / "memory.db")
    database.execute("INSERT INTO message_search (message_search, rank) VALUES ('integrity-check', 1)")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    embedded = "SELECT id FROM messages WHERE vector_space <> 0"
    for table in ("vectors", "sketches"):
        assert database.execute(f"SELECT message_id FROM {table} ORDER BY 1").fetchall() == (
            database.execute(f"{embedded} ORDER BY 1").fetchall()
        )
    database.close()


def canaries(folder: Path) -> dict[str, int]:
    counts = {file.name: file.read_bytes().lower().count(CANARY) for file in folder.iterdir()}
    return {name: count for name, count in counts.items() if count}


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Writes beyond ``size`` bytes of any file fail, as they do on a disk with a quota."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


INGEST = """
    import asyncio, sys
    from pathlib import Path
    from cogs.memory.stores.sqlite import SqliteStore
    from tests.stores.samples import GARDEN, GUILD, LOBBY, SPACE, embed_all, message

    async def main():
        store = SqliteStore(Path(sys.argv[1]))
        await store.open()
        await store.use_space(SPACE)
        start = int(sys.argv[2])
        for block in range(start, start + 100_000, 10):
            channels = {block + 5: GARDEN}
            await store.upsert([
                message(i, f"word{i} some text", channel_id=channels.get(i, LOBBY)) for i in range(block, block + 10)
            ])
            print("stored", block, flush=True)
            await embed_all(store)
            await store.delete(GUILD, [block + 3])
            print("deleted", block + 3, flush=True)
            await store.erase(GUILD, channel_id=GARDEN)
            print("deleted", block + 5, flush=True)

    asyncio.run(main())
"""


async def ingest_until_killed(folder: Path, first: int, lines: int) -> list[tuple[str, int]]:
    """Run `INGEST` until it has printed so many lines, kill it, and return all that it printed."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(INGEST),
        str(folder),
        str(first),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        output = b"".join([await asyncio.wait_for(child.stdout.readline(), 120) for _ in range(lines)])
    finally:
        child.kill()
    output += await child.stdout.read()
    await child.wait()
    pairs = [line.split() for line in output.decode().splitlines()]
    return [(kind, int(number)) for kind, number in pairs]
