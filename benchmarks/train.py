"""What a training step costs, beside an open_clip step and a diffusers step on the same towers, and beside the bare mathematics.

    python -m benchmarks.train --out DIR [--only PART ...] [--quick]

steps      a step of `joint` and of `fashion` (unidiff), as `unidiff train` runs them: loader, keyed draws, clipping, averaged
           weights, log. Against the sum of an open_clip step and a diffusers text-to-image step (its VAE and its text
           encoding in every step, its text tower frozen, as its example has it), and against forward, backward and
           optimiser alone on ready tensors
gradcache  peak memory and time a sample of 8 times (and 64 times) the batch in chunks, each in a process of its own

The towers are nano's, the batch and its images are the same, all are timed in turns in one process on all cores, and the
losses are equal: a time whose check fails ends the command with an error. Theirs get ready tensors where their loader would
decode, tokenise and augment. Writes OUT/figures.json.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import Bound, table
from benchmarks.evaluate import (
    all_cores,
    fresh,
    grown,
    in_turns,
    machine,
    medians,
    pace,
    ratio,
    seconds,
)

Figures = dict[str, float]

CHECKS = {  # figure: the most it may be, or the times beside it compare different things
    "steps.contrastive_difference": 1e-5,
    "steps.denoise_difference": 1e-4,
    "steps.bare_difference": 1e-5,
    "gradcache.loss_difference": 1e-5,
}
EVERY = 20  # train.gradient_cosine_every, by default
TARGETS: dict[str, Bound] = {
    "steps.joint_of_sum": (0.85, False),
    "steps.unidiff_of_sum": (1.05, False),
    "steps.joint_of_bare": (1.05, False),
    "steps.cosine_share": (0.03, False),
    "gradcache.clip_only_memory": (1.05, False),
    "gradcache.joint_memory": (1.05, False),
    "gradcache.clip_only_memory_largest": (1.05, False),
    "gradcache.joint_memory_largest": (1.05, False),
    "gradcache.clip_only_time": (1.35, False),
    "gradcache.joint_time": (1.35, False),
    "steps.steady": (0.9, True),
}
BOUNDS = TARGETS | {figure: (most, False) for figure, most in CHECKS.items()}


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    batch: int = 64
    rounds: int = 12
    times: int = 8  # the batch of GradCache over the plain one
    most: int = 64  # and of its largest, whose memory alone is measured
    timed: int = 3  # steps of each after the first


QUICK = Sizes(batch=4, rounds=2, times=4, most=8, timed=1)


def measure(out: Path, sizes: Sizes, only: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """All figures by part, also in `out`/figures.json as they come."""
    out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, dict[str, Any]] = {"machine": machine()}
    with all_cores():
        for name in only or PARTS:
            figures[name] = PARTS[name](sizes)
            figures["machine"]["load_after"] = os.getloadavg()[0]
            (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    return figures


def recipe_of(name: str, sizes: Sizes, *assignments: str) -> Any:
    from unidiff_cli import load_recipe

    # the cosine is measured by itself; equal captions are told apart below
    fixed = (
        "base=nano",
        f"train.batch_size={sizes.batch}",
        "train.gradient_cosine_every=0",
        "train.precision=fp32",
    )
    return load_recipe(name, assignments=[*fixed, *assignments])


# ---------------------------------------------------------------- steps


def steps(sizes: Sizes) -> Figures:
    return fresh(_steps, sizes)


def _steps(sizes: Sizes) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        return Bench(sizes, Path(folder)).figures()


class Bench:
    """A drawn catalogue, its cache, and everybody's step on it, each with weights of its own."""

    def __init__(self, sizes: Sizes, folder: Path) -> None:
        from unidiff_cli import Project, prepare
        from unidiff_cli.sample_catalog import write_catalog

        self.sizes, self.folder = sizes, folder
        write_catalog(folder / "shop", images=max(40, 3 * sizes.batch))
        self.project = Project(folder / "project")
        prepare(self.project, recipe_of("joint", sizes), folder / "shop")

    def samples(self, recipe: Any, base: Any) -> Any:
        """The training split through the loader of `unidiff train`, every caption and product its own."""
        from unidiff_cli.training import worker

        accelerator = worker._accelerator(recipe, self.folder)
        shards = self.project.receipt("shards").hash
        samples = worker._samples(self.project, recipe, base, shards, "train", accelerator, None)
        samples.rows = [
            replace(row, captions=(f"{row.captions[0]} {i}",), group=str(i))
            for i, row in enumerate(samples.rows)
        ]
        return samples

    def ours(self, name: str, *assignments: str) -> tuple[Callable[[], Any], Any, Any]:
        """A step as `unidiff train` does it, with its line of the log; the run's Fit; its first batch."""
        from unidiff_cli.data.dataset import loader
        from unidiff_cli.models import loading
        from unidiff_cli.training import worker
        from unidiff_cli.training.module import TrainingModule
        from unidiff_cli.training.run import Run
        from unidiff_cli.training.trainer import Trainer

        recipe = recipe_of(name, self.sizes, *assignments)
        fit = Trainer(
            worker._accelerator(recipe, self.folder),
            TrainingModule(
                loading.load_base("nano", recipe.image_size),
                recipe.active(),
                0,
                cached=recipe.train.cache_latents,
            ),
            recipe.train,
        )
        samples = self.samples(recipe, fit.base)
        place = self.folder / f"{name}{len(assignments)}"
        place.mkdir()
        run, stream = Run(place, recipe, fit, None), fit.steps(loader(samples, range(10_000)))
        return lambda: run.record(next(stream)), fit, samples[0]

    def figures(self) -> Figures:
        before = pace()
        joint, fit, batch = self.ours("joint")
        cosine, _, _ = self.ours("joint", "train.gradient_cosine_every=1")
        unidiff, _, _ = self.ours("fashion")
        clip, draw = open_clip(batch), diffusers(batch)
        bare_step, bare_loss = bare(batch)
        checks = differences(fit, batch, clip, draw, bare_loss)
        ways = {
            "joint": joint, "open_clip": clip.step, "diffusers": draw.step, "unidiff": unidiff,
            "bare": bare_step, "joint_cosine": cosine,
        }  # fmt: skip
        for way in ways.values():
            way()  # the first step allocates
        spent, _ = in_turns(ways, self.sizes.rounds)
        both = spent["open_clip"] + spent["diffusers"]
        after = pace()
        return {
            "batch": self.sizes.batch, **medians(spent),
            **ratio("joint_of_sum", spent["joint"], both), **ratio("unidiff_of_sum", spent["unidiff"], both),
            **ratio("joint_of_bare", spent["joint"], spent["bare"]),
            **{k: (v - 1) / EVERY for k, v in ratio("cosine_share", spent["joint_cosine"], spent["joint"]).items()},
            **checks, "steady": min(before, after) / max(before, after),
        }  # fmt: skip


