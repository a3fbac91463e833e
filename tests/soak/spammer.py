"""One member who asks without pause, and what the others feel of it."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.loopback import BotProcess, LoopbackDiscord, World

from .figure import Figure
from .load import answer_to, percentile, sentence

if TYPE_CHECKING:
    from tests.loopback import Channel, Member

OTHERS = 8
LONG_S = 45.0
AT_ONCE = 10
"""Commands that the spammer has under way at a time."""
PAUSE_S = 0.4
"""After each: together some 25 commands a second, far more than a client lets through."""
RECALL_S = 2.0
TIMED = True


def run(*, seed: int, scale: float) -> list[Figure]:
    """Measure the others' answers alone, then beside the spammer."""
    seconds = max(5.0, LONG_S * scale)
    with tempfile.TemporaryDirectory() as folder:
        alone, beside, sent, refused = asyncio.run(measure(Path(folder), seconds=seconds, seed=seed))
    p95 = percentile(beside, 95)
    value = (
        f"others' p95 {percentile(alone, 95):.2f} s alone, {p95:.2f} s beside {sent:,} commands of the spammer in "
        f"{seconds:.0f} s, {refused:,} of them refused"
    )
    asked = f"others' p95 ≤ {RECALL_S:g} s, most of the spam refused"
    return [Figure("/recall spam by one member", value, p95 <= RECALL_S and refused > sent // 2, seed, asked)]


async def measure(folder: Path, *, seconds: float, seed: int) -> tuple[list[float], list[float], int, int]:
    """Return the seconds of the others' answers without and with the spammer, his commands, and those refused."""
    chance, world = random.Random(seed), World()
    guild = world.guild("Tea House")
    room, spammer = guild.text_channel("general"), guild.member("spammer")
    others = [guild.member(f"other {number}") for number in range(2 * OTHERS)]
    for number in range(1000):
        room.post(others[number % OTHERS], sentence(chance, 8))
    async with LoopbackDiscord(world) as discord, BotProcess(discord, folder) as bot:
        await bot.line("back-fill of guild .* is done", within=120)
        alone = await _ask_for_a_while(discord, room, others[:OTHERS], seconds, chance)
        counts = [0, 0]
        spam = [asyncio.create_task(_spam(discord, room, spammer, counts)) for _ in range(AT_ONCE)]
        beside = await _ask_for_a_while(discord, room, others[OTHERS:], seconds, chance)
        for task in spam:
            task.cancel()
        await asyncio.wait(spam)
        await bot.terminate(within=30)
    return alone, beside, counts[0], counts[1]


async def _ask_for_a_while(
    discord: LoopbackDiscord, room: Channel, people: list[Member], seconds: float, chance: random.Random
) -> list[float]:
    times: list[float] = []

    async def one(person: Member) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            started = time.monotonic()
            await answer_to(discord.start_slash(person, room, "recall", query=sentence(chance, 3)))
            times.append(time.monotonic() - started)
            await asyncio.sleep(4.0 + chance.random())  # no more than a member may ask

    await asyncio.gather(*(one(person) for person in people))
    return times


async def _spam(discord: LoopbackDiscord, room: Channel, spammer: Member, counts: list[int]) -> None:
    while True:
        reply = await answer_to(discord.start_slash(spammer, room, "recall", query="spam"))
        counts[0] += 1
        counts[1] += reply is None or not reply.embeds
        await asyncio.sleep(PAUSE_S)
