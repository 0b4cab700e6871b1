"""One training loop for the four networks: time-boxed, resumable, one process or two."""

import copy
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unidiff_cli import machine

# Seconds of training between two checkpoints, and between two sample images.
CHECKPOINT_EVERY = 60.0
IMAGE_EVERY = 300.0
# A finished stage is this file and done.json; another machine needs no more of it.
WEIGHTS = "weights.safetensors"
# The part of the time in which the learning rate rises.
WARMUP = 0.03

MakeBatch = Callable[[np.random.Generator], dict[str, Tensor]]
MakeImage = Callable[[nn.Module], Image.Image]


@dataclass(frozen=True)
class Settings:
    """How a network is trained; `ema` is the decay of the averaged weights, 0 for none."""

    seconds: float
    lr: float
    seed: int
    decay: float = 0.01
    ema: float = 0.0


def rank() -> int:
    """The number of this process."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """The number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def learning_rate(share: float) -> float:
    """The factor on the learning rate when `share` of the time is spent.

    A short rise, then a cosine down to 2 %.
    """
    if share < WARMUP:
        return max(share / WARMUP, 0.02)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (share - WARMUP) / (1 - WARMUP)))


def parameter_groups(model: nn.Module, decay: float) -> list[dict]:
    """Two groups: matrices and kernels decay; biases, norms and scalars do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def train(
    folder: Path,
    model: nn.Module,
    batch: MakeBatch,
    settings: Settings,
    image: MakeImage | None = None,
) -> nn.Module:
    """Trains `model` for some seconds of wall clock and gives the weights to use.

    They are the averaged ones if there are any. `model(batch)` returns a dict of scalars; the one
    named `loss` is minimised. A run that was cut continues from `folder/last.pt`: the time already
    spent counts, and the batch of step n depends on (seed, n, rank) only. `image(weights to use)`,
    if given, is saved as `folder/<step>.png` now and then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if world() > 1:
        dist.init_process_group("gloo")
    model.to(machine.device())
    state = _State(folder, model, settings)
    forward = nn.parallel.DistributedDataParallel(model) if world() > 1 else model
    model.train()
    began = time.monotonic() - state.spent
    checkpoint, sample = _Every(CHECKPOINT_EVERY), _Every(IMAGE_EVERY)
    with open(folder / "log.jsonl", "a") as log:
        while True:
            state.spent = _agreed(time.monotonic() - began)
            if state.spent >= settings.seconds:
                break
            lr, scalars = state.take_step(forward, batch)
            if rank() > 0:
                continue
            if state.step % 20 == 0 or state.step < 5:
                log.write(state.log_line(lr, scalars))
                log.flush()
            if checkpoint.is_due():
                state.save()
            if image and sample.is_due():
                image(state.weights().eval()).save(folder / f"{state.step:06d}.png")
                model.train()
    if rank() == 0:
        state.save()
        save_file(_halved(state.weights()), folder / WEIGHTS)
        (folder / "done.json").write_text(state.summary())
    if world() > 1:
        # A process that ends beside its own threads of gloo may be aborted.
        dist.destroy_process_group()
    return state.weights().eval()


def load_trained(folder: Path, model: nn.Module) -> nn.Module:
    """`model` with the finished weights of `folder`, as float16 holds them."""
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.eval()


def _halved(model: nn.Module) -> dict[str, Tensor]:
    """The weights in float16, on the CPU: what is shipped, and what later stages build on."""
    tensors = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    return {n: v.half() if v.is_floating_point() else v for n, v in tensors.items()}


class _Every:
    """Says once in so many seconds that something is due."""

    def __init__(self, seconds: float):
        self.seconds, self.last = seconds, time.monotonic()

    def is_due(self) -> bool:
        due = time.monotonic() - self.last > self.seconds
        if due:
            self.last = time.monotonic()
        return due


class _State:
    """What a run that was cut continues from: weights, optimiser and counts."""

    def __init__(self, folder: Path, model: nn.Module, settings: Settings):
        self.folder, self.model, self.settings = folder, model, settings
        self.average = copy.deepcopy(model).requires_grad_(False) if settings.ema else None
        groups = parameter_groups(model, settings.decay)
        self.optimiser = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.98), fused=True)
        self.step, self.spent, self.samples = 0, 0.0, 0
        if (folder / "last.pt").exists():
            self._load()

    def take_step(self, forward: nn.Module, batch: MakeBatch) -> tuple[float, dict[str, Tensor]]:
        """One step; gives its learning rate and its scalars."""
        seed, step = self.settings.seed, self.step
        factor = min(learning_rate(self.spent / self.settings.seconds), (step + 1) / 50)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.lr * factor
        data = batch(np.random.default_rng([seed, step, rank()]))
        # Numbers only, so the hash is the same in every process.
        torch.manual_seed(hash((seed, step, rank())))
        scalars = forward({name: part.to(machine.device()) for name, part in data.items()})
        scalars["loss"].backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step, self.samples = step + 1, self.samples + world() * len(next(iter(data.values())))
        if self.average is not None:
            self._blend(min(self.settings.ema, (1 + self.step) / (10 + self.step)))
        return self.settings.lr * factor, scalars

    def weights(self) -> nn.Module:
        """The weights to use: the averaged ones, if there are any."""
        return self.average if self.average is not None else self.model

    def log_line(self, lr: float, scalars: dict[str, Tensor]) -> str:
        counts = {"step": self.step, "samples": self.samples, "seconds": round(self.spent, 1)}
        values = {name: round(value.item(), 5) for name, value in scalars.items()}
        return json.dumps(counts | {"lr": lr} | values) + "\n"

    def summary(self) -> str:
        """The text of done.json."""
        counts = {"steps": self.step, "samples": self.samples, "seconds": round(self.spent)}
        return json.dumps(counts | {"processes": world()})

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "spent": self.spent,
            "samples": self.samples,
        }
        if self.average is not None:
            state["average"] = self.average.state_dict()
        torch.save(state, self.folder / "next.pt")
        os.replace(self.folder / "next.pt", self.folder / "last.pt")

    def _load(self) -> None:
        state = torch.load(self.folder / "last.pt", map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.step, self.spent = state["step"], state["spent"]
        self.samples = state["samples"]

    @torch.no_grad()
    def _blend(self, ema: float) -> None:
        averages, weights = list(self.average.parameters()), list(self.model.parameters())
        torch._foreach_lerp_(averages, weights, 1 - ema)


def _agreed(seconds: float) -> float:
    """Rank 0's clock, so that all processes stop at the same step."""
    if world() == 1:
        return seconds
    value = torch.tensor([seconds], dtype=torch.float64)
    dist.broadcast(value, 0)
    return value.item()
