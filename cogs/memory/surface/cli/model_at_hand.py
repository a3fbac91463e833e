"""Whether a command has the reranker model: what answers once and ends can wait for a load, not for a download."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from cogs.memory.exceptions import ModelError
from cogs.memory.reranker_service import MODEL_TYPES
from cogs.memory.surface.cli.output import errors

if TYPE_CHECKING:
    import argparse

    from cogs.memory.memory_service import MemoryService
    from cogs.memory.model_loading import ModelSources
    from profiles import MemoryProfile


def is_model_here(profile: MemoryProfile, sources: ModelSources) -> bool:
    """Whether the profile's reranker model can be loaded without a download. Raises ModelError."""
    return profile.reranker in ("remote", "custom") or sources.has(profile.reranker_model)


def _without_model(profile: MemoryProfile) -> MemoryProfile:
    """The profile with the built-in ranking alone."""
    return replace(profile, reranker="late_interaction") if profile.reranker in MODEL_TYPES else profile


async def profile_of_command(
    arguments: argparse.Namespace, profile: MemoryProfile, sources: ModelSources
) -> MemoryProfile:
    """The profile as a command needs it: ``import`` ranks nothing, and ``recall`` ends before a model is fetched."""
    if arguments.command == "import":
        return _without_model(profile)
    if arguments.command != "recall" or profile.reranker not in MODEL_TYPES:
        return profile
    if arguments.no_rerank:
        return _without_model(profile)
    try:
        if await asyncio.to_thread(is_model_here, profile, sources):
            return profile
        why = f"{profile.reranker_model} is not on this machine yet (bot.py run fetches it)."
    except ModelError as error:
        why = str(error)
    _say_without(why)
    return _without_model(profile)


async def wait_for_model(memory: MemoryService, *, is_needed: bool = False) -> None:
    """Wait for the profile's model; say so when none comes. Raises ModelError then, if it is needed."""
    try:
        await memory.reranker.ready()
    except ModelError as error:
        if is_needed:
            raise
        _say_without(str(error))


def _say_without(why: str) -> None:
    errors.print(f"Ranked without the profile's model: {why}", style="yellow", markup=False)
