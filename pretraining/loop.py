"""One training loop for the four networks: time-boxed, resumable, one process or two."""

import copy
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from torch import nn

CHECKPOINT_EVERY = 60.0  # seconds of training between two checkpoints
IMAGE_EVERY = 300.0  # and between two images
WARMUP = 0.03  # share of the time in which the learning rate rises


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def learning_rate(share: float) -> float:
    """The factor on the learning rate when `share` of the time is spent: a short rise, then a cosine down to 2 %."""
    if share < WARMUP:
        return max(share / WARMUP, 0.02)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (share - WARMUP) / (1 - WARMUP)))


def parameter_groups(model: nn.Module, decay: float) -> list[dict]:
    """Two groups: matrices and kernels decay; biases, norms and scalars do not."""
    wanted = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in wanted if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in wanted if p.ndim <= 1], "weight_decay": 0.0},
    ]


def fit(
    folder: Path,
    model: nn.Module,
    batch: Callable[[np.random.Generator], dict],
    *,
    seconds: float,
    lr: float,
    seed: int,
    decay: float = 0.01,
    ema: float = 0.0,
    image: Callable[[nn.Module], Image.Image] | None = None,
) -> nn.Module:
    """Train `model` for `seconds` of wall clock and give back the weights to use (the average ones if `ema`).

    `model(batch)` returns a dict of scalars; the one named `loss` is minimised. A run that was cut continues from `folder/last.pt`:
    the time already spent counts, and the batch of step n depends on (seed, n, rank) only. `image(weights to use)`, if given, is
    kept as `folder/<step>.png` now and then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if world() > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")
    average = copy.deepcopy(model).requires_grad_(False) if ema else None
    optimiser = torch.optim.AdamW(
        parameter_groups(model, decay), lr=lr, betas=(0.9, 0.98), fused=True
    )
    step, spent, samples = 0, 0.0, 0
    if (folder / "last.pt").exists():
        state = torch.load(folder / "last.pt", weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        if average is not None:
            average.load_state_dict(state["average"])
        step, spent, samples = state["step"], state["spent"], state["samples"]
    forward = nn.parallel.DistributedDataParallel(model) if world() > 1 else model

    model.train()
    began, saved, pictured = time.monotonic() - spent, time.monotonic(), time.monotonic()
    with open(folder / "log.jsonl", "a") as log:
        while True:
            spent = _agreed(time.monotonic() - began)
            if spent >= seconds:
                break
            factor = min(learning_rate(spent / seconds), (step + 1) / 50)
            for group in optimiser.param_groups:
                group["lr"] = lr * factor
            data = batch(np.random.default_rng([seed, step, rank()]))
            torch.manual_seed(
                hash((seed, step, rank()))
            )  # ints only, so the hash is the same in every process
            scalars = forward(data)
            scalars["loss"].backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            step, samples = step + 1, samples + world() * len(next(iter(data.values())))
            if average is not None:
                _blend(average, model, min(ema, (1 + step) / (10 + step)))
            if rank() == 0 and (step % 20 == 0 or step < 5):
                line = {
                    "step": step,
                    "samples": samples,
                    "seconds": round(spent, 1),
                    "lr": lr * factor,
                }
                log.write(
                    json.dumps(line | {k: round(v.item(), 5) for k, v in scalars.items()}) + "\n"
                )
                log.flush()
            if rank() == 0 and time.monotonic() - saved > CHECKPOINT_EVERY:
                _save(folder, model, optimiser, average, step, spent, samples)
                saved = time.monotonic()
            if rank() == 0 and image and time.monotonic() - pictured > IMAGE_EVERY:
                image((average if average is not None else model).eval()).save(
                    folder / f"{step:06d}.png"
                )
                model.train()
                pictured = time.monotonic()
    if rank() == 0:
        _save(folder, model, optimiser, average, step, spent, samples)
        (folder / "done.json").write_text(
            json.dumps(
                {"steps": step, "samples": samples, "seconds": round(spent), "processes": world()}
            )
        )
    return (average if average is not None else model).eval()


def _agreed(seconds: float) -> float:
    """Rank 0's clock, so that all processes stop at the same step."""
    if world() == 1:
        return seconds
    value = torch.tensor([seconds], dtype=torch.float64)
    dist.broadcast(value, 0)
    return value.item()


@torch.no_grad()
def _blend(average: nn.Module, model: nn.Module, ema: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - ema)


def _save(
    folder: Path,
    model: nn.Module,
    optimiser,
    average: nn.Module | None,
    step: int,
    spent: float,
    samples: int,
) -> None:
    state = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
        "spent": spent,
        "samples": samples,
    }
    if average is not None:
        state["average"] = average.state_dict()
    torch.save(state, folder / "next.pt")
    os.replace(folder / "next.pt", folder / "last.pt")


def trained(folder: Path, model: nn.Module) -> nn.Module:
    """`model` with the finished weights of `folder`."""
    state = torch.load(folder / "last.pt", weights_only=True)
    model.load_state_dict(state.get("average", state["model"]))
    return model.eval()
