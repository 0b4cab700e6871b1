"""`unidiff doctor`: versions, devices, memory, disk, and what works without a network."""

from __future__ import annotations

import os
import platform
from typing import Any

import typer

from unidiff_cli import machine
from unidiff_cli.cli import console
from unidiff_cli.cli.options import Json, open_project
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import versions

# Bytes; below it a run of even a small base may not finish.
LEAST_FREE = 2e9


def examine(project: Project) -> dict[str, dict[str, Any]]:
    """What decides whether unidiff works here: area → fact → value.

    No names and no paths of the user's but the project's.
    """
    import psutil
    import torch

    from unidiff_cli.models.sources import SCORER, SD15, embedded_bases

    memory = psutil.virtual_memory()
    devices = {f"cuda:{i}": name for i, name in enumerate(machine.gpu_names())}
    free = machine.free_bytes(project.root)
    return {
        "versions": {"python": platform.python_version(), **versions()},
        "device": {
            "used": machine.device().type,
            **devices,
            "bf16": machine.bf16_supported(),
            "processor": machine.processor(),
            "cores": machine.cores(),
            "threads": torch.get_num_threads(),
        },
        "memory": {
            "total_gb": round(memory.total / 1e9, 1),
            "available_gb": round(memory.available / 1e9, 1),
        },
        "disk": {"project": str(project.root), "free_gb": round(free / 1e9, 1)},
        "offline": {
            "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "not set"),
            **{f"base {name}": "embedded, ready" for name in embedded_bases()},
            "scorer": "embedded, ready" if SCORER.is_dir() else "missing from this installation",
            f"base {SD15.diffusion}": _state_of_sd15(),
        },
    }


def _state_of_sd15() -> str:
    """Whether the base that a GPU gets by itself is here, and how to fetch it."""
    from unidiff_cli.models.sources import SD15, missing_for_sd15

    missing = missing_for_sd15()
    return f"{missing}; unidiff base fetch {SD15.diffusion}" if missing else "ready"


def problems(facts: dict[str, dict[str, Any]]) -> list[str]:
    """What keeps unidiff from working here, a sentence each."""
    wrong = [
        f"{name} is {value}. Run: pip install unidiff-cli"
        for name, value in facts["versions"].items()
        if value == "not installed"
    ]
    if facts["disk"]["free_gb"] * 1e9 < LEAST_FREE:
        wrong.append(
            f"Only {facts['disk']['free_gb']} GB are free for {facts['disk']['project']}. "
            "Free some space, or use -C."
        )
    if not any(
        key.startswith("base ") and value == "embedded, ready"
        for key, value in facts["offline"].items()
    ):
        wrong.append(
            "No embedded base is in this installation. "
            "Run: pip install --force-reinstall unidiff-cli"
        )
    return wrong


def doctor_command(context: typer.Context, json_out: Json = False) -> None:
    """Report versions, devices, memory, disk and what works offline."""
    facts = examine(open_project(context))
    sentences = problems(facts)
    if json_out:
        console.show_json({**facts, "problems": sentences})
    else:
        rows = [
            [area, key, value] for area, values in facts.items() for key, value in values.items()
        ]
        console.show_table(["area", "fact", "value"], rows)
        for sentence in sentences:
            console.say(sentence)
    if sentences:
        raise typer.Exit(3)
