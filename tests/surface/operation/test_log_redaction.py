"""No credential and nothing that people wrote gets into the log, whoever logs it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from functools import partial

import pytest

from cogs.memory.exceptions import InvalidQuery
from cogs.memory.surface.operation.log_redaction import REDACTED, RedactingFilter, Redaction, describe_error
from cogs.memory.surface.operation.log_setup import JsonFormatter, secrets_of
from profiles import load_settings

CANARY = "the heron wears a velvet hat"


def logged(name: str, level: int, message: str, *args: object, secrets: tuple[str, ...] = ()) -> str | None:
    """What a handler with the filter writes of a record; None for nothing."""
    record = logging.getLogger(name).makeRecord(name, level, "file.py", 1, message, args, None)
    if not RedactingFilter(Redaction(secrets)).filter(record):
        return None
    return logging.Formatter().format(record)


@pytest.mark.parametrize(
    "line",
    [
        "POST https://discord.com/api/v10/interactions/123456/aW50ZXJhY3Rpb246{secret}/callback responded with 429",
        "PATCH https://discord.com/api/v10/webhooks/99/{secret}/messages/@original",
        "connecting to postgresql://bot:{secret}@db.example/memory",
        "connecting to redis://:{secret}@cache",
        "GET https://models.example/v1/embeddings?api_key={secret}&q=1 failed",
        "{{'Authorization': 'Bot {secret}'}}",
        "{{'token': '{secret}', 'intents': 33281}}",
        '"refresh_token": "{secret}"',
        "Authorization: Bearer {secret}",
    ],
)
def test_credentials_are_blanked_wherever_they_stand(line: str) -> None:
    secret = "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"
    shown = logged("discord.http", logging.WARNING, "%s", line.format(secret=secret))
    assert shown is not None
    assert REDACTED in shown
    assert secret not in shown
    assert secret.split(".", maxsplit=1)[0] not in shown


@pytest.mark.parametrize(
    "line",
    [
        "Guild 123456789012345678 is out of step, trying again in 60 s: the disk is full",
        "Profile cpu-basic: 2 cores without a bf16 unit",
        "Caught up with guild 1573674680793956354: 1322 messages",
        "GET https://discord.com/api/v10/channels/12/messages has received 200",
    ],
)
def test_ordinary_lines_stay_as_they_are(line: str) -> None:
    assert logged("cogs.memory", logging.INFO, line) == line


def test_secrets_of_the_settings_and_of_the_environment_are_known() -> None:
    settings = load_settings(env_file=None, discord_token="a.plain.token")
    environment = {
        "OPENAI_API_KEY": "unmarked-key-1",
        "MEMORY_KEY": "open sesame",
        "MEMORY_DATABASE": "postgresql://bot:p%40ss-word@db/memory",
        "PATH": "/usr/bin",
    }
    secrets = secrets_of(settings, environment)
    assert secrets == {"a.plain.token", "unmarked-key-1", "open sesame", "p%40ss-word", "p@ss-word"}
    assert logged("cogs", logging.INFO, "key %s", "open sesame", secrets=tuple(secrets)) == f"key {REDACTED}"


@pytest.mark.parametrize(
    ("name", "message", "args"),
    [
        ("discord.gateway", "For Shard ID %s: WebSocket Event: %s", (0, {"d": {"content": CANARY}})),
        ("discord.http", "%s %s has received %s", ("GET", "https://discord.com/api/v10/x", [{"content": CANARY}])),
        (
            "discord.http",
            "%s %s with %s has returned %s",
            ("POST", "https://d.com/x", f'{{"content":"{CANARY}"}}', 200),
        ),
        ("aiosqlite", "executing %s", (partial(print, "INSERT", [CANARY]),)),
        ("openai._base_client", "Request options: %s", ({"json_data": {"input": [CANARY]}},)),
        ("httpcore.http11", f"send_request_body.started {CANARY}", ()),
    ],
)
def test_debug_lines_of_libraries_lose_their_payload(name: str, message: str, args: tuple[object, ...]) -> None:
    shown = logged(name, logging.DEBUG, message, *args)
    assert shown is None or ("heron" not in shown and "velvet" not in shown)


def test_debug_lines_of_libraries_keep_what_helps() -> None:
    payload = {"op": 0, "d": {}}
    assert (
        logged("discord.gateway", logging.DEBUG, "For Shard ID %s: WebSocket Event: %s", 3, payload)
        == "For Shard ID 3: WebSocket Event: <dict of 2>"
    )
    assert logged("discord.client", logging.DEBUG, "Dispatching event %s", "message") == "Dispatching event message"
    assert logged("discord.gateway", logging.DEBUG, "Unknown event %d", "x" * 9) is not None


def test_a_traceback_quotes_no_message() -> None:
    def fails() -> None:
        try:
            int(CANARY)
        except ValueError as error:
            raise KeyError(CANARY) from error

    with pytest.raises(KeyError) as caught:
        fails()
    text = "".join(describe_error(caught.value))
    assert "heron" not in text
    assert "ValueError: invalid literal for int() with base 10: '…'" in text
    assert text.index("ValueError") < text.index("KeyError: …")
    assert "in fails" in text


def test_a_traceback_keeps_the_words_of_expected_failures_and_of_files() -> None:
    group = ExceptionGroup(
        "both", [InvalidQuery("Ask in at most '2,000' characters."), FileNotFoundError(2, "no", "x")]
    )
    text = "".join(describe_error(group))
    assert "Ask in at most '2,000' characters." in text
    assert "FileNotFoundError: [Errno 2] no: 'x'" in text


def test_a_json_line_is_one_object_with_the_error_id_and_the_traceback() -> None:
    log = logging.getLogger("cogs.memory.surface.failures")
    try:
        raise ValueError(f"bad: {CANARY!r}")
    except ValueError as error:
        record = log.makeRecord(
            log.name,
            logging.ERROR,
            "f",
            1,
            "Error %s in %s",
            ("beef01", "recall"),
            (type(error), error, error.__traceback__),
            extra={"error_id": "beef01"},
        )
    assert RedactingFilter(Redaction()).filter(record)
    line = JsonFormatter().format(record)
    entry = json.loads(line)
    assert "\n" not in line
    assert (entry["level"], entry["error_id"], entry["message"]) == ("ERROR", "beef01", "Error beef01 in recall")
    assert "ValueError: bad: '…'" in entry["exception"]


def test_warnings_threads_and_crashes_end_in_the_log_as_well() -> None:
    program = """
import threading, warnings
from profiles import load_settings
from cogs.memory.surface.operation.log_setup import set_up_logging
set_up_logging(load_settings(env_file=None, log_format="json", discord_token="a.plain.token"), quiet=False)
warnings.warn("old a.plain.token", stacklevel=1)
thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()
raise RuntimeError("a.plain.token")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["logger"] for line in lines] == ["py.warnings", *["cogs.memory.surface.operation.log_setup"] * 2]
    assert "ZeroDivisionError" in lines[1]["exception"]
    assert "RuntimeError" in lines[2]["exception"]
    assert "a.plain.token" not in done.stderr
    assert done.returncode == 1
