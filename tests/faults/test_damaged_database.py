"""The real program with a database that cannot be read: it stays up, says so, and takes the memory up again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cogs.memory.stores.sqlite import SqliteStore
from tests.conftest import said
from tests.house import new_world
from tests.loopback import BotProcess, LoopbackDiscord
from tests.surface.cog.tea_house import recall

if TYPE_CHECKING:
    from pathlib import Path


async def a_database(folder: Path) -> bytes:
    """The bytes of a sound database with a hundred messages."""
    store = SqliteStore(folder)
    await store.open()
    await store.upsert([said(i, f"message {i} about tea") for i in range(1, 101)])
    await store.close()
    return (folder / "memory.db").read_bytes()


async def test_the_bot_stays_up_without_its_memory_says_so_and_takes_it_up_again(tmp_path: Path) -> None:
    whole = await a_database(tmp_path / "sound")
    world = new_world()
    [guild] = world.guilds.values()
    ada, mod = (next(m for m in guild.members.values() if m.user.name == name) for name in ("ada", "mod"))
    general = next(c for c in guild.channels.values() if c.name == "general")
    async with LoopbackDiscord(world) as server, BotProcess(server, tmp_path) as bot:
        database = bot.data / "memory.db"
        assert await bot.terminate() == 0  # the commands are known to Discord
        database.write_bytes(whole[: len(whole) // 2])
        await bot.start()
        reply = await recall(server, ada, general, "tea", "out of order")
        assert "damaged" in reply.text
        assert reply.ephemeral
        database.write_bytes(whole)
        await server.slash(mod, general, "recall", query="tea")
        await bot.line("The memory is back", within=60)
        general.post(ada, "the tea is in the blue tin")
        await recall(server, mod, general, "tea", "blue tin")
        assert await bot.terminate() == 0
    assert "Traceback" not in bot.output


@pytest.mark.parametrize("kind", ["garbage", "truncated", "wiped"])
async def test_one_copy_of_a_damaged_database_is_put_aside_however_often_it_is_opened(
    tmp_path: Path, kind: str
) -> None:
    whole = await a_database(tmp_path)
    damaged = {"garbage": b"no database " * 999, "truncated": whole[:20_000], "wiped": bytes(5000) + whole[5000:]}[kind]
    (tmp_path / "memory.db").write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(Exception, match="damaged"):
            await SqliteStore(tmp_path).open()
    [copy] = sorted(tmp_path.glob("memory-damaged-*.db"))  # noqa: ASYNC240
    assert copy.read_bytes() == (tmp_path / "memory.db").read_bytes() == damaged
    assert copy.stat().st_mode & 0o077 == 0
