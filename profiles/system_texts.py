"""What the operating system's own texts say about the machine: pure functions, text in, facts out.

A line that cannot be read is passed over, never guessed: an unknown fact comes out as None or an empty set,
and the selection then takes the smaller profile.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final, Literal, NamedTuple, TypeAlias

CpuFeature: TypeAlias = Literal["amx_bf16", "avx512_bf16", "avx512_vnni", "avx2"]

_FEATURE_BY_FLAG: Final[dict[str, CpuFeature]] = {
    "amx_bf16": "amx_bf16",
    "avx512_bf16": "avx512_bf16",
    "avx512_vnni": "avx512_vnni",
    "avx2": "avx2",
    # macOS writes the same names without underscore, one of them with a version
    "avx512bf16": "avx512_bf16",
    "avx512vnni": "avx512_vnni",
    "avx2_0": "avx2",
}
_CGROUP_V1_UNLIMITED: Final = 2**62  # "no limit" is written as 2**63 rounded down to a page, whatever the page size


class CpuInfo(NamedTuple):
    """What /proc/cpuinfo says; ``core_of`` maps a processor number to its (package, core)."""

    name: str
    features: frozenset[CpuFeature]
    core_of: dict[int, tuple[int, int]]


class CgroupMount(NamedTuple):
    """One mounted cgroup hierarchy; version 2 has the single controller name ``""``."""

    controllers: frozenset[str]
    root: str
    mount_point: str


def parse_cpuinfo(text: str) -> CpuInfo:
    """Read /proc/cpuinfo. A processor without package and core (Arm) counts as a core of its own."""
    name, features, core_of = "", frozenset[CpuFeature](), dict[int, tuple[int, int]]()
    for block in re.split(r"\n\s*\n", text):
        lines = dict(_split_line(line) for line in block.splitlines() if ":" in line)
        name = name or lines.get("model name", "")
        features = features or cpu_features(lines.get("flags", "").split())
        if (processor := whole_number(lines.get("processor", ""))) is None:
            continue
        package, core = whole_number(lines.get("physical id", "")), whole_number(lines.get("core id", ""))
        core_of[processor] = (-1, processor) if core is None else (package or 0, core)
    return CpuInfo(name, features, core_of)


def cpu_features(flags: list[str]) -> frozenset[CpuFeature]:
    """Return the features that matter here, from flag names as Linux or macOS writes them."""
    lowered = (flag.lower() for flag in flags)
    return frozenset(_FEATURE_BY_FLAG[flag] for flag in lowered if flag in _FEATURE_BY_FLAG)


def parse_meminfo(text: str) -> tuple[int | None, int | None]:
    """Read total and available bytes from /proc/meminfo (which counts in KiB)."""
    lines = dict(_split_line(line) for line in text.splitlines() if ":" in line)
    total, available = (whole_number(lines.get(key, "").removesuffix("kB")) for key in ("MemTotal", "MemAvailable"))
    return _kib(total), _kib(available)


def parse_cgroup_paths(text: str) -> dict[str, str]:
    """Read /proc/self/cgroup: controller → path of this process in its hierarchy; ``""`` is version 2."""
    paths = {}
    for line in text.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            paths.update(dict.fromkeys(parts[1].split(","), parts[2]))
    return paths


def parse_cgroup_mounts(text: str) -> list[CgroupMount]:
    """Read the cgroup hierarchies out of /proc/self/mountinfo (proc_pid_mountinfo(5))."""
    mounts = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if not separator or len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            mounts.append(CgroupMount(frozenset({""}), _unescape(fields[3]), _unescape(fields[4])))
        elif kind[0] == "cgroup":
            mounts.append(CgroupMount(frozenset(kind[2].split(",")), _unescape(fields[3]), _unescape(fields[4])))
    return mounts


def parse_cpu_max(text: str) -> float | None:
    """Read cgroup v2 cpu.max, ``quota period`` in µs: how many CPUs may be used, None for no limit."""
    quota, _, period = text.partition(" ")
    return cpu_quota(quota, period)


def cpu_quota(quota: str, period: str) -> float | None:
    """Divide a CFS quota by its period (both µs): how many CPUs may be used, None for ``max``, -1 or nonsense."""
    microseconds, length = whole_number(quota), whole_number(period)
    return microseconds / length if microseconds and length else None


def parse_memory_limit(text: str) -> int | None:
    """Read a cgroup memory limit in bytes, None for ``max`` or version 1's enormous number."""
    limit = whole_number(text)
    return limit if limit is not None and limit < _CGROUP_V1_UNLIMITED else None


def parse_inactive_file(memory_stat: str) -> int:
    """Read from a cgroup's memory.stat how many bytes of page cache would be given back on demand."""
    lines = dict(line.split(" ", 1) for line in memory_stat.splitlines() if " " in line)
    value = lines.get("total_inactive_file", lines.get("inactive_file", ""))  # with sub-groups in v1; v2
    return whole_number(value) or 0


def parse_sysctl(text: str) -> dict[str, str]:
    """Read the output of macOS ``sysctl NAME…``: name → value."""
    return dict(_split_line(line) for line in text.splitlines() if ":" in line)


def sysctl_features(values: dict[str, str]) -> frozenset[CpuFeature]:
    """Return the CPU features that macOS reports, by ``hw.optional.*`` or as a list of names."""
    flags = [name.rpartition(".")[2] for name, value in values.items() if "optional" in name and value == "1"]
    for key in ("machdep.cpu.features", "machdep.cpu.leaf7_features"):
        flags += values.get(key, "").split()
    return cpu_features(flags)


def parse_vm_stat(text: str) -> int | None:
    """Read available bytes from macOS ``vm_stat``: free, inactive and speculative pages."""
    page = re.search(r"page size of (\d+) bytes", text)
    counts: defaultdict[str, int] = defaultdict(int)
    for line in text.splitlines():
        name, value = _split_line(line)
        counts[name] = whole_number(value.rstrip(".")) or 0
    if page is None or not counts["Pages free"]:
        return None
    return int(page[1]) * (counts["Pages free"] + counts["Pages inactive"] + counts["Pages speculative"])


def torch_has_gpu_code(version_py: str) -> bool:
    """Read from torch's version.py whether it was built for CUDA or ROCm, so that a CPU build is never imported."""
    return re.search(r"^(cuda|hip)\b[^=\n]*=\s*['\"]", version_py, re.MULTILINE) is not None


def whole_number(text: str) -> int | None:
    """Return the number that ``text`` is, None when it is none or below zero (which cgroups use for "no limit")."""
    stripped = text.strip()
    return int(stripped) if re.fullmatch(r"[0-9]{1,20}", stripped) else None


def _split_line(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip(), value.strip()


def _kib(count: int | None) -> int | None:
    return None if count is None else count * 1024


def _unescape(path: str) -> str:
    """Undo mountinfo's octal escapes (a blank is written as backslash 040)."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)
