"""Says what this machine offers: a device, processor cores, a network, free disk space.

The one place that asks for them. torch is imported inside the functions that need it.
"""

from __future__ import annotations

import gc
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch


# What the drivers of GPUs that torch knows leave in a Linux: CUDA's, ROCm's, and WSL's.
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")

# Options of glibc's mallopt (mallopt(3)): the largest block that is not mapped anew, at most 32 MB,
# and how much freed memory is kept.
M_MMAP_THRESHOLD, LARGEST_BLOCK = -3, 32 * 1024**2
M_TRIM_THRESHOLD, KEPT = -1, 1024**3

_without_gpu: ContextVar[bool] = ContextVar("without_gpu", default=False)


def device() -> torch.device:
    """The device models run on: the first GPU, else the processor."""
    import torch

    gpu = torch.cuda.is_available() and not _without_gpu.get()
    return torch.device("cuda" if gpu else "cpu")


@contextmanager
def without_gpu() -> Iterator[None]:
    """Within it models run on the processor, whatever this machine has."""
    token = _without_gpu.set(True)
    try:
        yield
    finally:
        _without_gpu.reset(token)


def has_gpu() -> bool:
    """Whether there is a GPU to train on. Where no driver is there torch is not loaded to ask."""
    if sys.platform == "linux" and not any(map(os.path.exists, DRIVERS)):
        return False
    return device().type == "cuda"


def free_dropped() -> None:
    """Frees what no one holds any more, and gives reserves back to the GPU and to the system.

    accelerate puts a trained model into a cycle of references, where it would stay until Python
    happens to look; and of freed tensors below 32 MB glibc keeps the memory.
    """
    import ctypes

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    # glibc's alone.
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def keep_freed() -> None:
    """Lets this process keep the memory of freed blocks of up to 32 MB, 1 GiB in all.

    glibc gives such memory back at once. Where each batch is made of new blocks of the same sizes,
    the system then clears and maps every page of them again.
    """
    import ctypes

    if sys.platform == "linux" and (option := getattr(ctypes.CDLL(None), "mallopt", None)):
        option(M_MMAP_THRESHOLD, LARGEST_BLOCK)
        option(M_TRIM_THRESHOLD, KEPT)


def gpu_count() -> int:
    """How many GPUs there are."""
    import torch

    return torch.cuda.device_count()


def gpu_names() -> list[str]:
    """What the GPUs are called, in torch's order."""
    import torch

    return [torch.cuda.get_device_name(number) for number in range(gpu_count())]


def take_gpu(number: int) -> None:
    """Makes a GPU the one that this process computes on, where the machine has any."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(number)


def bf16_supported() -> bool:
    """Whether bfloat16 is fast on what this process computes on: the GPU, else the processor.

    A processor with AVX-512 BF16 or AMX; others that have it, as of ARM, were not measured.
    """
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return _multiplies_bf16()


def processor_has(half: Literal["bf16", "fp16"]) -> bool:
    """Whether the processor has instructions that multiply in a half precision.

    Of x86 torch calls bf16 supported on any AVX-512, which imitates it, and slowly.
    """
    import torch

    if half == "bf16" and platform.machine() in ("x86_64", "AMD64"):
        return _multiplies_bf16()
    return bool(getattr(torch.ops.mkldnn, f"_is_mkldnn_{half}_supported")())


def _multiplies_bf16() -> bool:
    """Whether the processor has x86's instructions for bfloat16."""
    import torch

    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def processor() -> str:
    """The processor's name, or its architecture where the system is no Linux."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cores() -> int:
    """The processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_in_use() -> int:
    """Bytes: the most that a GPU held for this process so far, else what this process holds now."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)


def interface_of(address: str) -> str:
    """The name of the network interface that has an address of this machine."""
    import psutil

    interfaces = psutil.net_if_addrs().items()
    return next(name for name, all_of in interfaces if address in [a.address for a in all_of])


def free_bytes(path: Path) -> int:
    """The free bytes of the disk that holds `path`, or would hold it once created."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


# ---------------------------------------------------------------- memory


def free_memory() -> int:
    """The bytes that this process may still take: of the first GPU, else of the machine."""
    import torch

    if device().type == "cuda":
        return torch.cuda.mem_get_info()[0]
    import psutil

    return psutil.virtual_memory().available


def memory_now() -> int:
    """The bytes that this process has now: of the first GPU, by torch; else of the machine."""
    import torch

    if device().type == "cuda":
        return torch.cuda.memory_allocated()
    import psutil

    return psutil.Process().memory_info().rss


def forget_peak_memory() -> None:
    """`peak_memory` counts from here on. Raises OSError where the system does not offer it."""
    import torch

    if device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        # Linux: the peak of this process becomes what it has now.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> int:
    """The most bytes that this process had since `forget_peak_memory`, as `memory_now` counts.

    Raises OSError where the system does not offer it.
    """
    import torch

    if device().type == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(
        int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")
    )