@dataclass
class Peer:
    """Somebody's step, the base it moves, and its loss of given inputs without a step."""

    step: Callable[[], Any]
    loss: Callable[..., Any]


def ready(base: Any, batch: Any) -> tuple[Any, Any]:
    """Token ids and normalised images."""
    pixels = (batch.clip_pixels / 255 - base.clip_mean) / base.clip_std
    return base.tokenize(batch.captions), pixels


def open_clip(batch: Any) -> Peer:
    """open_clip's training step (open_clip_train/train.py): its loss, AdamW, the scale clamped; fp32, no clipping."""
    import math

    import torch
    from open_clip import ClipLoss

    from unidiff_cli.models import loading

    base = loading.load_base("nano", 64).train()
    model, loss = base.clip, ClipLoss()
    ids, pixels = ready(base, batch)
    optimiser = torch.optim.AdamW(
        model.parameters(), 1e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2
    )

    def value() -> Any:
        image = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        text = model.text_projection(model.text_model(input_ids=ids).pooler_output)
        image, text = (torch.nn.functional.normalize(x, dim=-1) for x in (image, text))
        return loss(image, text, model.logit_scale.exp())

    def step() -> None:
        optimiser.zero_grad()
        value().backward()
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))

    return Peer(step, value)


def diffusers(batch: Any) -> Peer:
    """diffusers' examples/text_to_image/train_text_to_image.py: frozen VAE and text tower, min-SNR, AdamW, clipping; no EMA."""
    import torch
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import compute_snr

    from unidiff_cli.models import loading

    base = loading.load_base("nano", 64)
    unet, vae, text, scheduler = base.unet.train(), base.vae, base.clip.text_model, base.scheduler
    text.requires_grad_(False)
    ids = base.tokenize(batch.captions)
    mean, _ = batch.latents.float().chunk(2, dim=1)
    with (
        torch.no_grad()
    ):  # images as large as its loader would give; the latents' own, so that the VAE has real ones
        pixels = vae.decode(mean / vae.config.scaling_factor).sample.clamp(-1, 1)
    optimiser = torch.optim.AdamW(unet.parameters(), 1e-4, weight_decay=1e-2)
    schedule = get_scheduler("cosine", optimiser, num_warmup_steps=10, num_training_steps=10_000)

    def value(latents: Any, noise: Any, t: Any, gamma: float = 5.0) -> Any:
        noisy = scheduler.add_noise(latents, noise, t)
        states = text(ids, return_dict=False)[0]
        predicted = unet(noisy, t, states, return_dict=False)[0]
        velocity = scheduler.config.prediction_type == "v_prediction"
        target = scheduler.get_velocity(latents, noise, t) if velocity else noise
        snr = compute_snr(scheduler, t)
        weights = torch.stack([snr, gamma * torch.ones_like(t)], dim=1).min(dim=1)[0]
        weights = weights / (snr + 1) if velocity else weights / snr
        loss = torch.nn.functional.mse_loss(predicted.float(), target.float(), reduction="none")
        return (loss.mean(dim=list(range(1, loss.ndim))) * weights).mean()

    def step() -> None:
        latents = vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor
        noise = torch.randn_like(latents)
        t = torch.randint(0, scheduler.config.num_train_timesteps, (len(latents),))
        value(latents, noise, t).backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()

    return Peer(step, value)


