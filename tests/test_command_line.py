"""The program as its user runs it: real processes, real exit codes, no traceback."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from rich.console import Console

import bot
from cogs.memory.evaluation import METRICS
from cogs.memory.memory_service import MemoryService
from cogs.memory.records import StoredMessage
from cogs.memory.surface.cli import output
from cogs.memory.surface.cli.arguments import parse_arguments
from cogs.memory.surface.cli.evaluate_command import evaluation_table
from profiles import load_profile
from tests.conftest import START
from tests.tiny_models import make_qwen3

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "data" / "sample"


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run bot.py with nothing of this machine's settings."""
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", ""),
        "HF_HUB_OFFLINE": "1",
        "MEMORY_PROFILE": "embedded",
        "COLUMNS": "100",
        **environment,
    }
    return subprocess.run(
        [sys.executable, "bot.py", *map(str, arguments)],
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@dataclass(frozen=True)
class Ended:
    """What a command printed and returned."""

    returncode: int
    stdout: str
    stderr: str


Command: TypeAlias = "Callable[..., Ended]"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs bot.py's main in this process: a new one costs seconds for its imports alone."""
    for variable in os.environ:
        if variable.startswith(("DISCORD_", "MEMORY_", "RERANKER_")):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("MEMORY_PROFILE", "embedded")
    monkeypatch.setattr(output.console, "width", 100)

    def called(*arguments: str | Path) -> Ended:
        capfd.readouterr()
        code = bot.main([str(argument) for argument in arguments])
        return Ended(code, *capfd.readouterr())

    return called


def assert_one_sentence(result: Ended | subprocess.CompletedProcess[str], pattern: str) -> None:
    """It failed with a sentence, not with a traceback."""
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert re.search(pattern, result.stderr), result.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the sample server, imported by the command."""
    folder = tmp_path_factory.mktemp("data") / "memory"
    result = run("import", *sorted(SAMPLE.glob("kettle-*.json")), "--data", folder)
    assert result.returncode == 0, result.stderr
    assert "800 messages read from 7 files, 800 of them new; 12 skipped" in result.stdout
    return folder


def test_import_is_idempotent_and_a_broken_file_does_not_stop_the_others(
    command: Command, data: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"guild": ')
    kitchen = json.loads((SAMPLE / "kettle-kitchen.json").read_text())
    kitchen["channel"]["name"] = "[/b] kitchen"  # what a terminal's markup would trip over
    (tmp_path / "kitchen.json").write_text(json.dumps(kitchen))
    result = command("--data", data, "import", broken, tmp_path / "kitchen.json")
    assert_one_sentence(result, "broken.json is cut off or is not JSON")
    assert "0 of them new" in result.stdout


def test_what_is_whole_of_a_cut_off_export_is_imported_and_the_rest_later(command: Command, tmp_path: Path) -> None:
    cut, whole = tmp_path / "kettle-kitchen.json", SAMPLE / "kettle-kitchen.json"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    result = command("--data", tmp_path / "memory", "import", cut)
    assert_one_sentence(result, r"kettle-kitchen.json is cut off: the \d+ messages before the cut are imported")
    [landed] = map(int, re.findall(r"the (\d+) messages", result.stderr))
    assert f"{landed} messages read from 1 file, {landed} of them new" in result.stdout
    again = command("--data", tmp_path / "memory", "import", whole)
    assert again.returncode == 0, again.stderr
    [(read, new)] = re.findall(r"(\d+) messages read from 1 file, (\d+) of them new", again.stdout)
    assert 0 < int(new) == int(read) - landed


def test_recall_prints_results_and_what_was_done(command: Command, data: Path) -> None:
    result = command("recall", "which port does the vpn need", "--data", data, "--limit", "3")
    assert result.returncode == 0, result.stderr
    assert re.search(r"^1\. .+ in #", result.stdout)
    assert "candidates" in result.stdout


async def hear(folder: Path, guild_id: int) -> None:
    """Store a message as the bot does when it comes from Discord."""
    async with MemoryService.on_folder(load_profile("embedded"), folder) as memory:
        await memory.remember([StoredMessage(guild_id, guild_id, 20, 5, "Mia", "the samovar is repaired", START)])
        await memory.queue.embedded()


def test_the_operator_can_ask_what_the_bot_itself_has_heard(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "heard"
    asyncio.run(hear(folder, 10))
    assert "the samovar is repaired" in command("recall", "samovar", "--data", folder).stdout
    asyncio.run(hear(folder, 11))
    assert_one_sentence(command("recall", "samovar", "--data", folder), r"Name a server with --guild.*: 10, 11")
    assert "samovar" in command("recall", "samovar", "--data", folder, "--guild", "11").stdout


def test_the_console_opens_the_memory_that_is_there_and_adds_nothing_to_it(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(hear(tmp_path / "heard", 10))
    monkeypatch.setenv("MEMORY_DATA", str(tmp_path / "heard"))
    typed = iter(["/status", "/quit"])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    shown = command("console").stdout
    assert "messages   1 by 1 people in 1 channels" in shown
    assert "Kettle & Dice" not in shown


def test_recall_as_json_holds_results_and_trace(command: Command, data: Path) -> None:
    result = command(
        "--data", data, "recall", "when is game night", "--json", "--limit", "2", "--channel", "board-games"
    )
    answer = json.loads(result.stdout)
    assert len(answer["results"]) == 2
    assert {r["channel"] for r in answer["results"]} == {"board-games"}
    assert answer["trace"]["reranker"] == "structure"
    plain = json.loads(command("--data", data, "recall", "when is game night", "--json", "--no-rerank").stdout)
    assert plain["trace"]["reranker"] == "rrf"


def test_recall_filters_by_author_and_time(command: Command, data: Path) -> None:
    result = command(
        *("recall", "game", "--json", "--author", "dunk", "--after", "2025-06-01", "--before", "2025-12-01"),
        *("--limit", "50", "--data", data),
    )
    found = json.loads(result.stdout)["results"]
    assert found
    assert {r["author"] for r in found} == {"dunk"}
    assert all("2025-06-01" <= r["created_at"] < "2025-12-01" for r in found)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["recall", ""], "write at least one word"),
        (["recall", "🎉🎉"], "write at least one word"),
        (["recall", "x " * 3000], "6,000 characters"),
        (["recall", "tea", "--author", "nobody at all"], "Nobody is called nobody at all. Known: "),
        (["recall", "tea", "--channel", "nowhere"], "No channel is called nowhere. Known: "),
        (["recall", "tea", "--after", "the day of the owl"], "is no date I know"),
        (["recall", "tea", "--after", "2026-01-02", "--before", "2025-01-01"], "wrong order"),
        (["recall", "tea", "--guild", "elsewhere"], "No server is called elsewhere. Known: "),
        (["evaluate", "missing.json"], "missing.json cannot be read"),
        (["evaluate", "data/sample/kettle-kitchen.json"], "is not an evaluation file"),
        (["--profile", "enormous", "doctor"], "enormous"),
    ],
)
def test_bad_input_ends_in_one_sentence(command: Command, data: Path, arguments: list[str], sentence: str) -> None:
    assert_one_sentence(command(*arguments, "--data", data), sentence)


def test_a_memory_that_is_not_there_is_not_made_by_a_question(command: Command, tmp_path: Path) -> None:
    assert_one_sentence(command("recall", "tea", "--data", tmp_path / "new"), "Import an export first")
    assert not (tmp_path / "new").exists()
    (tmp_path / "new").mkdir()
    assert_one_sentence(command("recall", "tea", "--data", tmp_path / "new"), "Import an export first")


@pytest.mark.parametrize("arguments", [["import", SAMPLE / "kettle-kitchen.json"], ["recall", "tea", "--no-rerank"]])
def test_a_command_that_needs_no_model_loads_none(command: Command, data: Path, arguments: list[str | Path]) -> None:
    result = command(*arguments, "--data", data, "--profile", "cpu")
    assert (result.returncode, result.stderr) == (0, "")


def test_an_answer_without_a_model_that_is_not_here_says_so_on_stderr_alone(command: Command, data: Path) -> None:
    result = command("recall", "which port does the vpn need", "--json", "--data", data, "--profile", "cpu")
    assert result.returncode == 0
    assert "Qwen3-Reranker-0.6B is not on this machine yet" in result.stderr
    assert json.loads(result.stdout)["trace"]["degraded"] == []


def test_an_answer_waits_for_a_model_that_is_here(
    command: Command, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_qwen3(tmp_path / "tiny")
    monkeypatch.setenv("RERANKER_TYPE", "qwen3")
    monkeypatch.setenv("RERANKER_MODEL", str(tmp_path / "tiny"))
    monkeypatch.setenv("RERANKER_DEADLINE_MS", "none")
    answer = json.loads(command("recall", "which port does the vpn need", "--json", "--data", data).stdout)
    assert answer["trace"]["reranked"] > 0
    assert all(0 <= result["rerank_score"] <= 1 for result in answer["results"])


def test_a_locked_folder_is_named(command: Command, data: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys, time\n"
            f"lock = open({str(data / 'memory.lock')!r}, 'r+')\n"
            "fcntl.flock(lock, fcntl.LOCK_EX)\n"
            "print('held', flush=True)\n"
            "time.sleep(600)\n",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert_one_sentence(command("recall", "tea", "--data", data), "(?i)in use|another process|already")
    finally:
        holder.kill()
        holder.communicate()


def test_a_folder_that_cannot_be_made_is_named(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_one_sentence(command("recall", "tea", "--data", tmp_path / "file" / "memory"), "(?i)folder|directory")


def test_doctor_finds_everything_in_order(command: Command, data: Path) -> None:
    result = command("doctor", "--data", data)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "the right answer comes first" in result.stdout
    assert "800 messages" in result.stdout


def test_doctor_names_a_damaged_database(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "memory.db").write_bytes(b"no database at all " * 100)
    assert_one_sentence(command("doctor", "--data", folder), "problem: ")


def test_without_a_token_and_a_terminal_run_shows_a_tour(tmp_path: Path) -> None:
    result = run("--data", tmp_path / "memory")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "DISCORD_TOKEN is not set" in result.stdout
    assert result.stdout.count("without reranking") == 3
    assert result.stdout.count("with reranking") == 3
    assert "/status" in result.stdout


def test_evaluate_prints_one_json_object_per_file(tmp_path: Path) -> None:
    small = json.loads((SAMPLE / "questions.json").read_text())
    small["channels"] = small["channels"][-1:]
    path = tmp_path / "small.json"
    path.write_text(json.dumps(small))
    result = run("evaluate", path, "--json")
    [line] = result.stdout.splitlines()
    report = json.loads(line)
    assert report["file"] == "small.json"
    assert report["reranker"] == "structure"
    assert 0 < report["all"]["R@10"] <= 1
    assert report["ingest_messages_per_s"] > 0


def test_an_evaluation_is_readable_in_a_terminal_of_80_columns() -> None:
    row = dict.fromkeys(METRICS, 0.875)
    result = {
        "file": "a-file-with-a-rather-long-name.json",
        "profile": "embedded",
        "reranker": "late_interaction",
        "ingest_messages_per_s": 1234.5,
        "recall_ms": {"p50": 12.34, "p95": 123.45},
        "n": 1000,
        "all": row,
        "by_category": {"open-domain": {"n": 500, **row}, "single-hop": {"n": 500, **row}},
        "adversarial": {"n": 400, **row},
    }
    shown = io.StringIO()
    Console(width=80, file=shown).print(evaluation_table(result))
    assert shown.getvalue().count("0.875") == 4 * 6
    assert "…" not in shown.getvalue()


@pytest.mark.parametrize("place", ["before", "after"])
def test_data_and_profile_stand_before_or_after_the_command(place: str) -> None:
    options = ["--data", "d", "--profile", "cpu"]
    argv = [*options, "recall", "q"] if place == "before" else ["recall", "q", *options]
    arguments = parse_arguments(argv)
    assert (arguments.command, str(arguments.data), arguments.profile) == ("recall", "d", "cpu")


def test_run_is_the_default_command() -> None:
    arguments = parse_arguments([])
    assert (arguments.command, arguments.data, arguments.profile) == ("run", None, None)


def test_importing_the_cog_loads_no_model_library() -> None:
    heavy = "[m for m in ('torch', 'transformers', 'sentence_transformers', 'matplotlib') if m in sys.modules]"
    result = subprocess.run(
        [sys.executable, "-c", f"import sys, cogs.memory, cogs.memory.memory_service, bot; print({heavy})"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"


def test_a_command_that_is_stopped_in_the_middle_did_not_succeed(tmp_path: Path) -> None:
    pipe = tmp_path / "export.json"
    os.mkfifo(pipe)
    command = [sys.executable, "bot.py", "import", str(pipe), "--data", str(tmp_path / "m"), "--profile", "embedded"]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as importing,
        pipe.open("w"),  # opens when the program begins to read
    ):
        importing.terminate()
        assert importing.wait(timeout=120) == -signal.SIGTERM


class TestDatabase:
    """What the commands say about a memory on a server; what they do with one is asked in tests/stores."""

    @pytest.mark.parametrize(
        ("command", "sentence"),
        [
            (["migrate", "--to", "mysql://x/y"], "address of a PostgreSQL database"),
            (["migrate", "--to", "folder"], "MEMORY_DATABASE is not set"),
            (["migrate", "--to", "postgresql://u:s3cret@127.0.0.1:9/x"], "There is no memory in"),
        ],
    )
    def test_a_move_that_cannot_be_is_refused_in_a_sentence(
        self, command: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert bot.main([*command, "--data", str(tmp_path / "none")]) == 1
        error = " ".join(capsys.readouterr().err.split())
        assert sentence in error
        assert "s3cret" not in error

    def test_a_backup_of_a_server_is_the_servers(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("MEMORY_DATABASE", "postgresql://u:s3cret@127.0.0.1:9/x")
        assert bot.main(["backup", str(tmp_path)]) == 1
        assert "pg_dump" in capsys.readouterr().err
