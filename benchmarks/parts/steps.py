"""A step of `joint` and of `fashion`, as `unidiff train` runs them, beside the peers' steps."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.measurement import in_fresh_process, in_turns, medians, pace, ratio
from benchmarks.parts.recipes import recipe_of

if TYPE_CHECKING:
    from benchmarks.parts.peers import Peer
    from unidiff_cli.config.schema import Recipe
    from unidiff_cli.data.batch import Batch
    from unidiff_cli.models.base import BaseModel
    from unidiff_cli.training.job import Job
    from unidiff_cli.training.module import TrainingModule

# train.measure_gradients_every, by default.
EVERY = 20


@dataclass(frozen=True)
class Steps:
    """The batch, and how often each step is timed."""

    batch: int = 64
    rounds: int = 12

    def measure(self) -> dict[str, float]:
        """Times, and losses that must be equal, in a process of its own."""
        return in_fresh_process(_measure, self)


def _measure(steps: Steps) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        return Bench(steps, Path(folder)).measure()


@dataclass
class OurStep:
    """A step with its line of the log, the module it trains, and the run's first batch."""

    step: Callable[[], Any]
    module: "TrainingModule"
    first: "Batch"


class Sized(Protocol):
    """What names the samples of a step."""

    @property
    def batch(self) -> int: ...


class Bench:
    """A rendered catalogue, its cache, and everybody's step on it, each with its own weights."""

    def __init__(self, sizes: Sized, folder: Path, base: str = "nano") -> None:
        """`base` is as in a recipe: what its steps train."""
        from unidiff_cli import Project, prepare
        from unidiff_cli.sample_catalog import write_catalog

        self.sizes, self.base = sizes, base
        write_catalog(folder / "shop", images=max(40, 3 * sizes.batch))
        self.project = Project(folder / "project")
        prepare(self.project, recipe_of("joint", sizes.batch), folder / "shop")

    def measure(self) -> dict[str, float]:
        from benchmarks.parts.peers import bare_peer, diffusers_peer, open_clip_peer

        before = pace()
        joint = self.our_step("joint")
        batch = joint.first
        cosine = self.our_step("joint", "train.measure_gradients_every=1")
        unidiff = self.our_step("fashion")
        open_clip, diffusers = open_clip_peer(batch), diffusers_peer(batch)
        bare = bare_peer(batch)
        checks = loss_differences(joint, open_clip, diffusers, bare)
        candidates = {
            "joint": joint.step,
            "open_clip": open_clip.step,
            "diffusers": diffusers.step,
            "unidiff": unidiff.step,
            "bare": bare.step,
            "joint_cosine": cosine.step,
        }
        # The first step allocates.
        for step in candidates.values():
            step()
        spent, _ = in_turns(candidates, self.sizes.rounds)
        after = pace()
        both = spent["open_clip"] + spent["diffusers"]
        shares = ratio("cosine_share", spent["joint_cosine"], spent["joint"])
        return {
            "batch": self.sizes.batch,
            **medians(spent),
            **ratio("joint_of_sum", spent["joint"], both),
            **ratio("unidiff_of_sum", spent["unidiff"], both),
            **ratio("joint_of_bare", spent["joint"], spent["bare"]),
            **{name: (value - 1) / EVERY for name, value in shares.items()},
            **checks,
            "steady": min(before, after) / max(before, after),
        }

    def our_step(self, name: str, *assignments: str) -> OurStep:
        """A step of a recipe as `unidiff train` does it."""
        from unidiff_cli.data.dataset import loader
        from unidiff_cli.models import loading
        from unidiff_cli.training.module import TrainingModule
        from unidiff_cli.training.run import Run
        from unidiff_cli.training.trainer import Trainer
        from unidiff_cli.training.worker import accelerator_for

        recipe = recipe_of(name, self.sizes.batch, f"base={self.base}", *assignments)
        options = recipe.train
        base = loading.load_base(recipe.base, recipe.image_size)
        job = self._job("-".join((name, *assignments)), recipe, base)
        module = TrainingModule(base, recipe.active(), 0, cached=options.cache_latents)
        trainer = Trainer(accelerator_for(job), module, options)
        samples = job.training_samples(base, 0, 1)
        # Every caption and product its own, as open_clip's loss takes them.
        samples.rows = [
            replace(row, captions=(f"{row.captions[0]} {i}",), group=str(i))
            for i, row in enumerate(samples.rows)
        ]
        run, steps = (
            Run(job.folder, recipe, trainer, None, keep=lambda: None),
            trainer.steps(loader(samples, range(10_000))),
        )
        return OurStep(lambda: run.record(next(steps)), module, samples[0])

    def _job(self, name: str, recipe: "Recipe", base: "BaseModel") -> "Job":
        """A run of the project with its cache filled."""
        from unidiff_cli.data.shards import Shards
        from unidiff_cli.objectives import needs_of
        from unidiff_cli.training.job import Job
        from unidiff_cli.training.precompute import Precomputed, fill_cache
        from unidiff_cli.training.provenance import Provenance

        shards = Shards.open(self.project.path("shards"))
        needs = needs_of(recipe.active().values())
        cached = recipe.train.cache_latents
        rows = shards.rows("train")
        arrays = fill_cache(self.project, base, shards, rows, needs) if cached else {}
        provenance = Provenance.of(recipe, shards.receipt.hash)
        job = Job(self.project, name, recipe, provenance, shards, Precomputed(arrays, {}))
        job.folder.mkdir(parents=True)
        return job


def loss_differences(
    joint: OurStep, open_clip: "Peer", diffusers: "Peer", bare: "Peer"
) -> dict[str, float]:
    """Before any step: ours against each of the peers', on the same inputs."""
    import torch

    module = joint.module
    with torch.no_grad():
        module.eval()
        forward = module.forward_pass(joint.first)
        _, parts = module.losses(forward)
        [seen] = forward.passes
        expected = diffusers.loss(seen.latents, seen.noise, seen.timesteps)
        module.train()
        total, _ = module(joint.first)
        return {
            "contrastive_difference": abs(float(parts["contrastive"] - open_clip.loss())),
            "denoise_difference": abs(float(parts["denoise"] / expected - 1)),
            "bare_difference": abs(float(total - bare.loss())),
        }
