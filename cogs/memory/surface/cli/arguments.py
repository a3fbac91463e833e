"""The command line of ``bot.py``."""

from __future__ import annotations

import argparse
from pathlib import Path

from cogs.memory.reranker_service import MODEL_TYPES, ORDERS
from cogs.memory.surface.operation.shards import Shards

MAX_RESULTS = 100
EPILOG = """\
Without a command: run. Settings come from the environment or the file .env (see .env.example).
examples:
  bot.py import exports/*.json             take in what DiscordChatExporter wrote
  bot.py recall "where did we leave the key" --author Mia --after "last month"
  bot.py evaluate questions.json --compare
"""


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``--data`` and ``--profile`` may stand before or after the command."""
    everywhere = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    everywhere.add_argument(
        "--data", type=Path, metavar="DIR", help="the data folder (default: data/memory); MEMORY_DATABASE comes first"
    )
    everywhere.add_argument(
        "--profile", metavar="NAME", help="a profile (embedded, cpu, cpu-basic, gpu, gpu-large, remote) or a TOML file"
    )
    parser = argparse.ArgumentParser(
        prog="bot.py",
        description="A Discord bot that remembers what was said on a server and finds it again, on your own machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[everywhere],
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", parents=[everywhere])

    run = command("run", "start the Discord bot; without DISCORD_TOKEN the local console (the default command)")
    run.add_argument(
        "--shards", type=_shards, metavar="IDS/COUNT", help="run some of the bot's shards: 0-3/16 (default: all)"
    )
    command("console", "open the local console, on the sample server while there is no memory")
    _add_import(command("import", "take in servers exported by DiscordChatExporter as JSON"))
    _add_recall(command("recall", "answer one question"))
    _add_evaluate(command("evaluate", "measure recall on labelled chat (recall-eval/1 files)"))
    _add_folder(command("backup", "write a verified copy of the memory into a folder, also while the bot runs"))
    _add_restore(command("restore", "put a backup back; what was forgotten since stays forgotten"))
    command("encrypt", "encrypt the database with the key in MEMORY_KEY or MEMORY_KEY_FILE")
    command("decrypt", "turn an encrypted database into a plain one")
    migrate = command("migrate", "move the whole memory to a PostgreSQL server, or back into a folder")
    migrate.add_argument(
        "--to",
        required=True,
        metavar="postgresql://…|DIR",
        help="a server (from the data folder), or a folder (from the server in MEMORY_DATABASE)",
    )
    command("doctor", "show hardware, profile, models and data folder, and test them")
    command("health", "tell whether the bot on the data folder is alive and connected; exit code 1 if not")
    arguments = parser.parse_args(argv)
    arguments.command = arguments.command or "run"
    arguments.data = getattr(arguments, "data", None)
    arguments.shards = getattr(arguments, "shards", None)
    arguments.profile = getattr(arguments, "profile", None)
    return arguments


def _shards(text: str) -> Shards:
    try:
        return Shards.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="an exported channel, or a folder with exported channels"
    )


def _add_recall(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", metavar="QUERY")
    parser.add_argument("--guild", metavar="NAME", help="the server to search, if the memory holds several")
    parser.add_argument("--author", metavar="NAME", help="only messages of this person")
    parser.add_argument("--channel", metavar="NAME", help="only messages in this channel")
    parser.add_argument("--after", metavar="DATE", help='only from this time on: 2025-03-01, yesterday, "last week"')
    parser.add_argument("--before", metavar="DATE", help="only before this time")
    parser.add_argument("--limit", type=_count, metavar="N", help="how many results (default: the profile's, 5)")
    parser.add_argument("--no-rerank", action="store_true", help="retrieval order: fused keyword and vector search")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print one JSON object per file")
    names = (*ORDERS, "none", *sorted(MODEL_TYPES))
    parser.add_argument("--reranker", choices=names, metavar="NAME", help=f"rank by one of: {', '.join(names)}")
    parser.add_argument("--no-rerank", action="store_true", help="retrieval order: fused keyword and vector search")
    parser.add_argument("--compare", action="store_true", help="every stage on the same questions, side by side")
    parser.add_argument(
        "--database", action="store_true", help="on the server in MEMORY_DATABASE, in a schema that is removed again"
    )


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of the backup")


def _add_restore(parser: argparse.ArgumentParser) -> None:
    _add_folder(parser)
    parser.add_argument("--force", action="store_true", help="also where a memory is; that one is kept beside it")


def _count(text: str) -> int:
    try:
        return result_count(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def result_count(text: str) -> int:
    """Read how many results are wanted. Raises ValueError."""
    if (
        not text.isascii()
        or not text.isdecimal()
        or len(text) > len(str(MAX_RESULTS))
        or not 1 <= int(text) <= MAX_RESULTS
    ):
        raise ValueError(f"must be a number from 1 to {MAX_RESULTS}, not {text[:20]!r}")
    return int(text)
