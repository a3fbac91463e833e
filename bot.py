"""The entry point: settings → profile → the Discord bot, or a command that needs no Discord. See ``--help``."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

# Before anything imports torch or NumPy: idle threads must not spin on a small machine's few cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if __name__ == "__main__":  # before the imports, which take a while: to be stopped while starting is no failure
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

from cogs.memory.exceptions import MemoryCogError, StoreError
from cogs.memory.surface.cli.arguments import parse_arguments
from cogs.memory.surface.cli.output import console, fail
from profiles import ProfileError, SettingsError, choose_profile, load_settings

if TYPE_CHECKING:
    import argparse

    from cogs.memory.surface.operation.shards import Shards
    from profiles import MemoryProfile, Settings

SAMPLE_MEMORY = Path(__file__).parent / "data" / "sample-memory"
"""Where the console keeps the sample server while there is no memory yet: apart from the bot's own."""


async def run_command(arguments: argparse.Namespace, settings: Settings) -> int:
    """Carry out a command that needs no Discord; return the exit code."""
    from cogs.memory.surface.cli.upkeep_commands import COMMANDS

    if arguments.command in (*COMMANDS, "migrate"):
        return await run_upkeep(arguments, settings)
    from cogs.memory.memory_service import check_query
    from cogs.memory.model_loading import model_sources
    from cogs.memory.surface.cli.lookup import require_memory

    if arguments.command == "recall":
        check_query(arguments.query)  # before anything is loaded
        require_memory(settings)
    profile, reason = choose_profile(settings)
    if arguments.command == "doctor":
        from cogs.memory.surface.cli.doctor import doctor

        return await doctor(profile, reason, settings, Path(settings.memory_data), key=settings.database_key())
    if arguments.command == "evaluate":
        from cogs.memory.surface.cli.evaluate_command import evaluate

        databases = settings.databases if arguments.database else ()
        return await evaluate(arguments, profile, model_sources(settings), databases)
    return await run_on_memory(arguments, settings, profile)


async def run_on_memory(arguments: argparse.Namespace, settings: Settings, profile: MemoryProfile) -> int:
    """Carry out import, recall or the console; return the exit code."""
    from cogs.memory.memory_service import MemoryService
    from cogs.memory.model_loading import model_sources
    from cogs.memory.surface.cli.model_at_hand import profile_of_command

    folder, key = Path(settings.memory_data), settings.database_key()
    has_memory = sys.stdin.isatty() and (folder / "memory.db").exists()  # the tour is one of the sample server
    if arguments.command in ("run", "console") and arguments.data is None and not has_memory:
        folder, key = SAMPLE_MEMORY, None
    may_fill = not settings.databases and (arguments.data is not None or folder == SAMPLE_MEMORY)
    sources = model_sources(settings)
    profile = await profile_of_command(arguments, profile, sources)
    async with MemoryService.on_folder(
        profile, folder, databases=settings.databases, sources=sources, key=key
    ) as memory:
        if arguments.command == "import":
            from cogs.memory.surface.cli.import_command import import_files

            return await import_files(memory, arguments.files)
        if arguments.command == "recall":
            from cogs.memory.surface.cli.recall_command import recall_once

            return await recall_once(memory, arguments)
        from cogs.chat.console import ConsoleChat
        from cogs.chat.provider_choice import ProviderChoice
        from cogs.memory.surface.cli.local_console import local_console

        chat = ConsoleChat(memory, ProviderChoice.from_settings(settings, memory))
        try:
            return await local_console(memory, chat, with_sample=may_fill)
        finally:
            await chat.close()


async def run_upkeep(arguments: argparse.Namespace, settings: Settings) -> int:
    """Carry out a command that is about the database as a whole; return the exit code."""
    if arguments.command == "migrate":
        from cogs.memory.surface.cli.migrate_command import migrate

        return await migrate(arguments.to, settings)
    if settings.databases:
        raise StoreError(
            f"bot.py {arguments.command} is for a memory in a folder; this one is in MEMORY_DATABASE: use the server's "
            "own tools, such as pg_dump, or unset it."
        )
    from cogs.memory.surface.cli.upkeep_commands import upkeep

    return await upkeep(arguments, Path(settings.memory_data), settings.database_key())


def _reranker_asked(arguments: argparse.Namespace) -> str | None:
    """The reranker model that ``evaluate --reranker`` asks for, as RERANKER_TYPE; the other names need no setting."""
    name: str | None = getattr(arguments, "reranker", None)
    return name if name in ("qwen3", "cross_encoder", "remote", "custom") else None


def run_discord(token: str, settings: Settings, shards: Shards | None) -> int:
    """Run the Discord bot; return the exit code if it ends by itself."""
    from cogs.memory.surface.client import run_bot

    profile, reason = choose_profile(settings)
    logging.getLogger(__name__).info("Profile %s: %s", profile.name, reason)
    return run_bot(token, profile, Path(settings.memory_data), shards=shards)


def main(argv: list[str] | None = None) -> int:
    """Run a command; expected failures end in one sentence and exit code 1."""
    from cogs.memory.surface.operation.log_setup import set_up_logging

    arguments = parse_arguments(argv)
    if __name__ == "__main__" and arguments.command != "run":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # to be stopped in the middle of an import is no success
    try:
        settings = load_settings(
            memory_data=arguments.data, memory_profile=arguments.profile, reranker_type=_reranker_asked(arguments)
        )
        set_up_logging(settings, quiet=settings.discord_token is None or arguments.command != "run")
        if arguments.command == "run" and settings.discord_token is None:
            console.print("DISCORD_TOKEN is not set: this is the local console, not the Discord bot.")
        if arguments.command == "run" and settings.discord_token is not None:
            return run_discord(settings.discord_token.get_secret_value(), settings, arguments.shards)
        if arguments.command == "health":
            from cogs.memory.surface.operation.heartbeat import health_problem

            problem = health_problem(Path(settings.memory_data))
            return fail(problem) if problem else 0
        return asyncio.run(run_command(arguments, settings))
    except (MemoryCogError, ProfileError, SettingsError) as error:
        return fail(str(error))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
