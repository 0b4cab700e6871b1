"""Says what this machine offers: a device, processor cores, a network, free disk space.

The one place that asks for them. torch is imported inside the functions that need it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def device() -> torch.device:
    """The device models run on: the first GPU, else the processor."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def gpu_count() -> int:
    """How many GPUs there are."""
    import torch

    return torch.cuda.device_count()


def gpu_names() -> list[str]:
    """What the GPUs are called, in torch's order."""
    import torch

    return [torch.cuda.get_device_name(number) for number in range(gpu_count())]


def bf16_supported() -> bool:
    """Whether the GPU computes in bfloat16 natively; False without a GPU."""
    import torch

    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


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