def bare(batch: Any) -> tuple[Callable[[], None], Callable[[], Any]]:
    """Joint's forward, backward and optimiser on tensors made before: the least its mathematics needs."""
    import torch

    from unidiff_cli.models import loading
    from unidiff_cli.objectives._losses import min_snr, symmetric_cross_entropy
    from unidiff_cli.training.module import TrainingModule
    from unidiff_cli.training.optimizer import parameter_groups, trained_parameters

    recipe = recipe_of("joint", Sizes(batch=len(batch.rows)))
    joint = TrainingModule(loading.load_base("nano", 64), recipe.active(), 0)
    base, groups = joint.base, parameter_groups(joint, recipe.train)
    base.unet.to(memory_format=torch.channels_last)
    joint.train()
    views = joint.views(batch)
    ids = base.tokenize([*batch.captions, ""])
    dropped = (views.draw("drop", uniform=True) < views.caption_drop).view(-1, 1, 1)
    t, latents, noise = views.timesteps, views.latents, views.noise
    z_t, target = base.noisy(latents, noise, t), base.target(latents, noise, t)
    weights = min_snr(base.abar[t], 5.0, base.scheduler.config.prediction_type)
    shares, none = (
        torch.eye(len(ids) - 1),
        torch.zeros(len(ids) - 1, len(ids) - 1, dtype=torch.bool),
    )
    optimiser = torch.optim.AdamW(groups, fused=True)
    assert trained_parameters(joint)

    def value() -> Any:
        states, text = base.text(ids)
        logits = base.clip.logit_scale.exp() * base.image(batch.clip_pixels) @ text[:-1].T
        error = base.denoise(z_t, t, torch.where(dropped, states[-1:], states[:-1])) - target
        drawing = (error.square().mean(dim=(1, 2, 3)) * weights).mean()
        return symmetric_cross_entropy(logits, shares, none) + drawing

    def step() -> None:
        value().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step, value


def differences(
    fit: Any, batch: Any, clip: Peer, draw: Peer, bare_loss: Callable[[], Any]
) -> Figures:
    """Before any step: ours against each of theirs, on the same inputs."""
    import torch

    joint = fit.module
    with torch.no_grad():
        joint.eval()
        views = joint.views(batch)
        _, parts = joint.losses(views)
        theirs = draw.loss(views.latents, views.noise, views.timesteps)
        joint.train()
        whole, _ = joint(batch)
        return {
            "contrastive_difference": abs(float(parts["contrastive"] - clip.loss())),
            "denoise_difference": abs(float(parts["denoise"] / theirs - 1)),
            "bare_difference": abs(float(whole - bare_loss())),
        }


# ---------------------------------------------------------------- gradcache


def gradcache(sizes: Sizes) -> Figures:
    """Peaks over what was there before the first step, MB, and seconds a sample of the steps after it.

    `mb` is what is in use: malloc gives every freed block back at once. `resident_mb` is what glibc holds by default, whose
    heap keeps holes that grow with the number of chunks; a GPU's allocator is neither.
    """
    found: Figures = {}
    for name, part in (("clip-only", 0), ("joint", sizes.batch)):
        b, key = sizes.batch, name.replace("-", "_")
        plain, large = (name, b, 0, 0), (name, sizes.times * b, b, part)
        with freed_at_once():
            used = [
                fresh(in_memory, *each, 0)[0]
                for each in (plain, large, (name, sizes.most * b, b, part))
            ]
        (held, took), (held_large, took_large) = (
            fresh(in_memory, *each, sizes.timed) for each in (plain, large)
        )
        found |= {
            f"{key}_{n * b}_mb": mb
            for n, mb in zip((1, sizes.times, sizes.most), used, strict=True)
        }
        found |= {
            f"{key}_memory": used[1] / used[0], f"{key}_memory_largest": used[2] / used[0],
            f"{key}_{b}_resident_mb": held, f"{key}_{sizes.times * b}_resident_mb": held_large,
            f"{key}_sample_seconds": took, f"{key}_chunked_sample_seconds": took_large, f"{key}_time": took_large / took,
        }  # fmt: skip
    found["loss_difference"] = fresh(chunked_difference, sizes.batch)
    return found


