"""What the machine has, and how much of it this process may use.

A container sees the host's processors and memory; its cgroup says what it really gets. Every figure here is
the smaller of the two.
"""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from profiles import system_texts
from profiles.accelerators import Accelerator, probe_accelerators

if TYPE_CHECKING:
    from collections.abc import Iterator

    from profiles.system_texts import CpuFeature

_Number = TypeVar("_Number", int, float)
_SYSCTL_NAMES: Final = ("hw.memsize", "hw.physicalcpu", "hw.logicalcpu", "hw.optional", "machdep.cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One machine as this process may use it; memory in bytes, 0 where it could not be found out."""

    system: str
    """"Linux", "Darwin", …"""
    machine: str
    """The architecture: "x86_64", "arm64", …"""
    cpu_name: str = ""
    cores: int = 1
    """Logical processors: by affinity and cgroup quota, at least 1."""
    physical_cores: int = 1
    """Physical cores among them, at least 1: what ``MemoryProfile.threads = 0`` means."""
    cpu_quota: float | None = None
    """CPUs by cgroup quota, such as 1.5; None = no quota."""
    memory_total: int = 0
    """Of the machine, or the cgroup's limit where that is less."""
    memory_available: int = 0
    """What can be had now without swapping."""
    memory_limit: int | None = None
    """The cgroup's limit; None = none."""
    cpu_features: frozenset[CpuFeature] = frozenset()
    accelerator: Accelerator | None = None
    accelerator_problem: str = ""
    """Why a GPU that seems to be there cannot be used."""

    @property
    def has_bfloat16(self) -> bool:
        """Whether the CPU multiplies bfloat16 natively; without, it is slower there than float32."""
        return bool(self.cpu_features & {"amx_bf16", "avx512_bf16"})

    def with_accelerators(self) -> Hardware:
        """Return a copy that knows the GPU; imports torch only when there are signs of one."""
        probe = probe_accelerators(self.memory_total)
        return replace(self, accelerator=probe.accelerator, accelerator_problem=probe.problem)


class CgroupLimits(NamedTuple):
    """What the control groups of this process allow; None = no limit."""

    cpus: float | None = None
    memory: int | None = None
    memory_free: int | None = None
    """Bytes below the tightest limit, page cache that would be given back counted as free."""


def detect_hardware(*, probe_accelerators: bool = True) -> Hardware:
    """Find out what the machine has; a few milliseconds, unless a GPU makes it import torch.

    Args:
        probe_accelerators: False leaves GPUs out; `Hardware.with_accelerators` asks for them later.
    """
    hardware = _detect_macos() if platform.system() == "Darwin" else detect_linux(Path("/"), _affinity())
    return hardware.with_accelerators() if probe_accelerators else hardware


def detect_linux(root: Path, affinity: frozenset[int]) -> Hardware:
    """Read the machine from the files below ``root``; a file that is not there leaves its facts unknown.

    Args:
        root: the root of the file system.
        affinity: the numbers of the processors that this process may run on.
    """
    cpu = system_texts.parse_cpuinfo(_read(root / "proc/cpuinfo"))
    total, available = system_texts.parse_meminfo(_read(root / "proc/meminfo"))
    limits = read_cgroup_limits(root)
    physical = {cpu.core_of.get(processor, (-1, processor)) for processor in affinity}
    return Hardware(
        system=platform.system(),
        machine=platform.machine(),
        cpu_name=cpu.name,
        cores=_within_quota(len(affinity), limits.cpus),
        physical_cores=_within_quota(len(physical), limits.cpus),
        cpu_quota=limits.cpus,
        memory_total=_smallest(total, limits.memory) or 0,
        memory_available=_smallest(available, limits.memory_free) or 0,
        memory_limit=limits.memory,
        cpu_features=cpu.features,
    )


def read_cgroup_limits(root: Path) -> CgroupLimits:
    """Read the tightest CPU and memory limits of this process, of cgroup version 1 or 2 or both mounted together.

    Limits hold for all groups below, so each group from this process's own up to the mount is asked.
    """
    paths = system_texts.parse_cgroup_paths(_read(root / "proc/self/cgroup"))
    cpus: list[float | None] = []
    limits: list[int | None] = []
    free: list[int | None] = []
    for mount in system_texts.parse_cgroup_mounts(_read(root / "proc/self/mountinfo")):
        for controller in sorted(mount.controllers & {"", "cpu", "memory"}):
            for group in _groups(root, mount, paths.get(controller, "/")):
                cpus.append(_group_cpus(group, controller))
                limits.append(limit := _group_memory_limit(group, controller))
                if limit is not None:
                    free.append(max(0, limit - _group_memory_used(group)))
    return CgroupLimits(_smallest(*cpus), _smallest(*limits), _smallest(*free))


def _groups(root: Path, mount: system_texts.CgroupMount, path: str) -> Iterator[Path]:
    """Yield the folders of a process's group and of every group above it, up to the mount point."""
    base = root / mount.mount_point.lstrip("/")
    relative = Path(path.removeprefix(mount.root.rstrip("/")).strip("/"))
    if ".." in relative.parts:  # the group lies outside this cgroup namespace: only the mount itself can be seen
        relative = Path()
    for part in (relative, *relative.parents):
        yield base / part


def _group_cpus(group: Path, controller: str) -> float | None:
    match controller:
        case "":
            return system_texts.parse_cpu_max(_read(group / "cpu.max"))
        case "cpu":
            return system_texts.cpu_quota(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us"))
        case _:
            return None


def _group_memory_limit(group: Path, controller: str) -> int | None:
    names = {"": ("memory.max", "memory.high"), "memory": ("memory.limit_in_bytes",)}.get(controller, ())
    return _smallest(*(system_texts.parse_memory_limit(_read(group / name)) for name in names))


def _group_memory_used(group: Path) -> int:
    texts = (_read(group / name) for name in ("memory.current", "memory.usage_in_bytes"))
    used = next((count for text in texts if (count := system_texts.whole_number(text)) is not None), 0)
    return max(0, used - system_texts.parse_inactive_file(_read(group / "memory.stat")))


def _detect_macos() -> Hardware:
    values = system_texts.parse_sysctl(_output("/usr/sbin/sysctl", *_SYSCTL_NAMES))
    return macos_hardware(values, _output("/usr/bin/vm_stat"))


def macos_hardware(sysctl: dict[str, str], vm_stat: str) -> Hardware:
    """Build the hardware from macOS's own answers: ``sysctl`` as name → value, the text of ``vm_stat``."""

    def count(name: str) -> int:
        return system_texts.whole_number(sysctl.get(name, "")) or 0

    total = count("hw.memsize")
    cores = count("hw.logicalcpu") or os.cpu_count() or 1
    return Hardware(
        system="Darwin",
        machine=platform.machine(),
        cpu_name=sysctl.get("machdep.cpu.brand_string", ""),
        cores=cores,
        physical_cores=count("hw.physicalcpu") or cores,
        memory_total=total,
        memory_available=system_texts.parse_vm_stat(vm_stat) or 0,
        cpu_features=system_texts.sysctl_features(sysctl),
    )


def _affinity() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))  # systems without affinity


def _within_quota(cores: int, quota: float | None) -> int:
    """Return how many cores are worth a thread each: a part of a core only throttles the others."""
    return max(1, cores if quota is None else min(cores, int(quota)))


def _smallest(*values: _Number | None) -> _Number | None:
    return min((value for value in values if value is not None), default=None)


def _read(path: Path) -> str:
    """Return a small system file's text, or an empty one where there is no such file for this process."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(*command: str) -> str:
    """Return what a system command prints; sysctl exits with 1 when one of several names is unknown."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=5, check=False)  # noqa: S603 — fixed commands
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
