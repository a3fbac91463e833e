"""A raid on the real program: a flood of messages, questions, a back-fill and a reload, all at once."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from tests.loopback import DEFAULT_BOT, BotProcess, LoopbackDiscord, World

from .figure import Figure
from .free_port import free_port
from .sigterm import stored_ids

if TYPE_CHECKING:
    from tests.loopback import Channel, Guild, Interaction, Member

RATE = 1000
"""Messages per second of the raid."""
LONG_S = 30.0
ASKERS = 50
LAG_MS = 100.0
TIMED = True
RECALL_S = 2.0
RSS_GROWTH_MB = 400.0
"""What a raid may cost: events in line and in the queue, a batch in the model, and what the allocator keeps."""
HISTORY = 1500
VOCABULARY = ["".join(pair) for pair in itertools.product(("ka", "mo", "ti", "su", "re", "lo", "ni", "pa"), repeat=4)]
FREQUENCIES = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(VOCABULARY))))
"""Words as common as those of a language, by Zipf's law: with few words each question would match half of all."""


@dataclass
class Seen:
    """What was measured."""

    said: dict[int, set[int]] = field(default_factory=dict)
    """By guild, what was said in it."""
    flood_s: float = 0.0
    recalls_s: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    quiet_s: list[float] = field(default_factory=list)
    """Seconds until a message on the quiet server was found."""
    lag_p99_ms: float = 0.0
    rss_before_mb: float = 0.0
    rss_peak_mb: float = 0.0
    waiting_peak: float = 0.0
    dropped: float = 0.0
    drained_s: float = 0.0
    lost: int = 0


def run(*, seed: int, scale: float) -> list[Figure]:
    """Play the raid once."""
    seconds = max(3.0, LONG_S * scale)
    with tempfile.TemporaryDirectory() as folder:
        seen = asyncio.run(raid(Path(folder), seconds=seconds, seed=seed))
    total = sum(map(len, seen.said.values()))
    p95 = percentile(seen.recalls_s, 95)
    name = f"raid: {RATE} messages/s for {seconds:.0f} s, {ASKERS} questions at once, a back-fill and a reload"
    growth = seen.rss_peak_mb - seen.rss_before_mb
    return [
        Figure(
            f"{name}: nothing lost",
            f"{seen.lost} of {total:,} lost; sent in {seen.flood_s:.1f} s, all stored {seen.drained_s:.1f} s later",
            not seen.lost,
            seed,
            "0 lost",
        ),
        Figure(
            "the same: memory",
            f"RSS {seen.rss_before_mb:.0f} → {seen.rss_peak_mb:.0f} MB at most, {seen.waiting_peak:,.0f} events "
            f"waiting at most, {seen.dropped:.0f} put off to a later reading",
            growth <= RSS_GROWTH_MB,
            seed,
            f"at most {RSS_GROWTH_MB:.0f} MB more",
        ),
        Figure(
            "the same: event loop",
            f"late by p99 {seen.lag_p99_ms:.0f} ms",
            seen.lag_p99_ms <= LAG_MS,
            seed,
            f"p99 ≤ {LAG_MS:.0f} ms",
        ),
        Figure(
            "the same: /recall meanwhile",
            f"p50 {percentile(seen.recalls_s, 50):.2f} s, p95 {p95:.2f} s over {len(seen.recalls_s)} answers in waves "
            f"of {ASKERS}, {len(seen.failed)} failed",
            p95 <= RECALL_S and not seen.failed and bool(seen.recalls_s),
            seed,
            f"p95 ≤ {RECALL_S:g} s, 0 failed",
        ),
        Figure(
            "the same: a quiet server's own messages",
            f"found after {max(seen.quiet_s, default=0):.1f} s at most ({len(seen.quiet_s)} looked for)",
            bool(seen.quiet_s),
            seed,
            "found while the raid goes on",
        ),
    ]


def sentence(chance: random.Random, words: int) -> str:
    """Return so many words."""
    return " ".join(chance.choices(VOCABULARY, cum_weights=FREQUENCIES, k=words))


