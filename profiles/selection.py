"""Which profile suits a machine, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from profiles.loading import load_profile

if TYPE_CHECKING:
    from profiles.hardware import Hardware
    from profiles.memory_profile import MemoryProfile

GB: Final = 10**9
_NOMINAL: Final = 0.95
"""A machine or card reports a little less than it is sold as: firmware and ECC take their part."""


_BFLOAT16_UNITS: Final = {"amx_bf16": "AMX bfloat16", "avx512_bf16": "AVX-512 bfloat16"}


class Selection(NamedTuple):
    """The tier for a machine and the sentence that says why."""

    name: str
    reason: str


def select_profile(hardware: Hardware) -> MemoryProfile:
    """Return the profile that suits the machine, its device and dtype those of the GPU that is there.

    Bigger models named by it are what to fetch in the background; until they are there the embedded ones answer.
    ``remote`` is never selected: only the operator knows a server.
    """
    return fit_to_device(load_profile(explain_selection(hardware).name), hardware)


def explain_selection(hardware: Hardware) -> Selection:
    """Return the tier that `select_profile` takes and a sentence with the facts that decided."""
    return _select_gpu(hardware) or _select_cpu(hardware)


def fit_to_device(profile: MemoryProfile, hardware: Hardware) -> MemoryProfile:
    """Return a GPU profile on the kind of GPU that is there, in a dtype that it computes natively.

    A profile for the CPU, and any profile on a machine whose GPU is not known, comes back as it is.
    """
    gpu = hardware.accelerator
    if profile.device == "cpu" or gpu is None:
        return profile
    if gpu.has_bfloat16:
        return replace(profile, device=gpu.kind)
    return replace(profile, device=gpu.kind, dtype="float16", embedder_dtype="float16")


def _select_gpu(hardware: Hardware) -> Selection | None:
    gpu = hardware.accelerator
    if gpu is None:
        return None
    has = f"{gpu.name} with {_gb(gpu.memory)} GB of memory"
    if gpu.kind == "mps":
        if _at_least(gpu.memory, 16):
            return Selection("gpu", f"{has}, shared with the processor (16 GB are enough for the 0.6B models).")
        return None
    if _at_least(gpu.memory, 24):
        return Selection("gpu-large", f"{has} (24 GB are enough for the 4B models).")
    if _at_least(gpu.memory, 6):
        return Selection("gpu", f"{has} (6 GB are enough for the 0.6B models, the 4B models want 24).")
    return None


def _select_cpu(hardware: Hardware) -> Selection:
    processor = hardware.cpu_name or f"{hardware.machine} processor"
    cores = "1 core" if hardware.cores == 1 else f"{hardware.cores} cores"
    has = f"{processor}, {cores}, {_gb(hardware.memory_total)} GB of memory"
    unit = next((label for feature, label in _BFLOAT16_UNITS.items() if feature in hardware.cpu_features), "")
    gpu = _gpu_remark(hardware)
    if unit and _at_least(hardware.memory_total, 4):
        return Selection("cpu", f"{has}; {unit} makes the 0.6B reranker quick enough. {gpu}")
    if hardware.cores >= 2 and _at_least(hardware.memory_total, 3):
        lack = "the 0.6B reranker wants 4 GB" if unit else "no bfloat16 unit"
        return Selection("cpu-basic", f"{has}; {lack}, so a small cross-encoder reranks. {gpu}")
    return Selection("embedded", f"{has}; {_shortage(hardware)}, so only the embedded models run. {gpu}")


def _shortage(hardware: Hardware) -> str:
    if not hardware.memory_total:
        return "how much memory there is could not be found out"
    if not _at_least(hardware.memory_total, 3):
        return "a reranker model wants at least 3 GB"
    return "a reranker model wants at least 2 cores"


def _gpu_remark(hardware: Hardware) -> str:
    if hardware.accelerator_problem:
        return f"{hardware.accelerator_problem[0].upper()}{hardware.accelerator_problem[1:]}."
    if hardware.accelerator is None:
        return "No GPU was found."
    return f"{hardware.accelerator.name} with {_gb(hardware.accelerator.memory)} GB is too small."


def _at_least(size: int, gigabytes: int) -> bool:
    return size >= _NOMINAL * gigabytes * GB


def _gb(size: int) -> str:
    return f"{size / GB:.1f}"
