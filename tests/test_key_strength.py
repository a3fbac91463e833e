"""Keys that are easily guessed: they are warned of, and never in the way."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

import bot
from cogs.memory.key_strength import is_weak
from cogs.memory.memory_service import MemoryService
from cogs.memory.stores.sqlite import SqliteStore
from cogs.memory.surface.cli.arguments import parse_arguments
from cogs.memory.surface.cli.upkeep_commands import upkeep
from profiles import load_profile
from tests.conftest import said

if TYPE_CHECKING:
    from pathlib import Path

    from cogs.memory.embedding_service import LoadEncoder

SHORT = "zq-abc"
GOOD = "h8W1kP0sZbq4v7yE"


def make_memory(folder: Path, key: str | None) -> None:
    """A database with one message, as an earlier version made it with any key."""

    async def fill() -> None:
        store = SqliteStore(folder, key=key)
        await store.open()
        await store.upsert([said(1, "tea")])
        await store.close()

    asyncio.run(fill())


def run(folder: Path, *argv: str, key: str | None = None) -> int:
    return asyncio.run(upkeep(parse_arguments(list(argv)), folder, key))


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "elevenchars",
        "aaaaaaaaaaaaaaaaaaaa",
        "abcabcabcabcab",
        "passwordpassword",
        "abcdefghijklm",
        "ZYXWVUTSRQPON",
        "123456789012",
        "qwertyuiopas",
    ],
)
def test_what_is_short_repeated_or_a_row_is_weak(key: str) -> None:
    assert is_weak(key)


@pytest.mark.parametrize("key", [GOOD, "a passphrase", "tea at four tea", "correct horse battery staple"])
def test_other_keys_are_not(key: str) -> None:
    assert not is_weak(key)


async def test_a_memory_opens_with_it_and_the_log_warns(
    tmp_path: Path, load_shared: LoadEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.to_thread(make_memory, tmp_path, SHORT)
    with caplog.at_level(logging.WARNING):
        profile = load_profile("embedded")
        async with MemoryService.on_folder(profile, tmp_path, key=SHORT, load=load_shared) as memory:
            assert (await memory.stats()).messages == 1
    assert "bot.py decrypt" in caplog.text
    assert SHORT not in caplog.text


def test_encrypt_warns_of_a_weak_key_and_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_memory(tmp_path, None)
    assert run(tmp_path, "encrypt", key=SHORT) == 0
    warning = capsys.readouterr().err
    assert "warning: The key of the database is easily guessed" in warning.replace("\n", " ")
    assert SHORT not in warning
    assert run(tmp_path, "decrypt", key=SHORT) == 0
    assert run(tmp_path, "encrypt", key=GOOD) == 0
    assert "warning" not in capsys.readouterr().err


def test_a_weak_key_is_exchanged_by_decrypt_and_encrypt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_memory(tmp_path, SHORT)
    assert run(tmp_path, "encrypt", key=SHORT) == 0, "it is encrypted already"
    assert run(tmp_path, "decrypt", key=SHORT) == 0
    assert run(tmp_path, "encrypt", key=GOOD) == 0
    assert "1 messages is encrypted" in capsys.readouterr().out


@pytest.mark.parametrize("key", [SHORT, GOOD])
def test_doctor_warns_of_a_weak_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    monkeypatch.setenv("MEMORY_KEY", key)
    monkeypatch.setenv("MEMORY_PROFILE", "embedded")
    make_memory(tmp_path, key)
    assert bot.main(["doctor", "--data", str(tmp_path)]) == 0
    said_of_it = capsys.readouterr()
    assert ("warning: The key of the database" in said_of_it.err) == (key == SHORT)
    assert "1 messages" in said_of_it.out
    assert key not in "".join(said_of_it)