async def raid(folder: Path, *, seconds: float, seed: int) -> Seen:
    """Run the program on three servers: one is raided, one is quiet, one is joined with a past."""
    chance, seen = random.Random(seed), Seen()
    world = World()
    stadium, tea_house = world.guild("Stadium", owner=world.bot_owner), world.guild("Tea House")
    raiders = [stadium.member(f"raider {number}") for number in range(20)]
    askers = [stadium.member(f"asker {number}") for number in range(ASKERS)]
    ada = tea_house.member("ada")
    floor, tea = stadium.text_channel("floor"), tea_house.text_channel("tea")
    for number in range(300):
        floor.post(raiders[number % 20], f"before the match {sentence(chance, 6)}")
    archive = _archive(world, chance)
    port = free_port()
    async with LoopbackDiscord(world) as discord:
        async with BotProcess(discord, folder, environment={"METRICS_PORT": str(port)}) as bot:
            monitor = asyncio.create_task(_watch(port, seen))
            await asyncio.sleep(5)  # the back-fill of what was there
            seen.rss_before_mb, seen.rss_peak_mb = seen.rss_peak_mb, 0.0
            archive.add_bot(DEFAULT_BOT)
            work = [
                _flood(floor, raiders, seconds, chance, seen),
                _ask(discord, floor, askers, seconds=seconds, chance=chance, seen=seen),
                _talk_quietly(discord, tea, ada, seconds, seen),
                _reload(discord, floor, stadium.members[world.bot_owner.id], seen),
            ]
            await asyncio.gather(*work)
            metrics = await scrape(port)
            seen.lag_p99_ms = metrics['discord_memory_loop_lag_seconds{quantile="0.99"}'] * 1000
            seen.dropped = metrics["discord_memory_gateway_events_dropped_total"]
            for guild in (stadium, tea_house, archive):
                rooms = guild.channels.values()
                seen.said[guild.id] = {
                    m.id for room in rooms for m in room.history() if m.author is not world.bot and m.content
                }
            await _drain(port, sum(map(len, seen.said.values())), seen)
            monitor.cancel()
            await asyncio.wait([monitor])
            await bot.terminate(within=30)
        for guild_id, said in seen.said.items():
            seen.lost += len(said - await stored_ids(bot.data, guild_id))
    return seen


def _archive(world: World, chance: random.Random) -> Guild:
    archive = world.guild("Archive", bot_permissions=None)
    keeper, shelf = archive.member("keeper"), archive.text_channel("shelf")
    for number in range(HISTORY):
        shelf.post(keeper, f"volume {number}: {sentence(chance, 8)}")
    return archive


async def _flood(room: Channel, people: list[Member], seconds: float, chance: random.Random, seen: Seen) -> None:
    """Post at the wanted rate, in steps of 20 ms; late steps are made up for."""
    started, sent, total = time.monotonic(), 0, round(RATE * seconds)
    while sent < total:
        due = min(total, int((time.monotonic() - started) * RATE) + 1)
        for _ in range(min(due - sent, 50)):
            room.post(people[sent % len(people)], f"{sent} {sentence(chance, 8)}")
            sent += 1
        await asyncio.sleep(0.01)
    seen.flood_s = time.monotonic() - started


async def _ask(
    discord: LoopbackDiscord, room: Channel, askers: list[Member], *, seconds: float, chance: random.Random, seen: Seen
) -> None:
    async def one(asker: Member) -> None:
        query = sentence(chance, 3)
        started = time.monotonic()
        reply = await answer_to(discord.start_slash(asker, room, "recall", query=query))
        seen.recalls_s.append(time.monotonic() - started)
        if reply is None or not reply.embeds:
            seen.failed.append("no answer" if reply is None else reply.text)

    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        await asyncio.gather(*(one(asker) for asker in askers))
        await asyncio.sleep(4.0)


async def _talk_quietly(discord: LoopbackDiscord, room: Channel, ada: Member, seconds: float, seen: Seen) -> None:
    ends, number = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        number += 1
        word = f"zanzibar{number}"
        room.post(ada, f"the {word} blend is on the shelf")
        started = time.monotonic()
        while time.monotonic() - started < 60:
            reply = await answer_to(discord.start_slash(ada, room, "recall", query=f"{word} blend", limit=1))
            if reply is not None and word in reply.text and "shelf" in reply.text:
                seen.quiet_s.append(time.monotonic() - started)
                break
            await asyncio.sleep(0.5)
        await asyncio.sleep(3.5)


async def _reload(discord: LoopbackDiscord, room: Channel, owner: Member, seen: Seen) -> None:
    await asyncio.sleep(1)
    reply = await answer_to(discord.start_slash(owner, room, "memory reload"))
    if reply is None or "error id" in reply.text:
        seen.failed.append("no answer" if reply is None else reply.text)


async def _watch(port: int, seen: Seen) -> None:
    while True:
        metrics = await scrape(port)
        seen.rss_peak_mb = max(seen.rss_peak_mb, metrics["process_resident_memory_bytes"] / 1e6)
        waiting = metrics["discord_memory_gateway_events_waiting"] + metrics.get(
            "discord_memory_ingest_events_waiting", 0
        )
        seen.waiting_peak = max(seen.waiting_peak, waiting)
        await asyncio.sleep(0.5)


async def _drain(port: int, total: int, seen: Seen) -> None:
    started = time.monotonic()
    for _ in range(300):
        if (await scrape(port))["discord_memory_messages"] >= total:
            break
        await asyncio.sleep(1)
    seen.drained_s = time.monotonic() - started


async def scrape(port: int) -> dict[str, float]:
    """Fetch the program's metrics."""
    address = f"http://127.0.0.1:{port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(address) as response:
        text = await response.text()
    return {name: float(value) for name, value in re.findall(r"^([a-z_]+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}


async def answer_to(pending: Interaction) -> Interaction | None:
    """Wait for an answer; None if there is none within a minute."""
    try:
        return await pending.answered(within=60)
    except TimeoutError:
        return None


def percentile(values: list[float], percent: float) -> float:
    """Return the nearest-rank percentile; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
