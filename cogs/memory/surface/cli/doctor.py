"""``bot.py doctor``: what this machine has, what was chosen, and whether it works."""

from __future__ import annotations

import asyncio
import tempfile
import time
from typing import TYPE_CHECKING

from rich.markup import escape

from cogs.memory.embedders.loading import load_encoder
from cogs.memory.exceptions import MemoryCogError, StoreLocked
from cogs.memory.key_strength import weakness
from cogs.memory.model_loading import model_sources
from cogs.memory.reranker_service import MODEL_TYPES
from cogs.memory.rerankers.late_interaction import late_interaction_scores
from cogs.memory.rerankers.structure import StructureWeights
from cogs.memory.stores.postgres import PostgresStore
from cogs.memory.stores.sqlite import SqliteStore
from cogs.memory.surface.cli.output import console, errors, warn_of
from cogs.memory.surface.cli.reranker_check import check_reranker
from profiles import detect_hardware

if TYPE_CHECKING:
    from pathlib import Path

    from cogs.memory.embedders import Encoder
    from profiles import Hardware, MemoryProfile, Settings

QUESTION = "Which planet is known as the Red Planet?"
ANSWER = "Mars, known for its reddish appearance, is often referred to as the Red Planet."
OTHERS = ("We moved the game to Thursday.", "The router needs port 8443 open.", "Sourdough starter is in the fridge.")


async def doctor(
    profile: MemoryProfile, reason: str, settings: Settings, folder: Path, *, key: str | None = None
) -> int:
    """Print what was found; return 1 when there is a problem, each told in one sentence."""
    hardware = await asyncio.to_thread(detect_hardware)
    console.print(f"[bold]machine[/]   {_machine(hardware)}")
    console.print(f"[bold]profile[/]   {escape(profile.name)}: {escape(reason)}")
    console.print(
        f"[bold]embedder[/]  {escape(profile.embedder)} · [bold]reranker[/] {profile.reranker}"
        f"{f' ({escape(profile.reranker_model)})' if profile.reranker_model else ''}"
    )
    token = "set" if settings.discord_token else "not set: the bot starts as a local console"
    console.print(f"[bold]Discord[/]   DISCORD_TOKEN is {token}")
    problems = await _check_models(profile)
    if profile.reranker in MODEL_TYPES:
        problems += await check_reranker(profile, model_sources(settings))
    problems += await _check_data(settings, folder, key)
    for problem in problems:
        errors.print(f"problem: {problem}", style="red", markup=False)
    if not problems:
        console.print("[green]Everything works.[/]")
    return 1 if problems else 0


def _machine(hardware: Hardware) -> str:
    """The machine in one line, memory in GB."""
    gpu = hardware.accelerator
    parts = (
        f"{hardware.system} {hardware.machine}",
        f"{hardware.cpu_name or 'processor'} with {', '.join(sorted(hardware.cpu_features)) or 'no unit that helps'}",
        f"{hardware.cores} threads on {hardware.physical_cores} cores",
        f"{hardware.memory_available / 1e9:.1f} of {hardware.memory_total / 1e9:.1f} GB free",
        f"{gpu.name}, {gpu.memory / 1e9:.1f} GB" if gpu else hardware.accelerator_problem or "no GPU",
    )
    return escape(" · ".join(parts))


async def _check_models(profile: MemoryProfile) -> list[str]:
    start = time.perf_counter()
    try:
        encoder = await asyncio.to_thread(load_encoder, profile)
        await asyncio.to_thread(StructureWeights.load)
    except MemoryCogError as error:
        return [str(error)]
    console.print(f"[bold]loaded[/]    {encoder.space.model} in {time.perf_counter() - start:.1f} s")
    problem = await asyncio.to_thread(_self_test, encoder)
    console.print(f"[bold]self-test[/] {problem or 'the right answer comes first, by vector and by late interaction'}")
    return [problem] if problem else []


def _self_test(encoder: Encoder) -> str | None:
    """Put one right answer among wrong ones; return what is wrong."""
    query = encoder.encode_query(QUESTION)
    documents = encoder.encode([*OTHERS, ANSWER])
    by_vector = max(range(len(documents)), key=lambda i: float(documents[i].vector @ query.vector))
    by_tokens = int(late_interaction_scores(QUESTION, query, [d.sketch for d in documents]).argmax())
    if by_vector != len(OTHERS) or by_tokens != len(OTHERS):
        return "The embedder does not put the right answer first: its weights or this processor's arithmetic are off."
    return None


async def _check_data(settings: Settings, folder: Path, key: str | None) -> list[str]:
    if not settings.databases:
        return await _check_folder(folder, key)
    return [problem for address in settings.databases for problem in await _check_database(address)]


async def _check_database(address: str) -> list[str]:
    store = PostgresStore(address)
    try:
        await store.open()
        try:
            stats = await store.stats()
        finally:
            await store.close()
    except MemoryCogError as error:
        return [str(error)]
    size = stats.bytes_on_disk / 1e6
    console.print(f"[bold]database[/]  {store.server}: {stats.messages:,} messages, {size:.1f} MB", highlight=False)
    return []


async def _check_folder(folder: Path, key: str | None) -> list[str]:
    existed = await asyncio.to_thread(folder.exists)
    try:
        warn_of(weakness(key))
        if existed:
            store = SqliteStore(folder, key=key)
            await store.open()
            try:
                stats = await store.stats()
            finally:
                await store.close()
            secrecy = "encrypted" if key else "not encrypted"
            size = stats.bytes_on_disk / 1e6
            console.print(
                f"[bold]data[/]      {escape(str(folder))}: {stats.messages:,} messages, {size:.1f} MB, {secrecy}"
            )
        else:
            await asyncio.to_thread(_can_write, folder)
            console.print(f"[bold]data[/]      {escape(str(folder))}: will be made at the first start")
    except StoreLocked:
        console.print(f"[bold]data[/]      {escape(str(folder))}: in use by a running bot")
    except MemoryCogError as error:
        return [str(error)]
    except OSError as error:
        return [f"The data folder {folder} cannot be made: {error.strerror}."]
    return []


def _can_write(folder: Path) -> None:
    parent = next(parent for parent in folder.parents if parent.exists())
    with tempfile.TemporaryFile(dir=parent):
        pass
