from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from profiles import detect_hardware
from profiles.accelerators import Accelerator, cuda_sign
from profiles.hardware import detect_linux, macos_hardware, read_cgroup_limits
from profiles.settings import PROJECT_FOLDER

if TYPE_CHECKING:
    from pathlib import Path

GIB = 2**30
V2_MOUNT = "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
FOUR_THREADS_ON_TWO_CORES = "\n".join(
    f"processor\t: {n}\nmodel name\t: Test\nphysical id\t: 0\ncore id\t: {n // 2}\nflags\t: avx2 avx512_bf16\n"
    for n in range(4)
)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def machine(root: Path, **more: str) -> Path:
    files = {
        "proc/cpuinfo": FOUR_THREADS_ON_TWO_CORES,
        "proc/meminfo": f"MemTotal: {16 * GIB // 1024} kB\nMemAvailable: {10 * GIB // 1024} kB\n",
    }
    return write(root, files | more)


def test_without_cgroups_the_machine_is_what_it_is(tmp_path: Path) -> None:
    hardware = detect_linux(machine(tmp_path), frozenset(range(4)))
    assert (hardware.cores, hardware.physical_cores, hardware.cpu_quota) == (4, 2, None)
    assert (hardware.memory_total, hardware.memory_available) == (16 * GIB, 10 * GIB)
    assert hardware.cpu_name == "Test"
    assert hardware.has_bfloat16


def test_affinity_leaves_only_the_processors_it_names(tmp_path: Path) -> None:
    hardware = detect_linux(machine(tmp_path), frozenset({0, 1}))
    assert (hardware.cores, hardware.physical_cores) == (2, 1)


