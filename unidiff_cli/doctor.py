"""What this machine has: versions, devices, memory, disk, and what works without a network."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

from .bases import SD15, _missing_for_sd15, embedded
from .project import Project, versions

LEAST_FREE = 2e9  # bytes; below it a run of even a small base may not finish


def examine(project: Project) -> dict[str, dict[str, Any]]:
    """Everything worth knowing, area → what → value; no names, no paths of the user's but the project's."""
    import psutil
    import torch

    memory = psutil.virtual_memory()
    cuda = torch.cuda.is_available()
    devices = (
        {f"cuda:{i}": torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())} if cuda else {}
    )
    place = project.root
    while not place.exists():
        place = place.parent
    disk = shutil.disk_usage(place)
    return {
        "versions": {"python": platform.python_version(), **versions()},
        "device": {
            "used": "cuda" if cuda else "cpu",
            **devices,
            "bf16": bool(cuda and torch.cuda.is_bf16_supported(including_emulation=False)),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
        "memory": {
            "total_gb": round(memory.total / 1e9, 1),
            "available_gb": round(memory.available / 1e9, 1),
        },
        "disk": {"project": str(project.root), "free_gb": round(disk.free / 1e9, 1)},
        "offline": {
            "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "not set"),
            **{f"base {name}": "embedded, ready" for name in embedded()},
            "scorer": "embedded, ready" if _scorer().is_dir() else "missing from this installation",
            f"base {SD15.diffusion}": _missing_for_sd15() or "ready",
        },
    }


def _scorer() -> Path:
    return Path(__file__).parent / "bases" / "nano_scorer"


def problems(found: dict[str, dict[str, Any]]) -> list[str]:
    """What keeps unidiff from working here, a sentence each."""
    wrong = [
        f"{name} is {value}. Run: pip install unidiff-cli"
        for name, value in found["versions"].items()
        if value == "not installed"
    ]
    if found["disk"]["free_gb"] * 1e9 < LEAST_FREE:
        wrong.append(
            f"Only {found['disk']['free_gb']} GB are free for {found['disk']['project']}; make room or use -C."
        )
    if not any(
        key.startswith("base ") and value == "embedded, ready" for key, value in found["offline"].items()
    ):
        wrong.append(
            "No embedded base is in this installation. Run: pip install --force-reinstall unidiff-cli"
        )
    return wrong
