"""What monitors see of a running bot: metrics, the heartbeat, messages to systemd."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest

from cogs.memory.exceptions import MemoryCogError
from cogs.memory.surface.operation.heartbeat import NAME, STALE_S, health_problem
from cogs.memory.surface.operation.loop_lag import LoopLag
from cogs.memory.surface.operation.metrics import MetricsEndpoint
from tests.house import new_world
from tests.loopback import BotProcess, LoopbackDiscord
from tests.loopback.launch import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from .tea_house import TeaHouse


async def scrape(address: str) -> dict[str, float]:
    """Fetch metrics as name (with labels) → value."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await response.text()
    return {name: float(value) for name, value in re.findall(r"^([a-z_]+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_metrics_are_the_numbers_of_the_memory_and_name_nobody(house: TeaHouse) -> None:
    lag = LoopLag()
    lag.start()
    for text in ("tea at five", "tea at six"):
        house.general.post(house.ada, text)
    await house.settle()
    await house.recall("tea")
    while not lag.ordered_ms():  # noqa: ASYNC110  # the first look at the loop takes a moment
        await asyncio.sleep(0.01)
    endpoint = MetricsEndpoint(house.services, lag, "127.0.0.1", 0)
    await endpoint.start()
    try:
        metrics = await scrape(endpoint.address)
        async with aiohttp.ClientSession() as session, session.get(f"http://{endpoint.address}/metrics") as response:
            text = await response.text()
    finally:
        await endpoint.close()
        await lag.close()
    stats, memory = await house.services.memory.stats(), house.services.memory
    assert metrics["discord_memory_messages"] == stats.messages == 2
    assert metrics["discord_memory_store_bytes"] == stats.bytes_on_disk
    assert metrics["discord_memory_embedder_encoded"] == memory.embedding.encoded == 2
    assert metrics["discord_memory_embedder_not_finite"] == 0
    assert metrics["discord_memory_recalls_measured"] == len(memory.recall_ms) == 1
    assert metrics['discord_memory_recall_seconds{quantile="0.95"}'] == pytest.approx(memory.recall_ms[0] / 1000)
    assert metrics["discord_memory_reranker_calls"] == memory.reranker.get_statistics()["calls"]
    assert metrics["discord_memory_connected_guilds"] == 1
    assert metrics["process_resident_memory_bytes"] > 0
    dashboard = (ROOT / "data" / "operations" / "grafana-dashboard.json").read_text()
    queried = set(re.findall(r"\b(?:discord_memory|process)_[a-z_]+(?=[{,])", dashboard))
    assert len(queried) > 15
    assert queried <= {name.split("{")[0] for name in metrics}
    named = [str(house.guild.id), str(house.ada.id), house.guild.name, "ada", "general", "tea at"]
    assert [each for each in named if each in text] == []


async def test_metrics_say_so_when_the_store_does_not_answer(house: TeaHouse) -> None:
    endpoint = MetricsEndpoint(house.services, LoopLag(), "127.0.0.1", 0)
    await endpoint.start()
    await house.services.memory.store.close()
    async with aiohttp.ClientSession() as session, session.get(f"http://{endpoint.address}/metrics") as response:
        assert response.status == 503
    await endpoint.close()


async def test_a_port_in_use_is_told_in_a_sentence(house: TeaHouse) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MemoryCogError, match=f"cannot be served on 127.0.0.1:{port}"):
            await MetricsEndpoint(house.services, LoopLag(), "127.0.0.1", port).start()


def test_health_tells_a_stuck_bot_from_one_without_discord_and_one_that_is_gone(tmp_path: Path) -> None:
    assert "not running" in str(health_problem(tmp_path))
    (tmp_path / NAME).write_text(json.dumps({"time": 1000.0, "connected": True}))
    assert health_problem(tmp_path, now=1000.0 + STALE_S) is None
    assert "no sign of life for 61 s" in str(health_problem(tmp_path, now=1001.0 + STALE_S))
    (tmp_path / NAME).write_text(json.dumps({"time": 1000.0, "connected": False}))
    assert "Discord cannot be reached" in str(health_problem(tmp_path, now=1000.0))
    (tmp_path / NAME).write_text("{")
    assert "cannot be read" in str(health_problem(tmp_path))


async def test_the_program_serves_metrics_beats_and_tells_systemd(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        address = f"127.0.0.1:{free_port()}"
        environment = {"METRICS_PORT": address.split(":")[1], "NOTIFY_SOCKET": str(tmp_path / "notify")}
        async with (
            LoopbackDiscord(new_world()) as server,
            BotProcess(server, tmp_path, environment=environment) as bot,
        ):
            beat = bot.data / NAME
            await server.until(beat.exists)
            assert beat.stat().st_mode & 0o777 == 0o600
            assert (await scrape(address))["discord_memory_connected_guilds"] == 1
            command = [sys.executable, str(ROOT / "bot.py"), "health", "--data", str(bot.data)]
            well = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: ASYNC221
            assert (well.returncode, well.stderr) == (0, "")
            assert await bot.terminate() == 0
            assert "not running" in str(health_problem(bot.data))
        told = []
        while True:
            try:
                told.append(systemd.recv(100).decode())
            except BlockingIOError:
                break
    assert [told[0], told[-1], told.count("WATCHDOG=1") > 0] == ["READY=1", "STOPPING=1", True]
