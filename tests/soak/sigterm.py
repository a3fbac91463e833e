"""SIGTERM at random moments of the real program's life: during its start, a back-fill, a flood of messages."""

from __future__ import annotations

import asyncio
import random
import re
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.loopback import BotProcess, Channel, LoopbackDiscord, Member, World

from .figure import Figure

HISTORY = 470
"""Messages from before the bot came."""
TALK_S = 2.0
"""Seconds after the connection in which a run that got so far is told to stop."""
LIMIT_S = 5.0
LONG_RUNS = 50
TIMED = True


@dataclass
class Stops:
    """What became of the runs."""

    codes: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    tracebacks: int = 0
    lost: int = 0
    """Messages that were on the disk after one run and not after a later one."""
    missing: int = 0
    """Messages that were said and are not in the memory at the end."""
    said: int = 0

    @property
    def clean(self) -> int:
        """Runs that ended with 0 in time."""
        return sum(code == 0 and took <= LIMIT_S for code, took in zip(self.codes, self.seconds, strict=True))


def run(*, seed: int, scale: float) -> list[Figure]:
    """Stop the program 50 times."""
    runs = max(4, round(LONG_RUNS * scale))
    with tempfile.TemporaryDirectory() as folder:
        stops = asyncio.run(stop_often(Path(folder), runs=runs, seed=seed))
    value = (
        f"{stops.clean} of {runs} clean (exit code 0 within {LIMIT_S:g} s), slowest {max(stops.seconds):.1f} s; of "
        f"{stops.said:,} messages {stops.lost} acknowledged and lost, {stops.missing} missing after the catch-up"
    )
    unclean = sorted({code for code in stops.codes if code})
    value += f"; exit codes {unclean}" if unclean else ""
    passed = stops.clean == runs and not (stops.lost or stops.missing or stops.tracebacks)
    asked = f"{runs} of {runs} clean, 0 lost, 0 missing, 0 tracebacks"
    return [Figure(f"SIGTERM × {runs} at random moments from the program's first line on", value, passed, seed, asked)]


async def stop_often(folder: Path, *, runs: int, seed: int, catch_up: bool = True) -> Stops:
    """Start the program again and again on one data folder, and stop it while it starts or while people talk."""
    chance = random.Random(seed)
    world = World()
    guild = world.guild("Tea House")
    ada = guild.member("ada")
    rooms = [guild.text_channel(name) for name in ("general", "garden")]
    for number in range(HISTORY):
        rooms[number % 2].post(ada, f"message {number} of the past")
    stops = Stops()
    async with LoopbackDiscord(world) as discord:
        bot = BotProcess(discord, folder)
        stored, start_s = set[int](), 1.0
        for index in range(runs):
            await bot.start(wait=False)
            await discord.until(lambda: _has_begun(bot.pid), within=60)
            started = time.monotonic()
            if index % 2:
                await asyncio.sleep(chance.uniform(0, start_s))
                await _stop(bot, stops)
            else:
                await bot.connected(within=120)
                start_s = time.monotonic() - started
                talk = asyncio.create_task(_talk(rooms[index // 2 % 2], ada))
                await asyncio.sleep(chance.uniform(0, TALK_S))
                await _stop(bot, stops)
                talk.cancel()
                await asyncio.wait([talk])
            now = await stored_ids(bot.data, guild.id)
            stops.lost += len(stored - now)
            stored = now
        if catch_up:
            everything = {message.id for room in rooms for message in room.history()}
            stops.said = len(everything)
            await _catch_up(bot)
            stops.missing = len(everything - await stored_ids(bot.data, guild.id))
        stops.tracebacks = bot.output.count("Traceback")
    return stops


def _has_begun(pid: int) -> bool:
    """Whether the program hears SIGTERM: before its first line the interpreter does not, and nothing can be done."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():  # no Linux: nobody can tell
        return True
    caught = int(re.findall(r"SigCgt:\s*(\w+)", status.read_text())[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


async def _catch_up(bot: BotProcess) -> None:
    await bot.start(within=120)
    await bot.line("back-fill of guild .* is done", within=600)
    await asyncio.sleep(1)
    await bot.terminate(within=30)


async def _talk(room: Channel, author: Member) -> None:
    for number in range(10**6):
        room.post(author, f"message {number} of now")
        await asyncio.sleep(0.01)


async def _stop(bot: BotProcess, stops: Stops) -> None:
    started = time.monotonic()
    code = await bot.terminate(within=30)
    stops.seconds.append(time.monotonic() - started)
    stops.codes.append(code)


async def stored_ids(data: Path, guild_id: int) -> set[int]:
    """Return the ids of a guild's messages on the disk."""
    from cogs.memory.stores.sqlite import SqliteStore

    store = SqliteStore(data)
    await store.open()
    try:
        return {message.id async for message in store.iterate(guild_id)}
    finally:
        await store.close()
