from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiles import system_texts as texts

XEON = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8488C
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu sse2 avx avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile

processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum 8488C
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu sse2 avx avx2

processor\t: 2
model name\t: Intel(R) Xeon(R) Platinum 8488C
physical id\t: 1
core id\t\t: 0
flags\t\t: fpu sse2 avx avx2
"""
ARM = """\
processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd bf16 i8mm

processor\t: 1
BogoMIPS\t: 2100.00
Features\t: fp asimd bf16 i8mm
"""


def test_cpuinfo_gives_name_features_and_the_core_of_each_processor() -> None:
    cpu = texts.parse_cpuinfo(XEON)
    assert cpu.name == "Intel(R) Xeon(R) Platinum 8488C"
    assert cpu.features == {"avx2", "avx512_vnni", "avx512_bf16", "amx_bf16"}
    assert cpu.core_of == {0: (0, 0), 1: (0, 0), 2: (1, 0)}  # two threads of one core; the same core of another chip


def test_arm_processors_are_cores_of_their_own_without_x86_features() -> None:
    cpu = texts.parse_cpuinfo(ARM)
    assert len(set(cpu.core_of.values())) == 2
    assert cpu.features == frozenset()


def test_the_256_bit_avx_vnni_is_not_taken_for_avx512_vnni() -> None:
    assert texts.cpu_features(["avx_vnni", "avx512f", "amx_tile"]) == frozenset()


def test_meminfo_counts_in_kib() -> None:
    text = "MemTotal:       24684096 kB\nMemFree: 1 kB\nMemAvailable:   24258700 kB\n"
    assert texts.parse_meminfo(text) == (24684096 * 1024, 24258700 * 1024)
    assert texts.parse_meminfo("MemTotal: lots\n") == (None, None)


def test_cgroup_paths_are_read_by_controller() -> None:
    text = "4:memory:/a/b\n2:cpu,cpuacct:/c:d\n0::/user.slice\nbroken\n"
    assert texts.parse_cgroup_paths(text) == {"memory": "/a/b", "cpu": "/c:d", "cpuacct": "/c:d", "": "/user.slice"}


def test_cgroup_mounts_of_both_versions_are_read_and_others_passed_over() -> None:
    text = (
        "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
        "32 31 0:29 /docker/1f /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
        r"41 31 0:38 / /sys/fs/my\040group rw - cgroup2 cgroup2 rw,nsdelegate"
        "\nbroken - cgroup\n\n"
    )
    one, two = texts.parse_cgroup_mounts(text)
    assert {"cpu", "cpuacct"} <= one.controllers
    assert (one.root, one.mount_point) == ("/docker/1f", "/sys/fs/cgroup/cpu,cpuacct")
    assert two == (frozenset({""}), "/", "/sys/fs/my group")


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None), ("1 0", None), ("50000 50000", 1.0), ("x y", None)],
)
def test_cpu_max_is_a_number_of_cpus(text: str, cpus: float | None) -> None:
    assert texts.parse_cpu_max(text) == cpus


def test_a_quota_of_minus_one_is_none() -> None:
    assert texts.cpu_quota("-1\n", "100000\n") is None
    assert texts.cpu_quota("200000\n", "100000\n") == 2.0


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("max\n", None),
        ("9223372036854771712\n", None),
        ("9223372036854710272", None),
        ("536870912\n", 2**29),
        ("", None),
    ],
)
def test_a_memory_limit_is_none_when_it_means_no_limit(text: str, limit: int | None) -> None:
    assert texts.parse_memory_limit(text) == limit


def test_page_cache_is_read_from_either_version_of_memory_stat() -> None:
    assert texts.parse_inactive_file("anon 5\ninactive_file 4096\n") == 4096
    assert texts.parse_inactive_file("inactive_file 1\ntotal_inactive_file 8192\n") == 8192
    assert texts.parse_inactive_file("") == 0


def test_sysctl_of_an_intel_mac_gives_its_features() -> None:
    values = texts.parse_sysctl(
        "hw.memsize: 34359738368\nhw.optional.avx2_0: 1\nhw.optional.avx512f: 1\nhw.optional.avx512vnni: 0\n"
        "machdep.cpu.leaf7_features: RDWRFSGS BMI1 AVX2 AVX512VNNI\n"
        "machdep.cpu.brand_string: Intel(R) Core(TM) i7: test\n"
    )
    assert texts.sysctl_features(values) == {"avx2", "avx512_vnni"}
    assert values["machdep.cpu.brand_string"] == "Intel(R) Core(TM) i7: test"


def test_sysctl_of_apple_silicon_gives_no_x86_features() -> None:
    assert texts.sysctl_features({"hw.optional.arm.FEAT_BF16": "1", "hw.optional.avx2_0": "0"}) == frozenset()


def test_vm_stat_counts_free_inactive_and_speculative_pages() -> None:
    text = (
        "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n"
        "Pages free:          100.\nPages active:      999.\nPages inactive:       20.\nPages speculative:     3.\n"
    )
    assert texts.parse_vm_stat(text) == 123 * 16384
    assert texts.parse_vm_stat("") is None


@pytest.mark.parametrize(
    ("version_py", "has_gpu_code"),
    [
        ("cuda: Optional[str] = None\nhip: Optional[str] = None\n", False),
        ("cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n", True),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.4.1'\n", True),
        ('cuda = "11.8"\n', True),
        ("__version__ = '2.13.0+cpu'\n", False),
    ],
)
def test_the_build_of_torch_is_told_from_its_version_file(version_py: str, has_gpu_code: bool) -> None:
    assert texts.torch_has_gpu_code(version_py) is has_gpu_code


_LINES = st.text(alphabet="0123456789:-/ \n\tmaxkBprocesor._id\\", max_size=200)


@settings(derandomize=True, max_examples=300)
@given(_LINES)
def test_no_text_makes_a_parser_fail(text: str) -> None:
    texts.parse_cpuinfo(text)
    texts.parse_meminfo(text)
    texts.parse_cgroup_paths(text)
    texts.parse_cgroup_mounts(text)
    texts.parse_cpu_max(text)
    texts.parse_memory_limit(text)
    texts.parse_inactive_file(text)
    texts.sysctl_features(texts.parse_sysctl(text))
    texts.parse_vm_stat(text)
    texts.torch_has_gpu_code(text)
