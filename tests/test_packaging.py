"""The lock file, the container, the composition and the systemd unit, as far as they can be proved without Docker."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from cogs.memory.surface.cli.arguments import parse_arguments
from profiles import Settings
from profiles.settings import PROJECT_FOLDER

LOCK = (PROJECT_FOLDER / "requirements.lock").read_text(encoding="utf-8")
DOCKERFILE = (PROJECT_FOLDER / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT_FOLDER / "compose.yaml").read_text(encoding="utf-8"))
UNIT = PROJECT_FOLDER / "data" / "operations" / "discord-memory.service"
LOCKED = dict(re.findall(r"^([\w.-]+)==(\S+) \\$", LOCK, re.MULTILINE))


def test_the_lock_file_satisfies_the_requirements() -> None:
    lines = (PROJECT_FOLDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(text) for line in lines if (text := line.split("#")[0].strip())]
    assert len(wanted) > 10
    for requirement in wanted:
        locked = LOCKED.get(canonicalize_name(requirement.name))
        assert locked is not None, requirement.name
        assert requirement.specifier.contains(Version(locked)), f"{requirement} but {locked}"


def test_every_locked_package_has_digests_and_none_names_a_place() -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE).strip())
    assert len(entries) == len(LOCKED) > 50
    assert [entry for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)] == []
    assert "//" not in LOCK
    assert "--index" not in LOCK


def test_torch_is_locked_to_the_cpu_build_and_brings_no_cuda() -> None:
    assert LOCKED["torch"].endswith("+cpu")
    assert [name for name in LOCKED if name.startswith(("nvidia", "cuda", "triton"))] == []


def test_the_image_runs_as_nobody_special_and_opens_no_port() -> None:
    final = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert final.index("\nUSER ") < final.index("\nENTRYPOINT ")
    assert "EXPOSE" not in DOCKERFILE
    assert "--require-hashes -r /requirements.lock" in DOCKERFILE
    assert (
        'HEALTHCHECK --interval=30s --timeout=15s --start-period=90s --retries=3 CMD ["python", "bot.py", "health"]'
        in (final)
    )
    assert parse_arguments(["health"]).command == "health"
    assert re.findall(r"PYTHON=python:(\d\.\d+)", DOCKERFILE) == re.findall(r"with Python (\d\.\d+)", LOCK)


def test_the_image_gets_what_it_copies_and_nothing_else() -> None:
    lines = (PROJECT_FOLDER / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        path
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for path in sources.split()
    }
    assert all((PROJECT_FOLDER / path).exists() for path in copied)
    assert copied == allowed - {"data"}
    assert lines.index("data/*") > lines.index("!data")


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_each_service_is_confined(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "ports", "network_mode", "pid", "ipc", "devices"}
    mounted = [volume.split(":")[0] for volume in service["volumes"]]
    assert set(mounted) <= COMPOSE["volumes"].keys(), "named volumes only"
    assert set(service["networks"]) <= COMPOSE["networks"].keys()
    assert "image" in service


def test_the_bot_needs_neither_root_nor_the_other_services() -> None:
    bot, postgres, models = (COMPOSE["services"][name] for name in ("bot", "postgres", "models"))
    assert bot["user"] == "10001:10001"
    assert "cap_add" not in bot
    assert "profiles" not in bot
    assert (postgres["profiles"], models["profiles"]) == (["postgres"], ["models"])
    assert postgres["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"]["internal"] is True
    assert {name.lower() for name in bot["environment"]} <= Settings.model_fields.keys()


def test_the_shards_are_run_by_processes_that_share_none_and_leave_none_out() -> None:
    groups = [service for service in COMPOSE["services"].values() if service.get("profiles") == ["shards"]]
    run = [parse_arguments(service["command"]).shards for service in groups]
    assert sorted(shard for shards in run for shard in shards.ids) == list(range(4))
    assert {shards.count for shards in run} == {4}
    assert len({str(service["volumes"]) for service in groups}) == len(groups)


def test_the_unit_starts_the_bot_and_shuts_it_in() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign] # keys keep their case
    unit.read(UNIT)
    service = unit["Service"]
    assert parse_arguments(service["ExecStart"].split()[2:]).command == "run"
    expected = {"Type": "notify", "DynamicUser": "yes", "StateDirectoryMode": "0700", "ProtectSystem": "strict"}
    expected |= {"NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "PrivateTmp": "yes"}
    assert {key: service[key] for key in expected} == expected
    assert int(service["TimeoutStopSec"]) > 5


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_calls_the_exposure_low() -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
