"""``bot.py backup``, ``restore``, ``encrypt`` and ``decrypt``, as their operator meets them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from cogs.memory.exceptions import KeyMismatch, StoreError
from cogs.memory.stores.sqlite import SqliteStore
from cogs.memory.surface.cli.arguments import parse_arguments
from cogs.memory.surface.cli.upkeep_commands import upkeep
from profiles import SettingsError, load_settings
from tests.conftest import said

ROOT = Path(__file__).parents[1]
KEY = "a passphrase"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with two messages."""

    async def fill() -> None:
        store = SqliteStore(tmp_path / "memory")
        await store.open()
        await store.upsert([said(1, "zqcanary"), said(2, "zqcanary")])
        await store.close()

    asyncio.run(fill())
    return tmp_path / "memory"


def run(folder: Path, *argv: str, key: str | None = None) -> None:
    assert asyncio.run(upkeep(parse_arguments(list(argv)), folder, key)) == 0


def test_backup_encrypt_restore_and_decrypt_say_what_they_did(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = str(tmp_path / "backup")
    run(folder, "backup", backup)
    assert "2 messages" in capsys.readouterr().out
    run(folder, "restore", backup, "--force")
    assert "is kept as" in capsys.readouterr().out
    run(folder, "encrypt", key=KEY)
    assert "Without the key" in capsys.readouterr().out
    assert [file.name for file in folder.iterdir() if b"zqcanary" in file.read_bytes()] == []
    run(folder, "encrypt", key=KEY)
    assert "encrypted already" in capsys.readouterr().out
    with pytest.raises(KeyMismatch):
        run(folder, "encrypt", key="another")
    run(folder, "decrypt", key=KEY)
    assert "not encrypted any more" in capsys.readouterr().out
    with pytest.raises(StoreError, match="No key is set"):
        run(folder, "encrypt")
    with pytest.raises(StoreError, match="no memory"):
        run(tmp_path / "nowhere", "encrypt", key=KEY)


def test_a_wrong_key_ends_the_program_with_one_sentence_and_exit_code_1(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text(f"{KEY}\n")
    run(folder, "encrypt", key=KEY)

    def bot(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "bot.py", "backup", str(tmp_path / "backup"), "--data", str(folder)]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    wrong = bot({"MEMORY_KEY": "wrong"})
    assert wrong.returncode == 1
    assert wrong.stdout == ""
    assert wrong.stderr.count("\n") == 1
    assert "does not open the database" in wrong.stderr
    assert bot({"MEMORY_KEY_FILE": str(secret)}).returncode == 0


def test_the_key_comes_from_the_variable_or_the_file_but_not_from_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "key"
    assert load_settings(env_file=None).database_key() is None
    monkeypatch.setenv("MEMORY_KEY_FILE", str(secret))
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(env_file=None).database_key()
    secret.write_text("\n")
    with pytest.raises(SettingsError, match="no passphrase"):
        load_settings(env_file=None).database_key()
    secret.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SettingsError, match="not text"):
        load_settings(env_file=None).database_key()
    secret.write_text(f"  {KEY} \nmore\n")
    assert load_settings(env_file=None).database_key() == KEY
    monkeypatch.setenv("MEMORY_KEY", KEY)
    with pytest.raises(SettingsError, match="both set"):
        load_settings(env_file=None).database_key()
    monkeypatch.delenv("MEMORY_KEY_FILE")
    settings = load_settings(env_file=None)
    assert settings.database_key() == KEY
    assert KEY not in repr(settings)