def test_the_tightest_group_above_the_process_counts_in_version_2(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/system.slice/bot.service"
    files = {
        "proc/self/cgroup": "0::/system.slice/bot.service\n",
        "proc/self/mountinfo": V2_MOUNT,
        f"{group}/cpu.max": "max 100000\n",
        f"{group}/memory.max": "max\n",
        f"{group}/memory.high": f"{6 * GIB}\n",
        f"{group}/memory.current": f"{5 * GIB}\n",
        f"{group}/memory.stat": f"anon 1\ninactive_file {2 * GIB}\n",
        "sys/fs/cgroup/system.slice/cpu.max": "150000 100000\n",
        "sys/fs/cgroup/system.slice/memory.max": f"{8 * GIB}\n",
        "sys/fs/cgroup/system.slice/memory.current": f"{7 * GIB}\n",
    }
    hardware = detect_linux(machine(tmp_path, **files), frozenset(range(4)))
    assert hardware.cpu_quota == 1.5
    assert (hardware.cores, hardware.physical_cores) == (1, 1)  # a second thread would only be throttled
    assert hardware.memory_limit == hardware.memory_total == 6 * GIB
    assert hardware.memory_available == 1 * GIB  # in the slice; the service itself could take 3


def test_version_1_controllers_are_read_each_in_its_own_hierarchy(tmp_path: Path) -> None:
    mounts = (
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    )
    files = {
        "proc/self/cgroup": "4:memory:/pod/one\n2:cpu,cpuacct:/pod\n0::/\n",
        "proc/self/mountinfo": mounts,
        "sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us": "300000\n",
        "sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/pod/one/memory.limit_in_bytes": f"{2 * GIB}\n",
        "sys/fs/cgroup/memory/pod/one/memory.usage_in_bytes": f"{GIB}\n",
        "sys/fs/cgroup/memory/pod/one/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB // 2}\n",
    }
    limits = read_cgroup_limits(write(tmp_path, files))
    assert limits == (3.0, 2 * GIB, 3 * GIB // 2)


@pytest.mark.parametrize(
    ("path", "root"),
    [("/docker/1f", "/docker/1f"), ("/../../elsewhere", "/"), ("/not/visible/here", "/")],
    ids=["mount of the container's own group", "outside the namespace", "hidden"],
)
def test_a_container_that_sees_only_its_own_group_finds_its_limit_at_the_mount(
    tmp_path: Path, path: str, root: str
) -> None:
    files = {
        "proc/self/cgroup": f"0::{path}\n",
        "proc/self/mountinfo": V2_MOUNT.replace(" / /sys", f" {root} /sys"),
        "sys/fs/cgroup/memory.max": f"{GIB}\n",
        "sys/fs/cgroup/cpu.max": "200000 100000\n",
        "elsewhere/memory.max": "1\n",
    }
    limits = read_cgroup_limits(write(tmp_path, files))
    assert (limits.cpus, limits.memory) == (2.0, GIB)


def test_a_quota_above_the_affinity_adds_no_cores(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": V2_MOUNT,
        "sys/fs/cgroup/cpu.max": "900000 100000",
    }
    assert detect_linux(machine(tmp_path, **files), frozenset(range(4))).cores == 4


def test_a_machine_that_says_nothing_has_one_core_and_unknown_memory(tmp_path: Path) -> None:
    hardware = detect_linux(tmp_path, frozenset({0}))
    assert (hardware.cores, hardware.physical_cores, hardware.memory_total) == (1, 1, 0)
    assert not hardware.has_bfloat16


def test_a_mac_is_read_from_sysctl_and_vm_stat() -> None:
    values = {
        "hw.memsize": str(16 * GIB),
        "hw.physicalcpu": "8",
        "hw.logicalcpu": "8",
        "machdep.cpu.brand_string": "Apple M2",
    }
    vm_stat = "Statistics: (page size of 16384 bytes)\nPages free: 1000.\n"
    hardware = macos_hardware(values, vm_stat)
    assert (hardware.cores, hardware.physical_cores, hardware.memory_total) == (8, 8, 16 * GIB)
    assert hardware.memory_available == 1000 * 16384
    assert hardware.cpu_name == "Apple M2"


def test_this_machine_is_detected_without_contradiction() -> None:
    hardware = detect_hardware(probe_accelerators=False)
    assert 1 <= hardware.physical_cores <= hardware.cores <= (os.cpu_count() or 1)
    assert 0 < hardware.memory_available <= hardware.memory_total
    assert hardware.accelerator is None


@pytest.mark.parametrize("sign", ["proc/driver/nvidia/version", "dev/nvidia0", "dev/nvidiactl", "dev/kfd"])
def test_a_driver_or_device_file_is_a_sign_of_a_gpu(tmp_path: Path, sign: str) -> None:
    assert cuda_sign(tmp_path, {"PATH": ""}) == ""
    write(tmp_path, {sign: ""})
    assert cuda_sign(tmp_path, {"PATH": ""})
    for hidden in ("", "-1"):
        assert cuda_sign(tmp_path, {"PATH": "", "CUDA_VISIBLE_DEVICES": hidden}) == ""
    assert cuda_sign(tmp_path, {"PATH": "", "CUDA_VISIBLE_DEVICES": "0"})


def test_nvidia_smi_on_the_path_is_a_sign_of_a_gpu(tmp_path: Path) -> None:
    executable(tmp_path / "bin/nvidia-smi")
    assert cuda_sign(tmp_path, {"PATH": str(tmp_path / "bin")}) == "nvidia-smi"


TORCH_INIT = """
class cuda:
    is_available = staticmethod(lambda: {available})
    @staticmethod
    def get_device_properties(index):
        {properties}
class backends:
    class mps:
        is_available = staticmethod(lambda: {available})
"""
CARD = "return type('P', (), dict(name='Test 24', total_memory=24 * 10**9, major={major}, minor=0))()"


def executable(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)


def run_with_torch(tmp_path: Path, code: str, *, version: str, init: str) -> str:
    """Run code in a fresh process that has an nvidia-smi and another torch."""
    executable(tmp_path / "bin/nvidia-smi")
    write(tmp_path, {"site/torch/__init__.py": init, "site/torch/version.py": version})
    path = f"{tmp_path / 'site'}{os.pathsep}{PROJECT_FOLDER}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PATH": str(tmp_path / "bin"), "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def probe(tmp_path: Path, *, version: str, init: str, before: str = "") -> str:
    """Return what a probe finds, its problem, and whether it imported torch."""
    code = f"""
import sys; {before}
from profiles.accelerators import probe_accelerators
found = probe_accelerators(17 * 10**9)
print(found.accelerator, "|", found.problem, "|", "torch" in sys.modules)
"""
    return run_with_torch(tmp_path, code, version=version, init=init)


@pytest.mark.parametrize(("major", "native"), [(9, True), (8, True), (7, False)])
def test_a_cuda_card_is_found_with_its_name_memory_and_arithmetic(tmp_path: Path, major: int, native: bool) -> None:
    init = TORCH_INIT.format(available=True, properties=CARD.format(major=major))
    card = Accelerator("cuda", "Test 24", 24 * 10**9, native)
    assert probe(tmp_path, version="cuda = '12.8'\n", init=init) == f"{card} |  | True"


def test_a_cpu_build_of_torch_is_not_imported_for_a_gpu_it_cannot_use(tmp_path: Path) -> None:
    found = probe(tmp_path, version="cuda = None\nhip = None\n", init="raise SystemExit('imported')")
    assert found == "None | there is a GPU (nvidia-smi), but the installed torch is the CPU build | False"


def test_a_driver_that_torch_cannot_use_is_said(tmp_path: Path) -> None:
    init = TORCH_INIT.format(available=False, properties="raise RuntimeError('no')")
    assert "but torch cannot use it: check its driver" in probe(tmp_path, version="cuda = '12.8'\n", init=init)


def test_a_card_that_does_not_answer_is_said_in_one_line(tmp_path: Path) -> None:
    init = TORCH_INIT.format(available=True, properties=r"raise RuntimeError('CUDA error: lost\nmore')")
    found = probe(tmp_path, version="cuda = '12.8'\n", init=init)
    assert found == "None | there is a GPU (nvidia-smi), but torch cannot use it: CUDA error: lost | True"


MAC = "import platform; platform.system = lambda: 'Darwin'; platform.machine = lambda: '{machine}'"


def test_an_apple_gpu_shares_the_memory_of_the_machine(tmp_path: Path) -> None:
    init = TORCH_INIT.format(available=True, properties="pass")
    found = probe(tmp_path, version="cuda = None\n", init=init, before=MAC.format(machine="arm64"))
    assert found == f"{Accelerator('mps', 'Apple GPU', 17 * 10**9)} |  | True"


def test_an_apple_gpu_that_torch_cannot_use_is_said(tmp_path: Path) -> None:
    init = TORCH_INIT.format(available=False, properties="pass")
    found = probe(tmp_path, version="cuda = None\n", init=init, before=MAC.format(machine="arm64"))
    assert "macOS or torch is too old" in found


def test_an_intel_mac_has_no_gpu_to_ask_for(tmp_path: Path) -> None:
    found = probe(tmp_path, version="cuda = None\n", init="raise SystemExit", before=MAC.format(machine="x86_64"))
    assert found == "None |  | False"


def test_a_gpu_without_torch_is_said(tmp_path: Path) -> None:
    code = "from profiles.accelerators import probe_accelerators as p; print(p(0).problem)"
    executable(tmp_path / "bin/nvidia-smi")
    environment = {"PATH": str(tmp_path / "bin"), "PYTHONPATH": str(PROJECT_FOLDER)}
    command = [sys.executable, "-S", "-c", code]  # -S hides the installed packages
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "there is a GPU (nvidia-smi), but torch is not installed\n"


def test_detection_asks_for_gpus_unless_told_not_to(tmp_path: Path) -> None:
    code = """
from profiles import detect_hardware
without = detect_hardware(probe_accelerators=False)
print([bool(found.accelerator_problem) for found in (detect_hardware(), without, without.with_accelerators())])
"""
    assert run_with_torch(tmp_path, code, version="cuda = None\n", init="") == "[True, False, True]"


def test_a_mac_whose_commands_say_nothing_is_a_small_machine(tmp_path: Path) -> None:
    hardware = macos_hardware({}, "")
    assert (hardware.cores, hardware.physical_cores) == (os.cpu_count(), os.cpu_count())
    assert (hardware.memory_total, hardware.memory_available, hardware.cpu_features) == (0, 0, frozenset())
    code = f"""
{MAC.format(machine="x86_64")}
from profiles import detect_hardware, select_profile
print(select_profile(detect_hardware()).name)
"""
    if sys.platform != "darwin":
        assert run_with_torch(tmp_path, code, version="", init="") == "embedded"