@contextmanager
def freed_at_once() -> Iterator[None]:
    """Processes started here map each block of 64 KB or more by itself, so that freeing it gives it back (mallopt(3))."""
    name = "MALLOC_MMAP_THRESHOLD_"
    before = os.environ.get(name)
    os.environ[name] = str(64 * 1024)
    try:
        yield
    finally:
        os.environ.pop(name)
        os.environ.update({name: before} if before is not None else {})


def drawn_batch(base: Any, size: int, part: int, step: int = 0) -> Any:
    """A batch of noise, `part` of whose rows the UNet sees (0: all)."""
    import torch

    from unidiff_cli.data.batch import Batch
    from unidiff_cli.data.order import subsample

    side, latent = base.clip.config.vision_config.image_size, base.unet.config
    positions = list(range(step * size, (step + 1) * size))
    drawn = subsample(positions, part, size) if part else None
    shape = (part or size, 2 * latent.in_channels, latent.sample_size, latent.sample_size)
    return Batch(
        step, positions, [], [f"a thing, number {i}" for i in range(size)], torch.arange(size), torch.arange(size),
        clip_pixels=torch.randint(0, 256, (size, 3, side, side), dtype=torch.uint8), latents=torch.rand(shape), denoise_rows=drawn,
        frozen_image_embeds=torch.nn.functional.normalize(torch.randn(size, base.dimension)),
    )  # fmt: skip


def in_memory(name: str, size: int, chunk: int, part: int, timed: int) -> tuple[float, float]:
    """The peak of a first step over what was there before, MB, and the seconds a sample of the steps after it."""
    import torch
    from accelerate import Accelerator

    from unidiff_cli.models import loading
    from unidiff_cli.training.module import TrainingModule
    from unidiff_cli.training.trainer import Trainer

    torch.manual_seed(0)
    recipe = recipe_of(
        name, Sizes(batch=size), f"train.chunk={chunk}", f"train.denoise_batch={part}"
    )
    base = loading.load_base("nano", recipe.image_size)
    fit = Trainer(
        Accelerator(cpu=True),
        TrainingModule(base, recipe.active(), 0, chunk, cached=True),
        recipe.train,
    )
    batches = [drawn_batch(base, size, part, step) for step in range(1 + timed)]
    stream = fit.steps(iter(batches))
    peak, _, _ = grown(lambda: next(stream))
    took = [seconds(lambda: next(stream))[0] for _ in range(timed)]
    return peak, sorted(took)[len(took) // 2] / size if took else 0.0


def chunked_difference(size: int) -> float:
    """Of the loss of one batch, whole and in chunks, relative."""
    import torch

    from unidiff_cli.models import loading
    from unidiff_cli.training.module import TrainingModule

    base, recipe = loading.load_base("nano", 64), recipe_of("fashion", Sizes(batch=size))
    torch.manual_seed(0)
    batch = drawn_batch(base, size, 0)
    with torch.no_grad():
        whole, parts = (
            float(TrainingModule(base, recipe.active(), 0, chunk)(batch)[0])
            for chunk in (0, max(1, size // 3))
        )
    return abs(parts / whole - 1)


# ---------------------------------------------------------------- the command

PARTS = {"steps": steps, "gradcache": gradcache}


def missed(figures: dict[str, dict[str, Any]]) -> list[str]:
    """The output checks that fail; a figure that is no number does."""
    names = {
        f"{part}.{name}": value for part, each in figures.items() for name, value in each.items()
    }
    return [name for name, most in CHECKS.items() if name in names and not names[name] <= most]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="figures.json")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=[], metavar="PART", help=", ".join(PARTS)
    )
    parser.add_argument(
        "--quick", action="store_true", help="a little of everything: proves that it runs"
    )
    given = parser.parse_args()
    figures = measure(given.out, QUICK if given.quick else Sizes(), given.only)
    Console(width=110).print(table(figures, BOUNDS))
    if wrong := missed(figures):
        sys.exit(f"The outputs differ, so the times compare nothing: {', '.join(wrong)}.")


if __name__ == "__main__":
    main()
