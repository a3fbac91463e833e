from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiles import Hardware, detect_hardware, explain_selection, load_profile, select_profile
from profiles.accelerators import Accelerator
from profiles.loading import TIERS
from profiles.selection import fit_to_device

if TYPE_CHECKING:
    from profiles.system_texts import CpuFeature

GB = 10**9
PLAIN = Hardware(system="Linux", machine="x86_64", cpu_name="Test CPU", cores=2, physical_cores=2, memory_total=8 * GB)
BF16: frozenset[CpuFeature] = frozenset({"avx2", "avx512_bf16"})


def cuda(gigabytes: float, *, bfloat16: bool = True) -> Hardware:
    return replace(PLAIN, accelerator=Accelerator("cuda", "Test GPU", int(gigabytes * GB), bfloat16))


def mps(gigabytes: float) -> Hardware:
    return replace(PLAIN, accelerator=Accelerator("mps", "Apple GPU", int(gigabytes * GB)))


CASES = {
    "embedded without a bf16 unit on one core": (replace(PLAIN, cores=1), "embedded"),
    "embedded without memory for a model": (replace(PLAIN, memory_total=2 * GB), "embedded"),
    "embedded where memory is unknown": (replace(PLAIN, memory_total=0, cpu_features=BF16), "embedded"),
    "embedded with a bf16 unit on one core and little memory": (
        replace(PLAIN, memory_total=3 * GB, cpu_features=BF16, cores=1),
        "embedded",
    ),
    "cpu-basic with a bf16 unit and too little memory for cpu": (
        replace(PLAIN, memory_total=3 * GB, cpu_features=BF16),
        "cpu-basic",
    ),
    "cpu-basic on plain cores": (PLAIN, "cpu-basic"),
    "cpu-basic on a plain machine sold with 3 GB": (replace(PLAIN, memory_total=2_900_000_000), "cpu-basic"),
    "cpu with avx512-bf16": (replace(PLAIN, cpu_features=BF16), "cpu"),
    "cpu with amx on one core": (replace(PLAIN, cpu_features=frozenset({"amx_bf16"}), cores=1), "cpu"),
    "cpu on a machine sold with 4 GB": (replace(PLAIN, memory_total=3_900_000_000, cpu_features=BF16), "cpu"),
    "vnni alone is no bf16 unit": (replace(PLAIN, cpu_features=frozenset({"avx512_vnni"})), "cpu-basic"),
    "gpu with 6 GB": (cuda(6), "gpu"),
    "gpu with 16 GB": (cuda(16), "gpu"),
    "gpu-large with 24 GB": (cuda(24), "gpu-large"),
    "gpu-large with 24 GB less ECC": (cuda(23.7), "gpu-large"),
    "gpu on Apple silicon with 16 GB": (mps(17.2), "gpu"),
    "gpu on Apple silicon with 64 GB: the 4B models want CUDA": (mps(68.7), "gpu"),
    "cpu-basic on Apple silicon with 8 GB": (mps(8.6), "cpu-basic"),
    "cpu beside a GPU that is too small": (replace(cuda(4), cpu_features=BF16), "cpu"),
}


@pytest.mark.parametrize(("hardware", "name"), CASES.values(), ids=CASES.keys())
def test_the_tier_follows_from_the_hardware(hardware: Hardware, name: str) -> None:
    assert explain_selection(hardware).name == name
    assert select_profile(hardware).name == name


def test_the_reason_names_the_facts_that_decided() -> None:
    assert explain_selection(replace(PLAIN, cpu_features=BF16)).reason == (
        "Test CPU, 2 cores, 8.0 GB of memory; AVX-512 bfloat16 makes the 0.6B reranker quick enough. No GPU was found."
    )
    assert "Test GPU with 24.0 GB" in explain_selection(cuda(24)).reason
    assert "Test GPU with 4.0 GB is too small" in explain_selection(cuda(4)).reason
    assert "at least 2 cores" in explain_selection(replace(PLAIN, cores=1)).reason
    assert "at least 3 GB" in explain_selection(replace(PLAIN, memory_total=2 * GB)).reason
    assert "could not be found out" in explain_selection(replace(PLAIN, memory_total=0)).reason
    assert "wants 4 GB" in explain_selection(replace(PLAIN, memory_total=3 * GB, cpu_features=BF16)).reason


def test_the_reason_says_why_a_gpu_that_is_there_is_not_used() -> None:
    hardware = replace(PLAIN, accelerator_problem="there is a GPU (/dev/nvidia0), but torch is not installed")
    assert explain_selection(hardware).reason.endswith("There is a GPU (/dev/nvidia0), but torch is not installed.")


def test_a_selected_profile_is_its_tier_with_only_the_device_fitted() -> None:
    assert select_profile(PLAIN) == load_profile("cpu-basic")
    assert select_profile(cuda(24)) == load_profile("gpu-large")
    apple = select_profile(mps(17))
    assert (apple.device, apple.dtype, apple.embedder_dtype) == ("mps", "float16", "float16")
    assert replace(apple, device="cuda", dtype="bfloat16", embedder_dtype="bfloat16") == load_profile("gpu")


def test_a_card_without_bfloat16_computes_in_float16() -> None:
    profile = select_profile(cuda(8, bfloat16=False))
    assert (profile.device, profile.dtype, profile.embedder_dtype) == ("cuda", "float16", "float16")


def test_a_cpu_profile_stays_on_the_cpu_beside_a_gpu() -> None:
    assert fit_to_device(load_profile("cpu"), cuda(24)) == load_profile("cpu")


_HARDWARE = st.builds(
    Hardware,
    system=st.just("Linux"),
    machine=st.just("x86_64"),
    cores=st.integers(1, 256),
    memory_total=st.integers(0, 2**44),
    cpu_features=st.frozensets(st.sampled_from(("amx_bf16", "avx512_bf16", "avx512_vnni", "avx2"))),
    accelerator=st.none()
    | st.builds(Accelerator, st.sampled_from(("cuda", "mps")), st.just("GPU"), st.integers(0, 2**40), st.booleans()),
)


@settings(derandomize=True, max_examples=60)
@given(_HARDWARE)
def test_every_machine_gets_a_tier_and_a_sentence_and_never_a_server(hardware: Hardware) -> None:
    name, reason = explain_selection(hardware)
    assert name in TIERS
    assert name != "remote"
    assert reason.endswith(".")
    assert select_profile(hardware).device == ("cpu" if "gpu" not in name else hardware.accelerator.kind)  # type: ignore[union-attr]


@settings(derandomize=True, max_examples=60)
@given(_HARDWARE, st.integers(0, 2**40))
def test_more_memory_never_leads_to_a_smaller_tier(hardware: Hardware, more: int) -> None:
    larger = replace(hardware, memory_total=hardware.memory_total + more)
    order = ("embedded", "cpu-basic", "cpu", "gpu", "gpu-large")
    assert order.index(explain_selection(larger).name) >= order.index(explain_selection(hardware).name)


def test_this_machine_gets_a_tier() -> None:
    assert select_profile(detect_hardware(probe_accelerators=False)).name in ("embedded", "cpu-basic", "cpu")
