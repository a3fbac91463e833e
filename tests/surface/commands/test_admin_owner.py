"""`/memory reload` and `stats`, the samples behind the plot, and the retention sweep in the background."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cogs.memory.surface.commands import owner
from cogs.memory.surface.commands.memory_texts import ENGLISH
from cogs.memory.surface.guild_settings import SETTINGS_KEY, GuildSettings, GuildSettingsStore
from cogs.memory.surface.operation.samples import DAY, Sample, Samples, percentile
from cogs.memory.surface.operation.statistics_plot import draw
from cogs.memory.surface.retention import BATCH, RetentionSweep
from profiles import SettingsError
from tests.conftest import GUILD, said
from tests.waiting import until

from .memory_house import MemoryHouse, memory_house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cogs.memory.memory_service import MemoryService
    from profiles import MemoryProfile

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
async def house(memory: MemoryService) -> AsyncIterator[MemoryHouse]:
    async with memory_house(memory) as opened:
        yield opened


@pytest.fixture
def owned(house: MemoryHouse) -> MemoryHouse:
    """The house, whose bot belongs to ada: an owner need not manage the server."""
    house.bot.owner_id = house.ada.id
    return house


async def test_stats_tell_sizes_times_rates_and_proof_of_life(owned: MemoryHouse) -> None:
    await owned.say(owned.ada, "the samovar is broken")
    await owned.do(owned.admin, "memory explain", query="samovar")
    owned.memory.embedding.not_finite = 3
    text = (await owned.do(owned.ada, "memory stats")).text
    for part in (
        "1 message · without a vector: 0 · servers: 1",
        "p50",
        "p95",
        "events waiting: 0 · no usable vector: 3",
        "calls",
    ):
        assert part in text
    caches = {row.split("  ")[0]: row.split()[-3:] for row in text.partition("Caches")[2].splitlines()}
    assert [value for value in caches[""] if value] == ["model", "score", "query"]
    for figure in ("hits", "misses", "evictions", "expired", "hit rate", "size"):
        assert len(caches[figure]) == 3
    assert caches["misses"][2] == str(owned.memory.get_statistics()["query_cache_misses"]) != "0"
    assert "two minutes" in text


async def test_stats_come_with_a_plot_of_the_day(owned: MemoryHouse) -> None:
    await owned.say(owned.ada, "the samovar is broken")
    for _ in range(3):
        await owned.do(owned.admin, "memory explain", query="samovar")
        owned.services.samples.take()
    reply = await owned.do(owned.ada, "memory stats")
    [picture] = reply.attachments
    assert picture.filename == owner.PLOT_NAME
    assert picture.data.startswith(PNG)
    assert reply.embeds[0]["image"]["url"]


async def test_reload_says_what_serves_and_recall_goes_on(owned: MemoryHouse) -> None:
    await owned.say(owned.ada, "the samovar is broken")
    for options in ({}, {"profile": "embedded"}):
        assert "structure" in (await owned.do(owned.ada, "memory reload", **options)).text
    assert "samovar" in (await owned.do(owned.admin, "memory explain", query="samovar")).text


async def test_a_profile_that_the_settings_do_not_go_with_is_one_sentence(
    owned: MemoryHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> MemoryProfile:
        raise SettingsError(f"RERANKER_URL has no effect on the profile {name}")

    monkeypatch.setattr(owned.memory, "_named", refuse)
    reply = await owned.do(owned.ada, "memory reload", profile="cpu")
    assert reply.text == "RERANKER_URL has no effect on the profile cpu"
    assert owned.memory.profile.name == "embedded"


async def test_a_day_of_samples_draws_within_discords_limits_and_off_the_loop() -> None:
    start = datetime(2025, 3, 1, tzinfo=UTC)
    samples = [
        Sample(start + timedelta(minutes=n), n % 7, float(n % 90) if n % 7 else None, 120.0, n % 50 * 1.0, n % 11)
        for n in range(DAY)
    ]
    drawing = asyncio.create_task(draw(samples))
    laps = 0
    while not drawing.done():
        await asyncio.sleep(0.005)
        laps += 1
    picture = drawing.result()
    assert picture.startswith(PNG)
    width, height = struct.unpack(">II", picture[16:24])
    assert (width, height) == (880, 660)
    assert len(picture) < 1_000_000
    assert laps > 1


class Queue:
    rate = 12.5
    waiting = 3


class Memory:
    """What samples look at."""

    def __init__(self) -> None:
        self.recall_ms: deque[float] = deque(maxlen=4)
        self.queue = Queue()


def test_each_recall_counts_in_the_minute_it_happened_in_even_if_two_took_equally_long() -> None:
    memory: Any = Memory()
    samples = Samples(memory)
    assert samples.take().recalls == 0
    memory.recall_ms.extend([float("10"), float("10"), float("30")])
    assert (samples.take().recalls, samples.all()[-1].recall_p50_ms, samples.all()[-1].recall_p95_ms) == (3, 10, 30)
    assert samples.take() == Sample(samples.all()[-1].at, 0, None, None, 12.5, 3)
    memory.recall_ms.append(float("30"))
    assert samples.take().recalls == 1
    memory.recall_ms.extend(float(n) for n in range(9))  # more than are kept
    assert samples.take().recalls == 4


async def test_samples_are_taken_by_themselves_and_only_a_day_of_them_is_kept(memory: MemoryService) -> None:
    samples = Samples(memory, interval_s=0.01)
    samples.start()
    await until(lambda: len(samples.all()) >= 3)
    await samples.close()
    await samples.close()
    taken = len(samples.all())
    await asyncio.sleep(0.05)
    assert len(samples.all()) == taken
    for _ in range(DAY + 5):
        samples.take()
    assert len(samples.all()) == DAY


def test_percentiles_are_by_nearest_rank() -> None:
    assert percentile([], 50) is None
    assert percentile([1.0], 99) == 1.0
    assert percentile([float(n) for n in range(1, 101)], 95) == 95.0
    assert "p99 99 ms, over the last 100" in owner.recall_times(ENGLISH, [float(n) for n in range(1, 101)])


def test_figures_stay_in_their_block_and_in_their_field() -> None:
    block = owner.figures_block({"name": "```@everyone", "none": None, "share": 0.5, **{f"n{i}": i for i in range(99)}})
    assert block.count("```") == 2
    assert len(block) <= 1024
    assert "0.500" in block


async def test_the_sweep_runs_by_itself_over_each_guild_and_survives_a_damaged_one(memory: MemoryService) -> None:
    settings = GuildSettingsStore(memory.store)
    await memory.store.put_setting(5, SETTINGS_KEY, "damaged")
    await settings.put(GUILD, GuildSettings(retention_days=10))
    await memory.remember([said(n, f"old {n}") for n in range(1, 1 + BATCH + 5)])
    await memory.remember([said(BATCH + 9, "recent", minutes=60 * 24 * 400)])
    await memory.queue.stored()
    now = said(1, "x", minutes=60 * 24 * 401).created_at
    sweep = RetentionSweep(memory, settings, lambda: [5, GUILD], now=lambda: now)
    sweep.start()
    async with asyncio.timeout(60):
        while (await memory.stats(GUILD)).messages > 1:  # noqa: ASYNC110 # a sweep signals nothing
            await asyncio.sleep(0.02)
    await sweep.close()
    await sweep.close()
    assert [message.content async for message in memory.store.iterate(GUILD)] == ["recent"]
