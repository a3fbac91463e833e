"""GPUs: cheap signs first, torch only when there is one (importing it costs a second and 200 MB)."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from profiles.system_texts import torch_has_gpu_code

if TYPE_CHECKING:
    from collections.abc import Mapping

_NATIVE_BFLOAT16: Final = (8, 0)  # CUDA compute capability; older cards emulate bfloat16, slowly


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A GPU that torch can compute on; ``memory`` in bytes (shared with the CPU on "mps")."""

    kind: Literal["cuda", "mps"]
    name: str
    memory: int
    has_bfloat16: bool = False
    """Whether bfloat16 is native to it."""


@dataclass(frozen=True, slots=True)
class AcceleratorProbe:
    """The outcome of looking for a GPU; ``problem`` says why one that seems to be there cannot be used."""

    accelerator: Accelerator | None = None
    problem: str = ""


def probe_accelerators(memory_total: int) -> AcceleratorProbe:
    """Look for a GPU, importing torch only when there are signs of one and torch is built for it.

    Args:
        memory_total: bytes of RAM, which is the memory of an Apple GPU too.
    """
    if platform.system() == "Darwin":
        return _ask_mps(memory_total) if platform.machine() == "arm64" else AcceleratorProbe()
    sign = cuda_sign(Path("/"), os.environ)
    if not sign:
        return AcceleratorProbe()
    version_py = _torch_version_text()
    if version_py is None:
        return AcceleratorProbe(problem=f"there is a GPU ({sign}), but torch is not installed")
    if not torch_has_gpu_code(version_py):
        return AcceleratorProbe(problem=f"there is a GPU ({sign}), but the installed torch is the CPU build")
    return _ask_cuda(sign)


def cuda_sign(root: Path, environment: Mapping[str, str]) -> str:
    """Return what hints at a GPU that torch calls "cuda" (NVIDIA, or AMD by ROCm), or an empty text.

    Args:
        root: the root of the file system.
        environment: the process environment; CUDA_VISIBLE_DEVICES empty or -1 hides every GPU.
    """
    if environment.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return ""
    for path in ("proc/driver/nvidia", "dev/nvidia0", "dev/nvidiactl", "dev/kfd"):
        if (root / path).exists():
            return f"/{path}"
    return "nvidia-smi" if shutil.which("nvidia-smi", path=environment.get("PATH", "")) else ""


def _torch_version_text() -> str | None:
    spec = importlib.util.find_spec("torch")  # finds the folder, imports nothing
    if spec is None or spec.origin is None:
        return None
    version_py = Path(spec.origin).with_name("version.py")
    return version_py.read_text(encoding="utf-8") if version_py.is_file() else None


def _ask_cuda(sign: str) -> AcceleratorProbe:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about a driver too old; the problem below says it
        if not torch.cuda.is_available():
            return AcceleratorProbe(problem=f"there is a GPU ({sign}), but torch cannot use it: check its driver")
        try:
            properties = torch.cuda.get_device_properties(0)
        except RuntimeError as error:
            first_line = str(error).partition("\n")[0]
            return AcceleratorProbe(problem=f"there is a GPU ({sign}), but torch cannot use it: {first_line}")
    native = (properties.major, properties.minor) >= _NATIVE_BFLOAT16
    return AcceleratorProbe(Accelerator("cuda", properties.name, properties.total_memory, native))


def _ask_mps(memory_total: int) -> AcceleratorProbe:
    if _torch_version_text() is None:
        return AcceleratorProbe(problem="there is an Apple GPU, but torch is not installed")
    import torch

    if not torch.backends.mps.is_available():
        return AcceleratorProbe(problem="there is an Apple GPU, but torch cannot use it: macOS or torch is too old")
    return AcceleratorProbe(Accelerator("mps", "Apple GPU", memory_total))
